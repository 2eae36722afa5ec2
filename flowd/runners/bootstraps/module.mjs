// Runs a module-style step under Bun or Node: `bun module.mjs SCRIPT`, the context as JSON on stdin.
//
// Imports the script, calls its default export with the context, and prints what comes of it as one FLOW_RESULT line.
// Exits with 0 as soon as that line is out, whatever timers or sockets are still open; with 1 after a failed result when
// anything went wrong, the stack trace on stderr. A step that calls process.exit itself has its way: no result is printed.

import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { inspect } from "node:util";

import { CONTEXT, provideHelpers } from "./helpers.mjs";

const STATUSES = ["skipped", "completed", "changed", "needs_intervention", "blocked", "failed"];
const MAX_RESULT_BYTES = 1024 * 1024; // flowd reads no longer line as a result

const script = path.resolve(process.argv[2]);
process.argv.splice(1, 1); // the step sees itself as the program
let isDone = false;

process.on("uncaughtException", fail);
process.on("unhandledRejection", fail);
// Emitted when nothing is left to do, and not on process.exit.
process.on("beforeExit", () => fail(new Error("the step's promise never settled, and nothing is left that could settle it")));
main().catch(fail);

async function main() {
  const text = fs.readFileSync(0, "utf8");
  globalThis[CONTEXT] = text;
  const context = JSON.parse(text);
  await provideHelpers(script);
  const url = pathToFileURL(script);
  url.searchParams.set("flowRun", context.runtime?.runId ?? "");
  await finish(resultLine(await defaultExport(await import(url.href))(context)), 0);
}

// The first end counts: an error that comes later changes nothing.
async function finish(line, exitCode) {
  if (isDone) return;
  isDone = true;
  await startLine();
  writeAll(1, line);
  process.exit(exitCode);
}

async function fail(error) {
  if (isDone) return;
  writeAll(2, `${inspect(error)}\n`);
  await finish(resultLine({ status: "failed", message: messageOf(error) }), 1);
}

function messageOf(error) {
  if (!(error instanceof Error) && typeof error?.message !== "string") return String(error).slice(0, 10_000);
  return (error.message || error.name || "Error").slice(0, 10_000);
}

function defaultExport(module) {
  let run = module.default;
  // A transpiler that goes by CommonJS wraps the default export once more.
  if (typeof run !== "function" && typeof run?.default === "function") run = run.default;
  if (typeof run !== "function") throw new Error(`the script's default export must be a function; it is ${typeof run}`);
  return run;
}

function resultLine(result) {
  if (typeof result !== "object" || result === null || Array.isArray(result)) {
    const got = result === null ? "null" : Array.isArray(result) ? "an array" : typeof result;
    throw new Error(`the step must return an object with a status; it returned ${got}`);
  }
  if (!STATUSES.includes(result.status)) {
    throw new Error(`the returned status must be one of ${STATUSES.join(", ")}; it is ${inspect(result.status)}`);
  }
  const line = `FLOW_RESULT ${JSON.stringify(result)}\n`;
  const bytes = Buffer.byteLength(line);
  if (bytes > MAX_RESULT_BYTES) {
    throw new Error(
      `the result has ${bytes} bytes as JSON; ${MAX_RESULT_BYTES} is the most.` +
        " Write what is large into a file and name it in artifacts",
    );
  }
  return line;
}

// Let out what the step printed, and leave stdout at the start of a line.
async function startLine() {
  if (isFile(1)) {
    // Written already: files are written at once by both runtimes.
    if (!endsLine(1)) writeAll(1, "\n");
  } else if (!process.stdout.destroyed && !process.stdout.writableEnded) {
    // On a pipe, Bun calls back for an empty write before earlier ones are out. A blank line does no harm.
    await new Promise((resolve) => process.stdout.write("\n", resolve));
  }
}

function isFile(fd) {
  try {
    return fs.fstatSync(fd).isFile();
  } catch {
    return false;
  }
}

function endsLine(fd) {
  try {
    const size = fs.fstatSync(fd).size;
    if (size === 0) return true;
    const last = Buffer.alloc(1);
    const reader = fs.openSync(`/proc/self/fd/${fd}`, "r"); // the descriptor itself is for appending only
    fs.readSync(reader, last, 0, 1, size - 1);
    fs.closeSync(reader);
    return last[0] === 10;
  } catch {
    return false;
  }
}

function writeAll(fd, text) {
  let rest = Buffer.from(text);
  while (rest.length > 0) {
    try {
      rest = rest.subarray(fs.writeSync(fd, rest));
    } catch (error) {
      if (error.code !== "EAGAIN") return; // nobody reads; the exit code still tells
      // A full pipe that the runtime made non-blocking: wait for its reader.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
    }
  }
}
