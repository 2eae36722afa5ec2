/** A terminal that shows what a run writes, as it writes it. Nothing can be typed there. */

import * as vscode from "vscode";
import { follow } from "../core/follower.ts";
import { TerminalText } from "../core/terminal_text.ts";
import type { Run } from "../core/wire.ts";
import { duration, why } from "../core/words.ts";
import type { Workspace } from "../core/workspace.ts";

const DIM = "\u001b[2m";
const RED = "\u001b[31m";
const GREEN = "\u001b[32m";
const YELLOW = "\u001b[33m";
const PLAIN = "\u001b[0m";

const open = new Map<string, vscode.Terminal>();

/** Show the output of a run, in the terminal that shows it already where there is one. */
export function showOutput(workspace: Workspace, run: Run): void {
  const key = `${workspace.folder}|${run.id}|${run.attemptCount}`;
  const known = open.get(key);
  if (known) return known.show(true);
  const terminal = vscode.window.createTerminal({
    name: `${run.flowName}/${run.stepName}`,
    pty: new OutputTerminal(workspace, run, () => open.delete(key)),
    iconPath: new vscode.ThemeIcon("output"),
    isTransient: true,
  });
  open.set(key, terminal);
  terminal.show(true);
}

class OutputTerminal implements vscode.Pseudoterminal {
  private readonly writing = new vscode.EventEmitter<string>();
  private readonly ending = new AbortController();
  readonly onDidWrite = this.writing.event;

  constructor(
    private readonly workspace: Workspace,
    private readonly run: Run,
    private readonly onClose: () => void,
  ) {}

  open(): void {
    this.note(DIM, `run ${this.run.id} of ${this.run.flowName}/${this.run.stepName}, event ${this.run.eventId}`);
    this.show().catch((error: unknown) => this.note(RED, error instanceof Error ? error.message : String(error)));
  }

  close(): void {
    this.ending.abort();
    this.writing.dispose();
    this.onClose();
  }

  private async show(): Promise<void> {
    const clean = { stdout: new TerminalText(), stderr: new TerminalText() };
    for await (const piece of follow(this.workspace.connection, this.run.id, this.ending.signal)) {
      if (piece.kind === "output") {
        const text = clean[piece.stream].write(piece.text);
        this.writing.fire(piece.stream === "stderr" ? text.replace(/[^\r\n]+/g, `${RED}$&${PLAIN}`) : text);
      } else if (piece.kind === "attempt") {
        if (piece.number > 1) this.note(DIM, `attempt ${piece.number}`);
      } else {
        for (const stream of [clean.stdout, clean.stderr]) this.writing.fire(stream.end());
        this.tellEnd(piece.run);
      }
    }
  }

  private tellEnd(run: Run): void {
    const reason = why(run, Date.now());
    const took = run.durationMs === undefined ? "" : ` after ${duration(run.durationMs)}`;
    const colour = run.needsAttention
      ? YELLOW
      : ["completed", "changed", "skipped"].includes(run.effectiveStatus)
        ? GREEN
        : RED;
    this.note(colour, `${run.effectiveStatus.replaceAll("_", " ")}${took}${reason ? `: ${reason}` : ""}`);
  }

  private note(colour: string, text: string): void {
    const clean = new TerminalText();
    this.writing.fire(`${PLAIN}${colour}\u2500\u2500 ${clean.write(text)}${clean.end()}${PLAIN}\r\n`);
  }
}
