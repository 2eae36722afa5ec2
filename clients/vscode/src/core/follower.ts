/** Follows the output of a run: what is there, in the order in which it was written, and what comes, over new attempts. */

import { StringDecoder } from "node:string_decoder";
import type { Connection } from "./connection.ts";
import { isFinal } from "./wire.ts";
import type { OutputPart, Run, Stream, Update } from "./wire.ts";

const WAIT_MS = 20_000;
const LOOK_MS = 500;
const STREAMS: readonly Stream[] = ["stdout", "stderr"];

export type Piece =
  { kind: "attempt"; number: number } | { kind: "output"; stream: Stream; text: string } | { kind: "end"; run: Run };

interface Reading {
  offset: number;
  isOver: boolean;
  decoder: StringDecoder;
}

/**
 * The output of a run from the beginning of its latest attempt, attempt by attempt, until the run has ended.
 *
 * @throws {Away} The daemon went; what was given stays right, and a new follower begins anew.
 */
export async function* follow(connection: Connection, runId: string, signal: AbortSignal): AsyncGenerator<Piece, void> {
  let told = 0;
  while (!signal.aborted) {
    const { run } = await connection
      .call<{ run?: Run }>("flow.waitRun", { runId, timeoutMs: 0 }, signal)
      .catch(orEnd(signal));
    if (!run) return;
    if (run.attemptCount > told) {
      told = told ? told + 1 : run.attemptCount;
      yield { kind: "attempt", number: told };
      yield* attempt(connection, runId, told, signal);
    } else if (isFinal(run)) {
      return yield { kind: "end", run };
    } else {
      await change(connection, runId, signal);
    }
  }
}

async function* attempt(
  connection: Connection,
  runId: string,
  number: number,
  signal: AbortSignal,
): AsyncGenerator<Piece, void> {
  const readings: Record<Stream, Reading> = { stdout: fresh(), stderr: fresh() };
  let waitMs = 0;
  while (!signal.aborted && STREAMS.some((stream) => !readings[stream].isOver)) {
    const parts = await readBoth(connection, { runId, attempt: number }, readings, waitMs, signal);
    let hasSpoken = false;
    for (const [stream, bytes] of inOrder(parts)) {
      const text = readings[stream].decoder.write(bytes);
      hasSpoken ||= bytes.length > 0;
      if (text) yield { kind: "output", stream, text };
    }
    for (const stream of STREAMS) {
      readings[stream].offset = parts[stream]?.nextOffset ?? readings[stream].offset;
      readings[stream].isOver ||= parts[stream]?.eof ?? false;
    }
    waitMs = hasSpoken ? 0 : WAIT_MS;
  }
}

function fresh(): Reading {
  return { offset: 0, isOver: false, decoder: new StringDecoder("utf8") };
}

type Parts = Partial<Record<Stream, OutputPart>>;

/** Read on in what is not over yet: the first stream waits for something to come, from either; the other one looks. */
async function readBoth(
  connection: Connection,
  which: { runId: string; attempt: number },
  readings: Record<Stream, Reading>,
  waitMs: number,
  signal: AbortSignal,
): Promise<Parts> {
  const parts: Parts = {};
  const open = STREAMS.filter((stream) => !readings[stream].isOver);
  for (const [index, stream] of open.entries()) {
    const other = open[1 - index];
    const params = {
      ...which,
      stream,
      offset: readings[stream].offset,
      encoding: "base64",
      turns: true,
      waitMs: index === 0 ? waitMs : 0,
    };
    const asked = other && index === 0 && waitMs ? { ...params, otherOffset: readings[other].offset } : params;
    const part = await connection.call<Partial<OutputPart>>("flow.readOutput", asked, signal).catch(orEnd(signal));
    if (part.text === undefined) return parts; // we have ended it
    parts[stream] = part as OutputPart;
  }
  return parts;
}

/**
 * Parts of both streams as they were written: each turn of stdout tells how far stderr had come when it went on.
 */
export function inOrder(parts: Parts): [Stream, Buffer][] {
  const out = bytesOf(parts.stdout);
  const err = bytesOf(parts.stderr);
  const pieces: [Stream, Buffer][] = [];
  const turns = parts.stdout?.turns ?? [];
  let [outAt, errAt] = [0, 0];
  const upTo = (stream: Stream, bytes: Buffer, from: number, to: number): number => {
    const end = Math.min(Math.max(to, from), bytes.length);
    if (end > from) pieces.push([stream, bytes.subarray(from, end)]);
    return end;
  };
  for (const [begin, otherEnd] of turns) {
    outAt = upTo("stdout", out, outAt, begin - (parts.stdout?.offset ?? 0));
    errAt = upTo("stderr", err, errAt, otherEnd - (parts.stderr?.offset ?? 0));
  }
  upTo("stdout", out, outAt, out.length);
  upTo("stderr", err, errAt, err.length);
  return pieces;
}

function bytesOf(part: OutputPart | undefined): Buffer {
  return Buffer.from(part?.text ?? "", "base64");
}

/** A request that we have ended ourselves is no failure. */
function orEnd(signal: AbortSignal): (error: unknown) => Record<string, never> {
  return (error) => {
    if (signal.aborted) return {};
    throw error;
  };
}

/** Return when the daemon tells something of the run, or after a moment: not everybody who follows is subscribed. */
function change(connection: Connection, runId: string, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, LOOK_MS);
    function done(): void {
      clearTimeout(timer);
      connection.off("update", look);
      signal.removeEventListener("abort", done);
      resolve();
    }
    function look(update: Update): void {
      if (update.run?.id === runId) done();
    }
    connection.on("update", look);
    signal.addEventListener("abort", done, { once: true });
  });
}
