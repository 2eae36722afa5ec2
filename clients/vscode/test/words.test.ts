/** What is said of a run, of time, of an event; and what a step may say to a terminal. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { NoEvent, answerIn, eventIn, eventTypes, explanation, outcome } from "../src/core/events.ts";
import { unlinked } from "../src/core/unlinked.ts";
import { TerminalText } from "../src/core/terminal_text.ts";
import type { Dispatched, Flow, Run } from "../src/core/wire.ts";
import { ago, barText, duration, icon, summary, waiting, why } from "../src/core/words.ts";

const NOW = Date.parse("2030-01-01T12:00:00.000Z");
const RUN: Run = {
  id: "run_1",
  eventId: "e",
  flowName: "release",
  stepName: "build",
  processStatus: "failed",
  effectiveStatus: "failed",
  needsAttention: false,
  attemptCount: 2,
  createdAt: "2030-01-01T11:58:00.000Z",
  updatedAt: "2030-01-01T11:59:00.000Z",
};

test("durations and times have one unit, or two where the second one matters", () => {
  assert.deepEqual([12, 1500, 12_000, 65_000, 3_600_000, 90_000_000].map(duration), [
    "12 ms",
    "1.5 s",
    "12 s",
    "1 min 5 s",
    "1 h",
    "1 d 1 h",
  ]);
  assert.equal(ago("2030-01-01T11:58:00.000Z", NOW), "2 min ago");
  assert.equal(ago("2030-01-01T15:10:00.000Z", NOW), "in 3 h");
  assert.equal(ago("2030-01-01T11:59:58.000Z", NOW), "just now");
});

test("a run says why it is as it is: its step's message, else its error, else how it ended", () => {
  assert.equal(why({ ...RUN, exitCode: 12, reason: "exit" }, NOW), "exit code 12");
  assert.equal(why({ ...RUN, error: "no such file\nsecond line", exitCode: 1 }, NOW), "no such file");
  assert.equal(why({ ...RUN, result: { message: "tests failed" }, error: "exit 1" }, NOW), "tests failed");
  assert.equal(why({ ...RUN, why: "no room (exit code 1)", error: "exited with 1" }, NOW), "no room (exit code 1)");
  assert.equal(why({ ...RUN, reason: "needs_not_met" }, NOW), "needs not met");
  assert.equal(
    why({ ...RUN, processStatus: "running", progress: { percent: 41.6, message: "layer 3" } }, NOW),
    "42 % layer 3",
  );
  assert.equal(summary({ ...RUN, exitCode: 12 }, NOW), "failed · attempt 2 · exit code 12 · 2 min ago");
});

test("a queued run says what it waits for", () => {
  assert.equal(waiting({ needs: ["a", "b"] }, NOW), "waits for a, b");
  assert.equal(
    waiting({ until: "2030-01-01T12:00:30.000Z", why: "retry", attempt: 2, of: 4 }, NOW),
    "attempt 2 of 4 in 30 s",
  );
  assert.equal(waiting({ pause: "*" }, NOW), "paused with all flows");
  assert.equal(waiting({ place: 101 }, NOW), "place behind 100");
  assert.equal(waiting({ key: { group: "repo", key: ["x"], holder: "run_0" } }, NOW), "waits for run_0 of repo");
  assert.equal(waiting({ host: { labels: ["gpu"], hosts: 0 } }, NOW), "waits for a host with gpu");
});

test("every status has an icon of its own kind, and one that is unknown has one, too", () => {
  const ids = ["queued", "running", "completed", "failed", "canceled", "needs_intervention", "new"].map(
    (status) => icon({ ...RUN, effectiveStatus: status }).id,
  );
  assert.equal(new Set(ids).size, ids.length);
});

test("the status bar counts what runs and asks", () => {
  assert.equal(barText(true, 2, 1), "flowd: $(loading~spin) 2 running $(question) 1 asks");
  assert.equal(barText(true, 0, 0), "$(check) flowd");
  assert.equal(barText(false, 2, 1), "$(debug-disconnect) flowd");
});

test("an object with a type is an event, and anything else is a payload", () => {
  assert.deepEqual(eventIn('{"id":"1","type":"a","payload":2}'), { id: "1", type: "a", payload: 2 });
  assert.match(eventIn('{"type":"a"}')!.id, /^vscode-/);
  assert.equal(eventIn('{"tag":"v1"}'), undefined);
  const { id, ...rest } = eventIn('{"tag":"v1"}', "release.tagged")!;
  assert.deepEqual(rest, { type: "release.tagged", payload: { tag: "v1" } });
  assert.notEqual(id, eventIn('{"tag":"v1"}', "release.tagged")!.id);
  assert.throws(() => eventIn("{"), NoEvent);
});

test("an answer is JSON where it is JSON, else text, and nothing where it is empty", () => {
  assert.deepEqual(
    [answerIn('{"a":1}'), answerIn("yes"), answerIn(" "), answerIn("3")],
    [{ a: 1 }, "yes", undefined, 3],
  );
});

test("what came of an event is told with what to do next", () => {
  const said: Dispatched = { status: "accepted", eventId: "e", runIds: ["run_1"], matched: 1 };
  assert.equal(outcome(said), "Event e: 1 run.");
  assert.match(outcome({ ...said, runIds: [], matched: 0 }), /no step matches/);
  assert.match(outcome({ ...said, status: "duplicate" }), /Replay it/);
  assert.equal(outcome({ ...said, warning: "It conflicts." }), "It conflicts.");
});

test("what is nearest to a match is explained first", () => {
  const steps = [
    { flow: "a", step: "far", matches: false, reason: "type", triggerType: "x" },
    {
      flow: "a",
      step: "near",
      matches: false,
      reason: "schema",
      errors: [{ path: "/tag", keyword: "type", message: "is no string" }],
    },
    { flow: "a", step: "it", matches: true, reason: "matched" },
  ];
  const text = explanation({ id: "e", type: "t" }, { matched: 1, steps, broken: [] });
  assert.deepEqual(text.split("\n"), [
    "Event e of type t:",
    "  a/it: matches",
    "  a/near: schema",
    "    /tag: is no string",
    "  a/far: type (it waits for x)",
  ]);
});

test("types that start something are offered once each, but no prefixes", () => {
  const step = (name: string, triggerType?: string) => ({
    name,
    runner: "exec",
    script: "x",
    ...(triggerType ? { triggerType } : {}),
  });
  const flow = (name: string, steps: Flow["steps"]): Flow => ({ name, root: "/", state: "ok", steps });
  const types = eventTypes([
    flow("b", [step("x", "b.go"), step("y")]),
    flow("a", [step("x", "a.go"), step("z", "b.go"), step("all", "a.*")]),
  ]);
  assert.deepEqual(
    [...types],
    [
      ["a.go", ["a/x"]],
      ["b.go", ["b/x", "a/z"]],
    ],
  );
});

test("what steps and daemons say makes no links that run the editor's commands", () => {
  const asked =
    "Ship it? [yes](command:workbench.action.terminal.sendSequence?%7B%7D) [x](https://a.b) [a]((b) c[0] (d)";
  const link = /\[([^\]]+)\]\(((?:https?:\/\/|command:|file:)[^)\s]+)/i; // as the editor finds them
  assert.match(asked, link);
  assert.doesNotMatch(unlinked(asked), link);
  assert.equal(unlinked("a [b] (c) d[0]"), "a [b] (c) d[0]");
});

test("colours reach the terminal, and nothing else that could take it over, however it is cut", () => {
  const clean = (...texts: string[]): string => {
    const text = new TerminalText();
    return texts.map((one) => text.write(one)).join("") + text.end();
  };
  assert.equal(clean("\u001b[31mred\u001b[0m\n"), "\u001b[31mred\u001b[0m\r\n");
  assert.equal(clean("a\u001b[2Jb\u001b]0;title\u0007c\u001b]8;;http://x\u001b\\d\u001bc"), "abcd");
  assert.equal(clean("a\u001b", "[3", "1mb\u001b]0;ti", "tle\u0007c"), "a\u001b[31mbc");
  assert.equal(clean("bell\u0007 \u009b2J"), "bell\u2407 \u24212J");
  assert.equal(clean("end\u001b"), "end\u241b");
  assert.equal(clean(`\u001b]0;${"x".repeat(5000)}`, "y").endsWith("y"), true, "what never ends is not kept for ever");
});
