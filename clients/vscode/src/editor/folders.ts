/** The workspaces of flowd that the open folders belong to, each with its connection. */

import * as path from "node:path";
import * as vscode from "vscode";
import { findWorkspace } from "../core/place.ts";
import type { Question } from "../core/wire.ts";
import { Workspace } from "../core/workspace.ts";

export class Folders implements vscode.Disposable {
  private readonly byFolder = new Map<string, Workspace>();
  private readonly changes = new vscode.EventEmitter<void>();
  private readonly questions = new vscode.EventEmitter<{ workspace: Workspace; question: Question }>();
  private readonly packages = new vscode.EventEmitter<Workspace>();
  readonly onDidChange = this.changes.event;
  readonly onDidAsk = this.questions.event;
  readonly onDidChangePackages = this.packages.event;

  get all(): Workspace[] {
    return [...this.byFolder.values()];
  }

  get isConnected(): boolean {
    return this.all.some((workspace) => workspace.away === undefined);
  }

  /** Open a connection for what is new, and let go of what is no longer open. */
  update(): void {
    const wanted = new Set(
      (vscode.workspace.workspaceFolders ?? [])
        .filter((one) => one.uri.scheme === "file")
        .map((one) => findWorkspace(one.uri.fsPath)),
    );
    for (const [folder, workspace] of this.byFolder) {
      if (wanted.has(folder)) continue;
      workspace.close();
      this.byFolder.delete(folder);
    }
    for (const folder of wanted) if (!this.byFolder.has(folder)) this.byFolder.set(folder, this.open(folder));
    this.changes.fire();
  }

  /** Connect anew: the place of a socket has been set otherwise. */
  reconnect(): void {
    for (const workspace of this.all) workspace.close();
    this.byFolder.clear();
    this.update();
  }

  /** The workspace that a file lies in; undefined for one that lies in none. */
  of(file: string): Workspace | undefined {
    const around = this.all.filter((workspace) => `${file}/`.startsWith(workspace.folder + path.sep));
    return around.sort((one, other) => other.folder.length - one.folder.length)[0];
  }

  dispose(): void {
    for (const workspace of this.all) workspace.close();
    this.byFolder.clear();
    for (const emitter of [this.changes, this.questions, this.packages]) emitter.dispose();
  }

  private open(folder: string): Workspace {
    const here = vscode.Uri.file(folder);
    const workspace = new Workspace(folder, path.basename(folder), {
      socket: () => vscode.workspace.getConfiguration("flowd", here).get("socket", ""),
      maxRuns: () => vscode.workspace.getConfiguration("flowd").get("maxRuns", 50),
    });
    workspace.on("changed", () => this.changes.fire());
    workspace.on("asked", (question) => this.questions.fire({ workspace, question }));
    workspace.on("packages", () => this.packages.fire(workspace));
    workspace.open();
    return workspace;
  }
}
