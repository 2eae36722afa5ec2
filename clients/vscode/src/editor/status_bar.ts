/** One item of the status bar: how much runs, what asks, whether there is a daemon. */

import * as vscode from "vscode";
import { barText } from "../core/words.ts";
import type { Folders } from "./folders.ts";

export function showStatusBar(folders: Folders): vscode.Disposable {
  const item = vscode.window.createStatusBarItem("flowd.status", vscode.StatusBarAlignment.Left, 50);
  item.name = "flowd";
  item.command = "flowd.runs.focus";
  const renew = (): void => {
    if (folders.all.length === 0) return item.hide();
    const asking = folders.all.reduce((sum, one) => sum + one.questions.length, 0);
    item.text = barText(
      folders.isConnected,
      folders.all.reduce((sum, one) => sum + one.running, 0),
      asking,
    );
    item.tooltip = folders.all
      .map(
        (one) => `${one.folder}: ${one.away ?? `flowd ${one.status?.version ?? ""}, ${one.status?.state ?? "ready"}`}`,
      )
      .join("\n");
    item.backgroundColor =
      asking && folders.isConnected ? new vscode.ThemeColor("statusBarItem.warningBackground") : undefined;
    item.accessibilityInformation = { label: `flowd: ${item.text.replace(/\$\([^)]*\)\s*/g, "")}` };
    item.show();
  };
  renew();
  return vscode.Disposable.from(item, folders.onDidChange(renew));
}
