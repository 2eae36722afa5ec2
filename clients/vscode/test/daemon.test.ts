/** What the extension knows and does, against a real daemon's socket. */

import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { after, before, test } from "node:test";
import { follow } from "../src/core/follower.ts";
import type { Piece } from "../src/core/follower.ts";
import { tree } from "../src/core/tree.ts";
import { Away, Refusal, isFinal } from "../src/core/wire.ts";
import type { Dispatched, Question, Run } from "../src/core/wire.ts";
import type { Workspace } from "../src/core/workspace.ts";
import { why } from "../src/core/words.ts";
import { Place, say, until } from "./rig.ts";

const place = new Place();
let workspace: Workspace;

const NIGHTLY = '[[schedules]]\nname = "every-night"\ncron = "30 2 * * *"\ntype = "nightly.go"\n';

/** A shell line that says a word, and goes on when somebody has heard it. */
function heard(word: string, where = ""): string {
  return `echo ${word} ${where}; until [ -e "$0.${word}" ]; do sleep 0.05; done`;
}

before(async () => {
  place.flow("talk", {
    main: `${heard("one")}; ${heard("two", ">&2")}; ${heard("three")}; echo four >&2; ${say("changed", "4 lines")}`,
  });
  place.flow("flaky", { main: `echo "try $FLOWD_ATTEMPT"; [ -e "$0.mended" ] || exit 12; ${say("completed")}` });
  place.flow("release", { ask: say("needs_intervention", "Publish v1.2.0?"), publish: say("changed", "published") });
  place.flow("endless", { main: "sleep 600" });
  place.flow("nightly", { main: say("completed") }, NIGHTLY);
  place.write(
    "flows/oops/flow.toml",
    'name = "oops"\nversion = 1\n\n[[steps]]\nname = "main"\nrunner = "perl"\nscript = "x.pl"\n',
  );
  await place.start();
  workspace = place.open();
  await connected();
});

after(() => place.cleanUp());

function connected(): Promise<unknown> {
  return until(() => workspace.away === undefined, "a connection");
}

async function dispatch(type: string): Promise<string> {
  const said = await workspace.connection.call<Dispatched>("flow.dispatch", {
    event: { id: `${type}:${Math.random()}`, type },
  });
  assert.equal(said.status, "accepted");
  return said.runIds[0]!;
}

function shown(id: string, wanted: (run: Run) => boolean): Promise<Run> {
  return until(() => [workspace.run(id)].find((run) => run && wanted(run)), `what was asked of ${id}`);
}

async function pieces(id: string, onPiece: (piece: Piece) => void = () => {}): Promise<string> {
  let text = "";
  for await (const piece of follow(workspace.connection, id, new AbortController().signal)) {
    onPiece(piece);
    if (piece.kind === "output") text += piece.text;
    else text += piece.kind === "attempt" ? `<attempt ${piece.number}>` : `<${piece.run.effectiveStatus}>`;
  }
  return text;
}

test("flows, what is broken and when a schedule comes next are in the list of flows", async () => {
  await until(() => workspace.schedules[0]?.next, "a time of the schedule");
  const nodes = tree([workspace], "flows", Date.now());
  assert.deepEqual(
    nodes.map((node) => node.label),
    ["oops", "endless", "flaky", "nightly", "release", "talk"],
  );
  assert.match(nodes[0]!.description!, /^broken: .*"perl"/);
  const nightly = nodes.find((node) => node.label === "nightly")!;
  assert.match(nightly.description!, /next (in \d+ (h|min|s)|just now)$/);
  assert.deepEqual(
    nightly.children!.map((node) => node.label),
    ["main", "every-night"],
  );
  const release = nodes.find((node) => node.label === "release")!;
  assert.deepEqual(
    release.children!.map((node) => node.description),
    ["on release.go", "after ask"],
  );
});

test("output comes while the run goes on, in the order in which it was written, and then how it ended", async () => {
  const id = await dispatch("talk.go");
  const text = await pieces(id, (piece) => {
    if (piece.kind === "output")
      fs.writeFileSync(`${path.join(place.folder, "flows/talk/main.sh")}.${piece.text.trim()}`, "");
  });
  assert.match(text, /^<attempt 1>one\ntwo\nthree\n/);
  assert.match(text, /\nfour\n/);
  assert.match(text, /<changed>$/);
  const run = await shown(id, isFinal);
  assert.equal(why(run, Date.now()), "4 lines");
  assert.match(await pieces(id), /^<attempt 1>one\ntwo\nthree\n/, "what has ended is shown in the same order");
});

test("a run that failed is retried, and who follows it sees both attempts", async () => {
  const id = await dispatch("flaky.go");
  const failed = await shown(id, (run) => run.effectiveStatus === "failed");
  assert.match(why(failed, Date.now()), /12/);
  assert.equal(tree([workspace], "runs", Date.now()).find((node) => node.run?.id === id)?.context, "run-bad");
  assert.equal(await pieces(id), "<attempt 1>try 1\n<failed>");
  fs.writeFileSync(path.join(place.folder, "flows/flaky/main.sh.mended"), "");
  await workspace.connection.call("flow.retryRun", { runId: id });
  assert.match(await pieces(id), /<attempt 2>try 2\nFLOW_RESULT .*\n<completed>$/);
  await shown(id, (run) => run.effectiveStatus === "completed" && run.attemptCount === 2);
});

