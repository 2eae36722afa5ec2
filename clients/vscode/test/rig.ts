/** A scratch workspace, and a real daemon in it. */

import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { Workspace } from "../src/core/workspace.ts";

/** Only what hangs takes that long. */
const BOUND_MS = 60_000;

export const FLOWD = process.env["FLOWD"] ?? path.resolve("../../.venv/bin/flowd");

// What a developer's shell says of another daemon is not meant for these.
for (const name of Object.keys(process.env)) if (/^(FLOWD_|CODEX_FLOW_)/.test(name)) delete process.env[name];

/** The first true value of the condition, which is asked again whenever something has changed. */
export async function until<Value>(condition: () => Value | Promise<Value>, what: string): Promise<NonNullable<Value>> {
  for (const end = Date.now() + BOUND_MS; ;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > end) throw new Error(`${what} did not come true`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

export class Place {
  readonly folder = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), "flowd-vscode-")));
  private daemon: ChildProcess | undefined;
  private readonly opened: Workspace[] = [];

  write(name: string, text: string): string {
    const file = path.join(this.folder, name);
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.writeFileSync(file, text, { mode: 0o755 });
    return file;
  }

  /** A package of exec steps, each a shell script; a step after the first one needs the one before it. */
  flow(name: string, steps: Record<string, string>, more = ""): string {
    const names = Object.keys(steps);
    const tables = names.map((step, index) => {
      this.write(`flows/${name}/${step}.sh`, `#!/bin/sh\n${steps[step]}\n`);
      const start = index ? `needs = ["${names[index - 1]}"]` : `[steps.trigger]\ntype = "${name}.go"`;
      return `[[steps]]\nname = "${step}"\nrunner = "exec"\nscript = "${step}.sh"\n${start}\n`;
    });
    return this.write(`flows/${name}/flow.toml`, `name = "${name}"\nversion = 1\n${more}\n${tables.join("\n")}`);
  }

  async start(): Promise<void> {
    this.write(".codex/flowd.toml", 'on_stop = "cancel"\n'); // whatever a failed test has left behind
    const log = fs.openSync(path.join(this.folder, "daemon.log"), "a");
    this.daemon = spawn(FLOWD, ["-w", this.folder, "serve"], { stdio: ["ignore", log, log] });
    fs.closeSync(log);
    await until(
      () => /serving|ready|listening/i.test(this.log()) || fs.existsSync(this.socket),
      "a start of the daemon",
    );
  }

  /** End the daemon, and wait for that. */
  async stop(): Promise<void> {
    const daemon = this.daemon;
    this.daemon = undefined;
    if (!daemon || daemon.exitCode !== null) return;
    const gone = new Promise((resolve) => daemon.once("exit", resolve));
    daemon.kill("SIGTERM");
    await gone;
  }

  /** What the extension knows of this workspace, connected as soon as a daemon is there. */
  open(name = "scratch", maxRuns = 50): Workspace {
    const workspace = new Workspace(this.folder, name, { socket: () => "", maxRuns: () => maxRuns });
    this.opened.push(workspace);
    workspace.open();
    return workspace;
  }

  async cleanUp(): Promise<void> {
    for (const workspace of this.opened) workspace.close();
    await this.stop();
    fs.rmSync(this.folder, { recursive: true, force: true });
  }

  get socket(): string {
    return path.join(this.folder, ".codex/flowd/flowd.sock");
  }

  log(): string {
    return fs.readFileSync(path.join(this.folder, "daemon.log"), "utf8");
  }
}

/** A shell line that prints a FLOW_RESULT. */
export function say(status: string, message = ""): string {
  return `echo 'FLOW_RESULT ${JSON.stringify({ status, ...(message ? { message } : {}) })}'`;
}
