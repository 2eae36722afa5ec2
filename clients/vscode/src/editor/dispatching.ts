/** Sending events: from the file in the editor, or by type. */

import * as vscode from "vscode";
import { eventIn, eventTypes, explanation, outcome, valueIn } from "../core/events.ts";
import type { Event } from "../core/events.ts";
import type { Node } from "../core/tree.ts";
import { unlinked } from "../core/unlinked.ts";
import { Away } from "../core/wire.ts";
import type { Dispatched, Explained, Run } from "../core/wire.ts";
import type { Workspace } from "../core/workspace.ts";
import type { Folders } from "./folders.ts";
import { showOutput } from "./output_terminal.ts";

/** Ask for a type, where nothing was clicked on that has one, and a payload; then send it. */
export async function dispatch(folders: Folders, node?: Node): Promise<void> {
  const workspace = node?.workspace ?? (await pickWorkspace(folders));
  if (!workspace) return;
  const type = node?.step?.triggerType ?? (await askType(workspace));
  if (!type) return;
  const text = await vscode.window.showInputBox({
    title: `Dispatch ${type}`,
    prompt: "The payload, as JSON",
    value: "{}",
    valueSelection: [1, 1],
    ignoreFocusOut: true,
    validateInput: complaint,
  });
  if (text === undefined) return;
  const event = eventIn(JSON.stringify({ type, payload: valueIn(text) }));
  if (event) await send(workspace, event);
}

/** Send the event that the file in the editor is, saved or not; what is no event is taken for a payload. */
export async function dispatchFile(folders: Folders): Promise<void> {
  const found = await eventOfFile(folders);
  if (found) await send(found.workspace, found.event);
}

/** Tell why each step matches the event of the file in the editor or does not. Nothing is sent. */
export async function explainFile(folders: Folders, log: vscode.LogOutputChannel): Promise<void> {
  const found = await eventOfFile(folders);
  if (!found) return;
  const said = await found.workspace.connection.call<Explained>("flow.explain", { event: found.event });
  log.info(explanation(found.event, said));
  log.show(true);
}

/** Tell what a dispatch or replay came to, and show its output where there is some. */
export async function tellOutcome(workspace: Workspace, said: Dispatched): Promise<void> {
  const [show, replay] = ["Show Output", "Replay"];
  const runs = said.runIds.length;
  const text = unlinked(outcome(said));
  const tell = runs === 0 || said.warning ? vscode.window.showWarningMessage : vscode.window.showInformationMessage;
  const wish = await tell(text, ...(runs ? [show] : []), ...(said.status === "duplicate" ? [replay] : []));
  if (wish === replay)
    return tellOutcome(
      workspace,
      await workspace.connection.call<Dispatched>("flow.replay", { eventId: said.eventId }),
    );
  if (wish === show) {
    const { run } = await workspace.connection.call<{ run: Run }>("flow.waitRun", {
      runId: said.runIds[0],
      timeoutMs: 0,
    });
    showOutput(workspace, run);
  }
}

async function send(workspace: Workspace, event: Event): Promise<void> {
  await tellOutcome(workspace, await workspace.connection.call<Dispatched>("flow.dispatch", { event }));
}

async function eventOfFile(folders: Folders): Promise<{ workspace: Workspace; event: Event } | undefined> {
  const document = vscode.window.activeTextEditor?.document;
  if (!document) return void vscode.window.showInformationMessage("Open the JSON file of an event first.");
  const workspace = folders.of(document.uri.fsPath) ?? (await pickWorkspace(folders));
  if (!workspace) return undefined;
  const text = document.getText();
  let event = eventIn(text);
  if (!event) {
    const type = await askType(workspace);
    event = type ? eventIn(text, type) : undefined;
  }
  return event && { workspace, event };
}

async function pickWorkspace(folders: Folders): Promise<Workspace | undefined> {
  const running = folders.all.filter((one) => one.away === undefined);
  if (running.length === 0) throw new Away("No daemon runs for this workspace.");
  if (running.length === 1) return running[0];
  const items = running.map((workspace) => ({ label: workspace.name, description: workspace.folder, workspace }));
  return (await vscode.window.showQuickPick(items, { placeHolder: "Which workspace?" }))?.workspace;
}

/** A type that starts something, or another one that is typed in. */
async function askType(workspace: Workspace): Promise<string | undefined> {
  const other = "Another type…";
  const items = [...eventTypes(workspace.flows)].map(([label, steps]) => ({ label, description: steps.join(", ") }));
  const chosen = await vscode.window.showQuickPick([...items, { label: other, description: "" }], {
    placeHolder: "The event's type",
    matchOnDescription: true,
    ignoreFocusOut: true,
  });
  if (chosen?.label !== other) return chosen?.label;
  return vscode.window.showInputBox({ prompt: "The event's type", ignoreFocusOut: true });
}

function complaint(text: string): string | undefined {
  try {
    valueIn(text);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}
