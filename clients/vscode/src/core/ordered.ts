/** Reads both streams of an attempt in the order in which they were printed; the same plan as flowd's Python client. */

import type { OutputPart, Stream } from "./wire.ts";

export interface Asked {
  stream: Stream;
  offset: number;
  waitMs: number;
  otherOffset?: number;
  maxBytes?: number;
  turns?: boolean;
}

/** Asks for a part of the output of the attempt, `encoding: "base64"`. */
export type Read = (asked: Asked) => Promise<OutputPart>;

export type Piece = [stream: Stream, bytes: Buffer];

const MAX_BYTES = 1 << 20;

/**
 * Stdout leads: each part of it tells how far stderr had come before. Stderr alone is read once nothing new is on stdout,
 * and told once stdout has been looked at after that.
 */
export class OrderedAttempt {
  private outAt = 0;
  /** What was told of stderr ends there. */
  private errorsAt = 0;
  /** Of stderr, read and not told yet. */
  private held: Buffer = Buffer.alloc(0);
  private heldEnd = 0;
  /** Whether what is held has as many bytes as the stream has there; where a secret is masked it has not. */
  private isExact = true;

  constructor(
    private readonly read: Read,
    private readonly pollMs: number,
  ) {}

  /** Both streams to their ends. */
  async *pieces(): AsyncGenerator<Piece, void> {
    for (let isOver = false; !isOver;) {
      let part = await this.readOut(this.held.length ? 0 : this.pollMs);
      yield* this.told(part);
      if (part.text) continue;
      // Stderr has grown, or stdout has ended, or nothing came in time.
      const isEnd = await this.readErrors({ waitMs: part.eof ? this.pollMs : 0 });
      if (!part.eof) {
        part = await this.readOut(0);
        yield* this.told(part);
      }
      if (part.nextOffset >= part.size) yield* this.rest(); // else more of stdout came before what is held
      isOver = part.eof && isEnd && this.held.length === 0;
    }
  }

  private readOut(waitMs: number): Promise<OutputPart> {
    return this.read({ stream: "stdout", offset: this.outAt, waitMs, turns: true, otherOffset: this.heldEnd });
  }

  /** A part of stdout, and what of stderr came before each piece of it. */
  private async *told(part: OutputPart): AsyncGenerator<Piece, void> {
    const [begin, bytes] = [this.outAt, bytesOf(part)];
    this.outAt = part.nextOffset;
    const isExact = bytes.length === part.nextOffset - begin;
    const turns = isExact && part.turns?.length ? part.turns : [[begin, 0] as [number, number]];
    let done = 0;
    for (const [index, [, other]] of turns.entries()) {
      while (this.errorsAt < other) {
        if (this.held.length === 0)
          await this.readErrors({ waitMs: 0, maxBytes: Math.min(other - this.errorsAt, MAX_BYTES) });
        if (this.held.length === 0) break;
        yield* this.rest(other);
      }
      const end = turns[index + 1]?.[0] ?? part.nextOffset;
      const piece = bytes.subarray(done, isExact ? end - begin : bytes.length);
      done += piece.length;
      if (piece.length) yield ["stdout", piece];
    }
  }

  /** What is held of stderr, up to a place where that can be told. */
  private *rest(end?: number): Generator<Piece, void> {
    const count = end === undefined || !this.isExact ? this.held.length : end - this.errorsAt;
    const piece = this.held.subarray(0, count);
    this.held = this.held.subarray(count);
    this.errorsAt = this.held.length ? this.errorsAt + piece.length : this.heldEnd;
    if (piece.length) yield ["stderr", piece];
  }

  /** Hold what follows on stderr; whether that is its end. */
  private async readErrors(more: { waitMs: number; maxBytes?: number }): Promise<boolean> {
    if (this.held.length) return false;
    const part = await this.read({ stream: "stderr", offset: this.errorsAt, ...more });
    [this.held, this.heldEnd] = [bytesOf(part), part.nextOffset];
    this.isExact = this.held.length === part.nextOffset - this.errorsAt;
    if (this.held.length === 0) this.errorsAt = part.nextOffset;
    return part.eof;
  }
}

function bytesOf(part: OutputPart): Buffer {
  return Buffer.from(part.text, "base64");
}
