/** Marks in files what `flowd validate` finds, and offers the word that was probably meant. */

import * as path from "node:path";
import * as vscode from "vscode";
import { findFlowd, validate, validateText } from "../core/command.ts";
import { marks, replacement, sentence } from "../core/findings.ts";
import type { Finding, Mark } from "../core/findings.ts";
import { textOf as textOnDisk } from "../core/small_file.ts";
import type { Workspace } from "../core/workspace.ts";
import type { Folders } from "./folders.ts";

/** Several files are often saved at once. */
const GATHER_MS = 150;

/** While somebody types, nothing is checked. */
const QUIET_MS = 400;

/** What a diagnostic was made of, for the quick fix. */
class FoundProblem extends vscode.Diagnostic {
  constructor(
    range: vscode.Range,
    readonly finding: Finding,
  ) {
    super(
      range,
      sentence(finding),
      finding.severity === "error" ? vscode.DiagnosticSeverity.Error : vscode.DiagnosticSeverity.Warning,
    );
    this.source = "flowd";
    this.code = finding.code;
  }
}

interface State {
  files: string[];
  timer?: NodeJS.Timeout | undefined;
  running?: Promise<void> | undefined;
  isDue: boolean;
}

export class Problems implements vscode.Disposable {
  private readonly shown = vscode.languages.createDiagnosticCollection("flowd");
  private readonly states = new Map<Workspace, State>();
  private readonly typing = new Map<string, NodeJS.Timeout>();
  private readonly disposables: vscode.Disposable[];

  constructor(
    private readonly folders: Folders,
    private readonly log: vscode.LogOutputChannel,
  ) {
    this.disposables = [
      this.shown,
      folders.onDidChange(() => this.lookAtNew()),
      folders.onDidChangePackages((workspace) => this.lookSoon(workspace)),
      vscode.workspace.onDidSaveTextDocument((document) => this.saved(document.uri)),
      vscode.workspace.onDidChangeTextDocument(({ document }) => this.typed(document)),
      vscode.languages.registerCodeActionsProvider(
        { pattern: "**/{flow,flowd}.toml" },
        { provideCodeActions: quickFixes },
        { providedCodeActionKinds: [vscode.CodeActionKind.QuickFix] },
      ),
    ];
    this.lookAtNew();
  }

  /** Look at a workspace now. Resolves when what it has is shown. */
  async look(workspace: Workspace): Promise<void> {
    const state = this.stateOf(workspace);
    if (state.running) {
      state.isDue = true;
      return state.running;
    }
    state.running = (async () => {
      do {
        state.isDue = false;
        await this.validate(workspace, state);
      } while (state.isDue);
    })().finally(() => (state.running = undefined));
    return state.running;
  }

  dispose(): void {
    for (const state of this.states.values()) clearTimeout(state.timer);
    for (const timer of this.typing.values()) clearTimeout(timer);
    for (const one of this.disposables) one.dispose();
  }

  private lookAtNew(): void {
    const open = new Set(this.folders.all);
    for (const [workspace, state] of this.states) {
      if (open.has(workspace)) continue;
      this.clear(state);
      clearTimeout(state.timer);
      this.states.delete(workspace);
    }
    for (const workspace of open) if (!this.states.has(workspace)) this.lookSoon(workspace);
  }

  private saved(file: vscode.Uri): void {
    const workspace = file.scheme === "file" ? this.folders.of(file.fsPath) : undefined;
    if (!workspace) return;
    const [root] = path.relative(workspace.folder, file.fsPath).split(path.sep);
    if (root === "flows" || root === ".codex") this.lookSoon(workspace);
  }

  private typed(document: vscode.TextDocument): void {
    const file = document.uri.fsPath;
    if (document.uri.scheme !== "file" || path.basename(file) !== "flow.toml" || !document.isDirty) return;
    const workspace = this.folders.of(file);
    if (!workspace) return;
    clearTimeout(this.typing.get(file));
    this.typing.set(
      file,
      setTimeout(() => {
        this.typing.delete(file);
        void this.lookAtText(workspace, document);
      }, QUIET_MS),
    );
  }

  /** Mark what would be found in a `flow.toml` if it were saved now. */
  private async lookAtText(workspace: Workspace, document: vscode.TextDocument): Promise<void> {
    const [file, version, text] = [document.uri.fsPath, document.version, document.getText()];
    const settings = settingsOf(workspace);
    if (!settings.get("validate", true)) return;
    try {
      const program = await findFlowd(workspace.folder, settings.get("path", ""));
      const found = marks(await validateText(program, workspace.folder, file, text), () => text);
      if (document.version !== version || !document.isDirty || document.isClosed) return;
      this.show(this.stateOf(workspace), file, found.get(file) ?? []);
    } catch (error) {
      this.log.debug(`${file}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  private show(state: State, file: string, found: readonly Mark[]): void {
    const problems = found.map(
      (mark) => new FoundProblem(new vscode.Range(mark.line, mark.begin, mark.line, mark.end), mark.finding),
    );
    this.shown.set(vscode.Uri.file(file), problems);
    if (!state.files.includes(file)) state.files.push(file);
  }

  private lookSoon(workspace: Workspace): void {
    const state = this.stateOf(workspace);
    clearTimeout(state.timer);
    state.timer = setTimeout(() => void this.look(workspace), GATHER_MS);
  }

  private stateOf(workspace: Workspace): State {
    let state = this.states.get(workspace);
    if (!state) this.states.set(workspace, (state = { files: [], isDue: false }));
    return state;
  }

  private clear(state: State): void {
    for (const file of state.files) this.shown.delete(vscode.Uri.file(file));
    state.files = [];
  }

  private async validate(workspace: Workspace, state: State): Promise<void> {
    const settings = settingsOf(workspace);
    if (!settings.get("validate", true)) return this.clear(state);
    try {
      const program = await findFlowd(workspace.folder, settings.get("path", ""));
      const found = marks(await validate(program, workspace.folder, textOf), textOf);
      if (!this.folders.all.includes(workspace)) return;
      this.clear(state);
      for (const [file, ofFile] of found) this.show(state, file, ofFile);
      vscode.workspace.textDocuments.forEach((document) => this.typed(document)); // what is not on disk counts there
    } catch (error) {
      this.clear(state);
      this.log.warn(`${workspace.folder}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
}

function settingsOf(workspace: Workspace): vscode.WorkspaceConfiguration {
  return vscode.workspace.getConfiguration("flowd", vscode.Uri.file(workspace.folder));
}

/** A file as it is in the editor, else as it is on disk. */
function textOf(file: string): string {
  const open = vscode.workspace.textDocuments.find(
    (document) => document.uri.scheme === "file" && document.uri.fsPath === file,
  );
  return open && !open.isDirty ? open.getText() : textOnDisk(file);
}

function quickFixes(
  document: vscode.TextDocument,
  range: vscode.Range,
  context: vscode.CodeActionContext,
): vscode.CodeAction[] {
  void range;
  return context.diagnostics.flatMap((problem) => {
    const better =
      problem instanceof FoundProblem ? replacement(problem.finding, document.getText(problem.range)) : undefined;
    if (better === undefined) return [];
    const fix = new vscode.CodeAction(`Change to ${better}`, vscode.CodeActionKind.QuickFix);
    fix.edit = new vscode.WorkspaceEdit();
    fix.edit.replace(document.uri, problem.range, better);
    fix.diagnostics = [problem];
    fix.isPreferred = true;
    return [fix];
  });
}
