/** Both streams in the order in which they were printed, on a step that prints while it is read. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { OrderedAttempt } from "../src/core/ordered.ts";
import type { Asked, Piece } from "../src/core/ordered.ts";
import type { OutputPart, Stream } from "../src/core/wire.ts";

type Random = () => number;

/** Numbers from 0 to 1 that are the same for the same seed. */
function seeded(seed: number): Random {
  let state = seed + 1;
  return () => (state = (state * 48271) % 2147483647) / 2147483647;
}

function choice<Value>(random: Random, values: readonly Value[]): Value {
  return values[Math.floor(random() * values.length)]!;
}

/** What a daemon knows of a step that prints its pieces between the calls. */
class Step {
  private there: Piece[] = [];
  private calls = 0;

  constructor(
    private left: Piece[],
    private readonly random: Random,
    private readonly mask?: string,
  ) {}

  readonly read = (asked: Asked): Promise<OutputPart> => {
    assert.ok((this.calls += 1) < 10_000, "it reads on and on");
    this.printSome();
    const other: Stream = asked.stream === "stdout" ? "stderr" : "stdout";
    while (asked.waitMs && this.left.length && this.soFar(asked.stream).length <= asked.offset) {
      if (this.soFar(other).length > (asked.otherOffset ?? Infinity)) break;
      this.printSome(1);
    }
    const whole = this.soFar(asked.stream);
    const most = Math.min(choice(this.random, [99, 3]), asked.maxBytes ?? 99);
    const bytes = whole.subarray(asked.offset, asked.offset + most);
    const nextOffset = asked.offset + bytes.length;
    const eof = this.left.length === 0 && nextOffset >= whole.length;
    this.printSome(); // what comes now is in no answer, but may be in the turns
    const isMasked = this.mask !== undefined && asked.stream === "stderr" && bytes.length > 0;
    return Promise.resolve({
      text: (isMasked ? Buffer.from(this.mask!) : bytes).toString("base64"),
      offset: asked.offset,
      nextOffset,
      size: whole.length,
      eof,
      ...(asked.turns ? { turns: this.turns(asked.stream, asked.offset, nextOffset) } : {}),
    });
  };

  private printSome(atLeast = 0): void {
    this.there.push(...this.left.splice(0, Math.max(atLeast, choice(this.random, [0, 0, 1, 1, 2, 5]))));
  }

  private soFar(stream: Stream): Buffer {
    return Buffer.concat(this.there.filter(([of]) => of === stream).map(([, bytes]) => bytes));
  }

  private turns(stream: Stream, begin: number, end: number): [number, number][] {
    let [own, other] = [0, 0];
    const placed: [number, number][] = [];
    for (const [of, bytes] of this.there) {
      if (of !== stream) {
        other += bytes.length;
        continue;
      }
      if (own < end && own + bytes.length > begin) placed.push([Math.max(own, begin), other]);
      own += bytes.length;
    }
    return placed;
  }
}

async function heard(step: Step): Promise<Piece[]> {
  const pieces: Piece[] = [];
  for await (const piece of new OrderedAttempt(step.read, 1000).pieces()) pieces.push(piece);
  return pieces;
}

/** Neighbours of one stream as one piece. */
function joined(pieces: readonly Piece[]): string[] {
  const found: string[] = [];
  let last = "";
  for (const [stream, bytes] of pieces) {
    if (stream === last) found.push(`${found.pop()}${bytes}`);
    else found.push(`${stream}: ${bytes}`);
    last = stream;
  }
  return found;
}

test("both streams come in the order in which they were printed, and every byte once", async () => {
  for (let seed = 0; seed < 200; seed += 1) {
    const random = seeded(seed);
    const printed = Array.from({ length: choice(random, [0, 1, 2, 30]) }, (_, number): Piece => [
      choice(random, ["stdout", "stderr"]),
      Buffer.from(`${number} `.repeat(choice(random, [1, 1, 4]))),
    ]);
    assert.deepEqual(joined(await heard(new Step([...printed], random))), joined(printed), `seed ${seed}`);
  }
});

test("what is masked comes, and all of the other stream", async () => {
  for (let seed = 0; seed < 20; seed += 1) {
    const printed = [1, 2, 3].flatMap((): Piece[] => [
      ["stdout", Buffer.from("one ")],
      ["stderr", Buffer.from("secret")],
      ["stdout", Buffer.from("two ")],
    ]);
    const told = await heard(new Step(printed, seeded(seed), "***"));
    assert.equal(
      told
        .filter(([of]) => of === "stdout")
        .map(([, bytes]) => String(bytes))
        .join(""),
      "one two ".repeat(3),
    );
    const errors = told.filter(([of]) => of === "stderr");
    assert.ok(errors.length > 0 && errors.every(([, bytes]) => String(bytes) === "***"));
  }
});
