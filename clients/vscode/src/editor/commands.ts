/** What a person can do. Commands are called with what was clicked on, or from the palette, and ask for the rest. */

import * as vscode from "vscode";
import { findFlowd, installSchemas } from "../core/command.ts";
import type { Node } from "../core/tree.ts";
import { unlinked } from "../core/unlinked.ts";
import { Away, Refusal, isFinal } from "../core/wire.ts";
import type { Run } from "../core/wire.ts";
import { icon, summary } from "../core/words.ts";
import type { Workspace } from "../core/workspace.ts";
import { dispatch, dispatchFile, explainFile, tellOutcome } from "./dispatching.ts";
import type { Folders } from "./folders.ts";
import { openManifest } from "./manifest_editor.ts";
import { showOutput } from "./output_terminal.ts";
import { answer, resolve } from "./people.ts";
import type { Problems } from "./problems.ts";

/** A run, and whose it is. */
export interface Chosen {
  workspace: Workspace;
  run: Run;
}

type Command = (node?: Node) => unknown;

export function registerCommands(
  folders: Folders,
  problems: Problems,
  log: vscode.LogOutputChannel,
): vscode.Disposable {
  const onRun =
    (wanted: (run: Run) => boolean, act: (chosen: Chosen) => unknown): Command =>
    async (node) => {
      const chosen = node?.run ? { workspace: node.workspace, run: node.run } : await pickRun(folders, wanted);
      if (chosen) await act(chosen);
    };
  const commands: Record<string, Command> = {
    dispatch: (node) => dispatch(folders, node),
    dispatchFile: () => dispatchFile(folders),
    explainFile: () => explainFile(folders, log),
    showLast: () => showLast(folders),
    showOutput: onRun(
      () => true,
      ({ workspace, run }) => showOutput(workspace, workspace.run(run.id) ?? run),
    ),
    retry: onRun((run) => isFinal(run) && !["completed", "changed", "skipped"].includes(run.effectiveStatus), retry),
    replay: onRun(
      () => true,
      async ({ workspace, run }) =>
        tellOutcome(workspace, await workspace.connection.call("flow.replay", { eventId: run.eventId })),
    ),
    cancel: onRun((run) => !isFinal(run), cancel),
    approve: onRun(
      (run) => run.needsAttention,
      (chosen) => resolve(chosen, "completed"),
    ),
    reject: onRun(
      (run) => run.needsAttention,
      (chosen) => resolve(chosen, "failed"),
    ),
    answer: onRun((run) => run.needsAttention, answer),
    openManifest: (node) =>
      node
        ? openManifest(node)
        : onRun(
            () => true,
            ({ workspace, run }) => openManifest({ workspace, run }),
          )(),
    copyRunId: (node) => node?.run && vscode.env.clipboard.writeText(node.run.id),
    refresh: () =>
      Promise.all(folders.all.map((one) => (one.connection.isConnected ? one.refresh() : one.connection.lookNow()))),
    validateNow: () => Promise.all(folders.all.map((one) => problems.look(one))),
    installSchemas: () => putSchemas(folders, log),
    serve: (node) => serve(node?.workspace ?? folders.all.find((one) => one.away !== undefined)),
    showLog: () => log.show(),
  };
  return vscode.Disposable.from(
    ...Object.entries(commands).map(([name, act]) =>
      vscode.commands.registerCommand(`flowd.${name}`, (node?: Node) => telling(() => act(node), log)),
    ),
  );
}

/** Do it, and tell a person why it could not be done. */
async function telling(act: () => unknown, log: vscode.LogOutputChannel): Promise<void> {
  try {
    await act();
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    log.error(error instanceof Refusal ? `${text} (${error.slug})` : text);
    const start = "Start flowd";
    const wish = await vscode.window.showErrorMessage(unlinked(text), ...(error instanceof Away ? [start] : []));
    if (wish === start) await vscode.commands.executeCommand("flowd.serve");
  }
}

async function pickRun(folders: Folders, wanted: (run: Run) => boolean): Promise<Chosen | undefined> {
  const now = Date.now();
  const items = folders.all.flatMap((workspace) =>
    // A question may be of a run that is no longer among the newest.
    [...new Map([...workspace.runs, ...workspace.questions.map((one) => one.run)].map((run) => [run.id, run])).values()]
      .filter(wanted)
      .map((run) => ({
        label: `${run.flowName}/${run.stepName}`,
        description: summary(run, now),
        detail: run.id,
        iconPath: new vscode.ThemeIcon(icon(run).id.replace("~spin", "")),
        chosen: { workspace, run },
      })),
  );
  if (items.length === 0) {
    void vscode.window.showInformationMessage(
      folders.isConnected ? "There is no such run." : "No daemon runs for this workspace.",
    );
    return undefined;
  }
  return (
    await vscode.window.showQuickPick(items, {
      placeHolder: "Which run?",
      matchOnDescription: true,
      matchOnDetail: true,
    })
  )?.chosen;
}

function showLast(folders: Folders): void {
  const newest = folders.all.flatMap((workspace) => workspace.runs.slice(0, 1).map((run) => ({ workspace, run })));
  const last = newest.sort((one, other) => other.run.createdAt.localeCompare(one.run.createdAt))[0];
  if (last) showOutput(last.workspace, last.run);
  else
    void vscode.window.showInformationMessage(
      folders.isConnected ? "Nothing has run yet." : "No daemon runs for this workspace.",
    );
}

async function retry({ workspace, run }: Chosen): Promise<void> {
  const said = await workspace.connection.call<{ run: Run }>("flow.retryRun", { runId: run.id });
  showOutput(workspace, { ...said.run, attemptCount: run.attemptCount + 1 });
}

async function cancel({ workspace, run }: Chosen): Promise<void> {
  const yes = "Cancel the Run";
  const wish = await vscode.window.showWarningMessage(
    unlinked(`Cancel ${run.flowName}/${run.stepName}?`),
    { modal: true, detail: `It and everything that it started are ended. ${run.id}` },
    yes,
  );
  if (wish === yes) await workspace.connection.call("flow.cancelRun", { runId: run.id });
}

async function putSchemas(folders: Folders, log: vscode.LogOutputChannel): Promise<void> {
  for (const workspace of folders.all) {
    log.info(await installSchemas(await programOf(workspace), workspace.folder));
  }
  log.show(true);
}

function programOf(workspace: Workspace): Promise<string> {
  const settings = vscode.workspace.getConfiguration("flowd", vscode.Uri.file(workspace.folder));
  return findFlowd(workspace.folder, settings.get("path", ""));
}

async function serve(workspace: Workspace | undefined): Promise<void> {
  if (!workspace) return void vscode.window.showInformationMessage("A daemon runs for every workspace here.");
  const program = await programOf(workspace);
  const terminal = vscode.window.createTerminal({
    name: "flowd serve",
    cwd: workspace.folder,
    shellPath: program,
    shellArgs: ["-w", workspace.folder, "serve"],
  });
  terminal.show(true);
}
