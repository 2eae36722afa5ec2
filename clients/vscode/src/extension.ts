/** Puts the extension together: connections to the daemons of the open folders, and what shows and steers them. */

import * as vscode from "vscode";
import { registerCommands } from "./editor/commands.ts";
import { Folders } from "./editor/folders.ts";
import { tellQuestion } from "./editor/people.ts";
import { Problems } from "./editor/problems.ts";
import { showStatusBar } from "./editor/status_bar.ts";
import { showViews } from "./editor/views.ts";

export function activate(context: vscode.ExtensionContext): void {
  const log = vscode.window.createOutputChannel("flowd", { log: true });
  const folders = new Folders();
  folders.update();
  const problems = new Problems(folders, log);
  context.subscriptions.push(
    log,
    folders,
    problems,
    showViews(folders),
    showStatusBar(folders),
    registerCommands(folders, problems, log),
    folders.onDidAsk(({ workspace, question }) => void tellQuestion(workspace, question)),
    vscode.workspace.onDidChangeWorkspaceFolders(() => folders.update()),
    vscode.workspace.onDidChangeConfiguration((change) => {
      if (change.affectsConfiguration("flowd.socket") || change.affectsConfiguration("flowd.maxRuns"))
        folders.reconnect();
      if (change.affectsConfiguration("flowd.path") || change.affectsConfiguration("flowd.validate"))
        for (const one of folders.all) void problems.look(one);
    }),
  );
}
