/** What a person says to a run that asks. Each says which attempt is meant: a newer question is not answered unseen. */

import * as vscode from "vscode";
import { answerIn } from "../core/events.ts";
import { unlinked } from "../core/unlinked.ts";
import type { Question } from "../core/wire.ts";
import type { Workspace } from "../core/workspace.ts";
import type { Chosen } from "./commands.ts";
import { showOutput } from "./output_terminal.ts";

/** Let a run count as completed or failed, with a note that may be empty. */
export async function resolve({ workspace, run }: Chosen, status: "completed" | "failed"): Promise<void> {
  const verb = status === "completed" ? "Approve" : "Reject";
  const note = await vscode.window.showInputBox({
    title: `${verb} ${run.flowName}/${run.stepName}`,
    prompt: question(workspace, run.id),
    placeHolder: "A note, if you like. Enter does it, Escape does not.",
  });
  if (note === undefined) return;
  await workspace.connection.call("flow.resolveRun", {
    runId: run.id,
    status,
    attempt: run.attemptCount,
    ...(note ? { note } : {}),
  });
}

/** Give a run an answer, with which it tries again. */
export async function answer({ workspace, run }: Chosen): Promise<void> {
  const text = await vscode.window.showInputBox({
    title: `Answer ${run.flowName}/${run.stepName}`,
    prompt: question(workspace, run.id),
    placeHolder: "JSON, or text",
  });
  if (text === undefined) return;
  const input = answerIn(text);
  await workspace.connection.call("flow.answerRun", {
    runId: run.id,
    attempt: run.attemptCount,
    ...(input === undefined ? {} : { input }),
  });
}

/** Tell of a question that has come up, with what can be said to it. */
export async function tellQuestion(workspace: Workspace, asked: Question): Promise<void> {
  if (!vscode.workspace.getConfiguration("flowd").get("notifyQuestions", true)) return;
  const { run } = asked;
  const acts: Record<string, () => unknown> = {
    "Approve…": () => vscode.commands.executeCommand("flowd.approve", { workspace, run }),
    "Reject…": () => vscode.commands.executeCommand("flowd.reject", { workspace, run }),
    "Answer…": () => vscode.commands.executeCommand("flowd.answer", { workspace, run }),
    "Show Output": () => showOutput(workspace, run),
  };
  const wish = await vscode.window.showInformationMessage(
    unlinked(`${run.flowName}/${run.stepName} asks: ${asked.message ?? "(it gives no message)"}`),
    ...Object.keys(acts),
  );
  if (wish) await acts[wish]?.();
}

function question(workspace: Workspace, runId: string): string {
  return unlinked(workspace.questions.find((one) => one.run.id === runId)?.message ?? "");
}
