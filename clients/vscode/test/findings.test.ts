/** Findings as marks: what today's `flowd validate` prints, what a fuller one does, and columns in UTF-16. */

import assert from "node:assert/strict";
import * as path from "node:path";
import { after, test } from "node:test";
import { CommandProblem, findFlowd, installSchemas, validate, validateText } from "../src/core/command.ts";
import { findingsIn, marks, replacement, sentence } from "../src/core/findings.ts";
import type { Finding } from "../src/core/findings.ts";
import { lineOfSchedule, lineOfStep } from "../src/core/manifest.ts";
import { FLOWD, Place, say } from "./rig.ts";
import * as fs from "node:fs";

const place = new Place();
after(() => place.cleanUp());

const read = (file: string): string => fs.readFileSync(file, "utf8");

const FOUND: Finding = {
  path: "/w/flows/a/flow.toml",
  line: 2,
  column: 5,
  endColumn: 12,
  severity: "warning",
  code: "unknown-key",
  message: 'unknown key "timeout"',
  remedy: "Write timeout_ms.",
  suggestion: "timeout_ms",
};

test("what is broken and what is doubtful is marked in its file and line by the real command", async () => {
  place.write(
    "flows/oops/flow.toml",
    'name = "oops"\nversion = 1\n\n[[steps]]\nname = "main"\nrunner = "perl"\nscript = "x.pl"\n',
  );
  const doubtful = place.flow("doubtful", { main: say("completed") });
  fs.appendFileSync(doubtful, "typ = 1\n");
  const found = await validate(FLOWD, place.folder, read);
  const byFile = marks(found, read);
  const broken = byFile.get(path.join(place.folder, "flows/oops/flow.toml"))!;
  assert.deepEqual(
    broken.map((mark) => [mark.finding.severity, mark.line]),
    [["error", 5]],
  );
  assert.match(sentence(broken[0]!.finding), /perl/);
  const text = read(doubtful).split("\n");
  const [doubt] = byFile.get(doubtful)!;
  assert.equal(doubt!.finding.severity, "warning");
  assert.equal(text[doubt!.line], "typ = 1");
  assert.equal(text[doubt!.line]!.slice(doubt!.begin, doubt!.end).startsWith("typ"), true);
});

test("what is not saved yet is checked as it would be, and a misspelling has what was meant", async () => {
  const file = place.flow("typed", { main: say("completed") });
  const text = read(file).replace('"exec"', '"exce"');
  const [mark] = marks(await validateText(FLOWD, place.folder, file, text), () => text).get(file)!;
  const marked = text.split("\n")[mark!.line]!.slice(mark!.begin, mark!.end);
  assert.equal(marked, '"exce"');
  assert.equal(replacement(mark!.finding, marked), '"exec"');
  assert.deepEqual(await validateText(FLOWD, place.folder, file, read(file)), []);
});

test("a workspace that is fine has no finding", async () => {
  const fine = new Place();
  fine.flow("fine", { main: say("completed") });
  assert.deepEqual(await validate(FLOWD, fine.folder, read), []);
  await fine.cleanUp();
});

test("a program that is something else is no silent 'all is well'", async () => {
  const program = place.write("other", "#!/bin/sh\necho hello; echo no such verb >&2; exit 2\n");
  await assert.rejects(
    validate(program, place.folder, read),
    (error) => error instanceof CommandProblem && /no such verb/.test(error.message),
  );
  await assert.rejects(validate(path.join(place.folder, "none"), place.folder, read), CommandProblem);
});

test("the program is the one that was set, else the workspace's own, else the one in PATH", async () => {
  const [own, other] = [new Place(), new Place()];
  const inPath = other.write("bin/flowd", "#!/bin/sh\n");
  const searched = path.dirname(inPath);
  assert.equal(await findFlowd(own.folder, "", searched), inPath);
  const mine = own.write(".venv/bin/flowd", "#!/bin/sh\n");
  assert.equal(await findFlowd(own.folder, "", searched), mine);
  assert.equal(await findFlowd(own.folder, "flowd", searched), inPath);
  assert.equal(await findFlowd(own.folder, ".venv/bin/flowd", searched), mine);
  await assert.rejects(findFlowd(own.folder, "tools/flowd", searched), /flowd\.path says tools\/flowd/);
  await own.cleanUp();
  await other.cleanUp();
});

test("the schemas are put where editors of TOML look for them", async () => {
  const other = new Place();
  other.flow("any", { main: say("completed") });
  assert.match(await installSchemas(FLOWD, other.folder), /schema/);
  assert.ok(fs.existsSync(path.join(other.folder, ".codex/flow.schema.json")));
  await other.cleanUp();
});

test("findings that are listed are taken as they are", () => {
  assert.deepEqual(findingsIn(JSON.stringify({ findings: [FOUND], broken: [{ name: "told twice" }] }), read), [FOUND]);
  assert.throws(() => findingsIn("null", read));
});

test("columns count code points, and the editor UTF-16 code units", () => {
  const text = 'a\n"\u{1F600}\u{1F600}" timeout';
  const [mark] = marks([{ ...FOUND, column: 6, endColumn: 13 }], () => text).get(FOUND.path)!;
  assert.equal(text.split("\n")[mark!.line]!.slice(mark!.begin, mark!.end), "timeout");
});

test("what has no column is the whole line, and what has no line the first one", () => {
  const whole = marks([{ ...FOUND, column: null, endColumn: null }], () => "a\n  b = 1  \n").get(FOUND.path)![0]!;
  assert.deepEqual([whole.line, whole.begin, whole.end], [1, 2, 7]);
  const nowhere = marks([{ ...FOUND, line: null, column: null, endColumn: null }], () => "").get(FOUND.path)![0]!;
  assert.deepEqual([nowhere.line, nowhere.begin, nowhere.end], [0, 0, 0]);
  const beyond = marks([{ ...FOUND, line: 99 }], () => "a\nb").get(FOUND.path)![0]!;
  assert.equal(beyond.line, 1);
});

test("the word that was meant is put in place of what is marked, within its quotes", () => {
  assert.equal(replacement(FOUND, "timeout"), "timeout_ms");
  assert.equal(replacement({ ...FOUND, suggestion: "python" }, '"pyton"'), '"python"');
  assert.equal(replacement({ ...FOUND, code: "wrong-type", suggestion: "300000" }, '"5m"'), "300000");
  assert.equal(replacement({ ...FOUND, suggestion: null }, "timeout"), undefined);
  assert.equal(replacement({ ...FOUND, column: null }, "timeout"), undefined);
});

test("a step and a schedule are found by name in a flow.toml", () => {
  const text =
    'name = "b"\n[[schedules]]\nname = "a"\n[[steps]]\n# name = "a"\nname = "a"\n[steps.env]\nname = "b"\n[[steps]]\nname = \'b\'\n';
  assert.deepEqual(
    [lineOfStep(text, "a"), lineOfStep(text, "b"), lineOfSchedule(text, "a"), lineOfStep(text, "none")],
    [6, 10, 3, 1],
  );
});
