/** Follows the output of a run: what is there, in the order in which it was written, and what comes, over new attempts. */

import { StringDecoder } from "node:string_decoder";
import type { Connection } from "./connection.ts";
import { OrderedAttempt } from "./ordered.ts";
import type { Read } from "./ordered.ts";
import { isFinal } from "./wire.ts";
import type { OutputPart, Run, Stream, Update } from "./wire.ts";

const WAIT_MS = 20_000;
const LOOK_MS = 500;

export type Piece =
  { kind: "attempt"; number: number } | { kind: "output"; stream: Stream; text: string } | { kind: "end"; run: Run };

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
  const decoders: Record<Stream, StringDecoder> = {
    stdout: new StringDecoder("utf8"),
    stderr: new StringDecoder("utf8"),
  };
  const read: Read = async (asked) => {
    const params = { ...asked, runId, attempt: number, encoding: "base64" };
    const part = await connection.call<Partial<OutputPart>>("flow.readOutput", params, signal).catch(orEnd(signal));
    return part.text === undefined ? nothing(asked.offset) : (part as OutputPart);
  };
  for await (const [stream, bytes] of new OrderedAttempt(read, WAIT_MS).pieces()) {
    const text = decoders[stream].write(bytes);
    if (text) yield { kind: "output", stream, text };
  }
}

/** The answer to a request that we have ended ourselves: there is no more. */
function nothing(offset: number): OutputPart {
  return { text: "", offset, nextOffset: offset, size: offset, eof: true };
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
