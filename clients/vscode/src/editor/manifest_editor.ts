/** Opens the `flow.toml` of a flow where something in it is defined. */

import * as fs from "node:fs/promises";
import * as path from "node:path";
import * as vscode from "vscode";
import { lineOfSchedule, lineOfStep } from "../core/manifest.ts";
import type { Node } from "../core/tree.ts";
import { unlinked } from "../core/unlinked.ts";

type About = Pick<Node, "workspace" | "run" | "flow" | "step" | "schedule" | "broken">;

export async function openManifest(about: About): Promise<void> {
  const flow = about.flow ?? about.workspace.flows.find((one) => one.name === about.run?.flowName);
  const root = flow?.root ?? about.broken?.root;
  if (!root)
    return void vscode.window.showWarningMessage(unlinked(`There is no flow ${about.run?.flowName ?? ""} any more.`));
  const file = about.broken?.file ?? path.join(root, "flow.toml");
  const text = await fs.readFile(file, "utf8");
  const line = lineIn(text, about);
  const at = new vscode.Position(line - 1, 0);
  await vscode.window.showTextDocument(vscode.Uri.file(file), { selection: new vscode.Range(at, at) });
}

function lineIn(text: string, about: About): number {
  if (about.broken) return about.broken.line ?? 1;
  if (about.schedule) return lineOfSchedule(text, about.schedule.name);
  const step = about.step?.name ?? about.run?.stepName;
  return step ? lineOfStep(text, step) : 1;
}
