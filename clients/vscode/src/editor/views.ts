/** The three lists of the side bar. */

import * as vscode from "vscode";
import { tree } from "../core/tree.ts";
import type { ListName, Node } from "../core/tree.ts";
import type { Folders } from "./folders.ts";

/** "5 min ago" is to stay true. */
const RENEW_MS = 15_000;

class List implements vscode.TreeDataProvider<Node>, vscode.Disposable {
  private readonly changes = new vscode.EventEmitter<void>();
  readonly onDidChangeTreeData = this.changes.event;

  constructor(
    private readonly folders: Folders,
    private readonly name: ListName,
  ) {}

  renew(): void {
    this.changes.fire();
  }

  getChildren(node?: Node): Node[] {
    return node ? (node.children ?? []) : tree(this.folders.all, this.name, Date.now());
  }

  getTreeItem(node: Node): vscode.TreeItem {
    const state = !node.children?.length ? "None" : node.isOpen ? "Expanded" : "Collapsed";
    const item = new vscode.TreeItem(node.label, vscode.TreeItemCollapsibleState[state]);
    item.id = node.id;
    item.contextValue = node.context;
    if (node.description !== undefined) item.description = node.description;
    if (node.tooltip !== undefined) item.tooltip = new vscode.MarkdownString(node.tooltip);
    if (node.icon)
      item.iconPath = new vscode.ThemeIcon(
        node.icon.id,
        node.icon.color ? new vscode.ThemeColor(node.icon.color) : undefined,
      );
    if (node.run) item.command = { command: "flowd.showOutput", title: "Show Output", arguments: [node] };
    else if (node.step || node.schedule || node.broken)
      item.command = { command: "flowd.openManifest", title: "Open flow.toml", arguments: [node] };
    return item;
  }

  dispose(): void {
    this.changes.dispose();
  }
}

/** Show the lists, and keep them as they are. */
export function showViews(folders: Folders): vscode.Disposable {
  const made = (["attention", "runs", "flows"] as const).map((name) => {
    const list = new List(folders, name);
    const view = vscode.window.createTreeView(`flowd.${name}`, {
      treeDataProvider: list,
      showCollapseAll: name === "flows",
    });
    return { name, list, view };
  });
  const renew = (): void => {
    void vscode.commands.executeCommand("setContext", "flowd.isConnected", folders.isConnected);
    for (const { name, list, view } of made) {
      list.renew();
      if (name === "attention") {
        const value = folders.all.reduce((sum, workspace) => sum + workspace.questions.length, 0);
        view.badge = value
          ? { value, tooltip: value === 1 ? "1 run asks for a person" : `${value} runs ask for a person` }
          : undefined;
      }
      const away = folders.all.length === 1 ? folders.all[0]!.away : undefined;
      view.message = away && list.getChildren().length ? `This is how it was: ${away}.` : "";
    }
  };
  const timer = setInterval(
    () => made.filter(({ view }) => view.visible).forEach(({ list }) => list.renew()),
    RENEW_MS,
  );
  renew();
  return vscode.Disposable.from(
    folders.onDidChange(renew),
    new vscode.Disposable(() => clearInterval(timer)),
    ...made.flatMap(({ list, view }) => [list, view]),
  );
}