test("a question is told of once, and what waits for it goes on when it is approved", async () => {
  const told: Question[] = [];
  workspace.on("asked", (question) => told.push(question));
  const id = await dispatch("release.go");
  await until(() => told.length > 0, "a question");
  const [node] = tree([workspace], "attention", Date.now());
  assert.equal(node?.label, "Publish v1.2.0?");
  assert.match(node!.description!, /release\/ask · .* · 1 step waits/);
  const asks = await shown(id, (run) => run.needsAttention);
  const flow = tree([workspace], "flows", Date.now()).find((one) => one.label === "release");
  assert.equal(flow?.description, "asks");
  const waits = await until(() => workspace.runs.find((run) => run.stepName === "publish"), "the run that waits");
  assert.match(why(waits, Date.now()), /waits for/);
  const unseen = workspace.connection.call("flow.resolveRun", {
    runId: id,
    status: "completed",
    attempt: asks.attemptCount + 1,
  });
  await assert.rejects(unseen, (error) => error instanceof Refusal);
  await workspace.connection.call("flow.resolveRun", { runId: id, status: "completed", attempt: asks.attemptCount });
  await until(() => workspace.questions.length === 0, "an end of the question");
  await shown(waits.id, (run) => run.effectiveStatus === "changed");
  assert.equal(told.length, 1);
});

test("a run under way is shown as such, and canceled", async () => {
  const id = await dispatch("endless.go");
  await shown(id, (run) => run.processStatus === "running");
  assert.equal(workspace.running, 1);
  assert.equal(tree([workspace], "runs", Date.now()).find((node) => node.run?.id === id)?.context, "run-active");
  const ending = new AbortController();
  const following = follow(workspace.connection, id, ending.signal);
  assert.deepEqual((await following.next()).value, { kind: "attempt", number: 1 });
  const more = following.next();
  ending.abort();
  assert.equal((await more).done, true, "who no longer looks is let go");
  await workspace.connection.call("flow.cancelRun", { runId: id });
  await shown(id, (run) => run.effectiveStatus === "canceled");
});

test("a refusal is the daemon's own sentence and slug", async () => {
  const asked = workspace.connection.call("flow.getRun", { runId: "none" });
  await assert.rejects(
    asked,
    (error) => error instanceof Refusal && error.slug === "run_not_found" && /none/.test(error.message),
  );
});

test("a package that is mended on disk is shown so without being asked for", async () => {
  const isTold = new Promise((resolve) => workspace.once("packages", () => resolve(true)));
  place.flow("oops", { main: say("completed") });
  assert.ok(await isTold);
  await until(
    () => workspace.broken.length === 0 && workspace.flows.some((flow) => flow.name === "oops"),
    "the package",
  );
});

test("where a daemon goes, what was known stays and says so; when it is back, what came meanwhile is there", async () => {
  const known = workspace.runs.length;
  await place.stop();
  const gone = await until(() => workspace.away, "word of the daemon's end");
  assert.notEqual(gone, "connecting");
  assert.equal(workspace.runs.length, known);
  await assert.rejects(workspace.connection.call("daemon.status"), (error) => error instanceof Away);
  await place.start();
  await connected();
  const id = await dispatch("nightly.go"); // and updates come again
  await shown(id, (run) => run.effectiveStatus === "completed");
});

test("no more runs are kept than were asked for, and none that is under way is forgotten", async () => {
  const few = place.open("few", 2);
  await until(() => few.away === undefined, "a connection");
  const active = (await few.connection.call<Dispatched>("flow.dispatch", { event: { id: "long", type: "endless.go" } }))
    .runIds[0]!;
  for (let number = 0; number < 8; number += 1) {
    const id = `many:${number}`;
    await few.connection.call("flow.dispatch", { event: { id, type: "nightly.go" }, wait: true });
    await until(() => few.runs[0]?.eventId === id && isFinal(few.runs[0]), `the run of ${id}`);
  }
  assert.equal(few.runs.length, 2);
  assert.equal(few.running, 1);
  await few.connection.call("flow.cancelRun", { runId: active });
});

test("several workspaces have a branch each, and one without a daemon says so", async () => {
  const other = new Place();
  try {
    const away = other.open("other");
    await until(() => away.away !== "connecting", "word of no daemon");
    const nodes = tree([workspace, away], "runs", Date.now());
    assert.deepEqual(
      nodes.map((node) => [node.label, node.context]),
      [
        ["scratch", "workspace"],
        ["other", "workspace-away"],
      ],
    );
    assert.match(nodes[1]!.description!, /no daemon/);
    assert.ok(nodes[0]!.children!.length > 0);
  } finally {
    await other.cleanUp();
  }
});
