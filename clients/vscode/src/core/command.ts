/** Runs the command line `flowd`, for what no daemon is needed for. */

import { execFile } from "node:child_process";
import { constants } from "node:fs";
import * as fs from "node:fs/promises";
import * as os from "node:os";
import * as path from "node:path";
import { findingsIn } from "./findings.ts";
import type { Finding } from "./findings.ts";

const BOUND_MS = 60_000;
const MAX_PRINTED_BYTES = 64 * 1024 * 1024;

/** There is no `flowd` to run, or it could not do what it was asked. */
export class CommandProblem extends Error {}

/**
 * The program: the one that was set, which may be relative to the workspace; else the one in the workspace's `.venv`;
 * else the first in PATH or in `~/.local/bin`, which editors that a desktop has started often have no word of.
 *
 * @throws {CommandProblem} There is none.
 */
export async function findFlowd(
  workspace: string,
  told: string,
  searched = process.env["PATH"] ?? "",
): Promise<string> {
  if (told) {
    const home = told.startsWith("~/") ? path.join(os.homedir(), told.slice(2)) : told;
    const meant = home.includes("/") ? path.resolve(workspace, home) : await firstIn(searched, home);
    if (meant && (await isProgram(meant))) return meant;
    throw new CommandProblem(`The setting flowd.path says ${told}, which is no program.`);
  }
  const own = path.join(workspace, ".venv/bin/flowd");
  if (await isProgram(own)) return own;
  const found = (await firstIn(searched, "flowd")) ?? (await firstIn(path.join(os.homedir(), ".local/bin"), "flowd"));
  if (found) return found;
  throw new CommandProblem("flowd was not found: it is neither in the workspace's .venv nor in PATH. Set flowd.path.");
}

/**
 * What `flowd validate` finds in a workspace, as the files on disk are now.
 *
 * @param read The text of a file, "" where there is none.
 * @throws {CommandProblem} It printed something else.
 */
export async function validate(flowd: string, workspace: string, read: Reader): Promise<Finding[]> {
  return found(await run(flowd, ["-w", workspace, "validate", "--json"], workspace), read);
}

/**
 * What it finds in a `flow.toml` as it would be with this text.
 *
 * @throws {CommandProblem} It printed something else, as a flowd does that knows no `--stdin`.
 */
export async function validateText(flowd: string, workspace: string, file: string, text: string): Promise<Finding[]> {
  const printed = await run(flowd, ["-w", workspace, "validate", "--json", "--stdin", file], workspace, text);
  return found(printed, () => text);
}

/**
 * Put the schemas of flow.toml and flowd.toml into the workspace, where editors of TOML look for them.
 *
 * @returns What the command says of that.
 * @throws {CommandProblem} It could not.
 */
export async function installSchemas(flowd: string, workspace: string): Promise<string> {
  const printed = await run(flowd, ["-w", workspace, "schema", "--install"], workspace);
  if (printed.code !== 0) throw new CommandProblem(`flowd schema failed: ${lastLine(printed.err)}`);
  return (printed.out + printed.err).trim();
}

type Reader = (path: string) => string;

interface Printed {
  code: number | undefined;
  out: string;
  err: string;
}

function found(printed: Printed, read: Reader): Finding[] {
  try {
    return findingsIn(printed.out, read);
  } catch {
    const said = lastLine(printed.err) || lastLine(printed.out) || "it printed nothing";
    throw new CommandProblem(`flowd validate failed: ${said}`);
  }
}

/** Run the program, and give what it printed, however it ended. */
function run(program: string, words: string[], folder: string, input = ""): Promise<Printed> {
  return new Promise((resolve, reject) => {
    const options = { cwd: folder, timeout: BOUND_MS, maxBuffer: MAX_PRINTED_BYTES };
    const process = execFile(program, words, options, (error, out, err) => {
      if (error && typeof error.code === "string") {
        reject(new CommandProblem(`${program} cannot be run: ${error.message}`));
      } else resolve({ code: error ? (error.code as number | undefined) : 0, out, err });
    });
    process.stdin?.on("error", () => undefined); // it need not read what it is given
    process.stdin?.end(input);
  });
}

async function firstIn(searched: string, name: string): Promise<string | undefined> {
  for (const folder of searched.split(path.delimiter).filter(Boolean)) {
    const program = path.join(folder, name);
    if (await isProgram(program)) return program;
  }
  return undefined;
}

async function isProgram(file: string): Promise<boolean> {
  try {
    await fs.access(file, constants.X_OK);
    return (await fs.stat(file)).isFile();
  } catch {
    return false;
  }
}

function lastLine(text: string): string {
  return text.trim().split("\n").at(-1) ?? "";
}
