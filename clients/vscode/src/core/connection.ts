/** A connection to a daemon that comes back when the daemon does. */

import { EventEmitter } from "node:events";
import * as net from "node:net";
import {
  createMessageConnection,
  CancellationTokenSource,
  ResponseError,
  StreamMessageReader,
  StreamMessageWriter,
} from "vscode-jsonrpc/node";
import type { MessageConnection } from "vscode-jsonrpc/node";
import { distrust } from "./place.ts";
import { Away, Refusal } from "./wire.ts";
import type { Update } from "./wire.ts";

const FIRST_PAUSE_MS = 200;
const LONGEST_PAUSE_MS = 3000;

interface Events {
  /** Somebody answers. Whatever was known before may be out of date. */
  connected: [];
  /** Nobody does, and why; told once, until somebody has answered again. */
  away: [why: string];
  update: [update: Update];
}

export class Connection extends EventEmitter<Events> {
  private rpc: MessageConnection | undefined;
  private socket: net.Socket | undefined;
  private timer: NodeJS.Timeout | undefined;
  private pauseMs = FIRST_PAUSE_MS;
  private isClosed = false;
  private toldWhy: string | undefined;

  /** @param find Where to connect, asked anew each time: a daemon that starts later may choose another place. */
  constructor(private readonly find: () => string) {
    super();
  }

  get isConnected(): boolean {
    return this.rpc !== undefined;
  }

  /** Connect, and go on trying until `close`. */
  open(): void {
    clearTimeout(this.timer);
    if (this.isClosed || this.socket) return;
    let place: string;
    try {
      place = this.find();
      const why = distrust(place);
      if (why) return this.lost(why);
    } catch {
      return this.lost("no daemon runs for this workspace");
    }
    const socket = (this.socket = net.createConnection(place));
    let problem = "the daemon went away";
    socket.on(
      "error",
      (error) =>
        (problem = `no daemon answers at ${place} (${(error as NodeJS.ErrnoException).code ?? error.message})`),
    );
    socket.once("connect", () => this.begin(socket));
    socket.once("close", () => this.lost(problem));
  }

  /** Look at once whether there is a daemon now. */
  lookNow(): void {
    this.pauseMs = FIRST_PAUSE_MS;
    this.open();
  }

  /** Let go, for good. */
  close(): void {
    this.isClosed = true;
    clearTimeout(this.timer);
    this.rpc?.dispose();
    this.rpc = undefined;
    this.socket?.destroy();
    this.removeAllListeners();
  }

  /**
   * The result of a method.
   *
   * @param signal Once it is aborted, nothing is waited for any more, and the daemon is told to end the request.
   * @throws {Refusal} The daemon says no, and why.
   * @throws {Away} No daemon answers, or it went before it did, or the signal was given. What was asked may have been done.
   */
  async call<Result>(method: string, params: object = {}, signal?: AbortSignal): Promise<Result> {
    const rpc = this.rpc;
    if (!rpc) throw new Away("No daemon runs for this workspace. Start it with `flowd serve`.");
    if (signal?.aborted) throw new Away("It is no longer wanted.");
    const cancelling = new CancellationTokenSource();
    let cancel: () => void;
    const unwanted = new Promise<never>((_, reject) => {
      cancel = () => (cancelling.cancel(), reject(new Away("It is no longer wanted.")));
      signal?.addEventListener("abort", cancel);
    });
    try {
      const result = await Promise.race([rpc.sendRequest<Result>(method, params, cancelling.token), unwanted]);
      this.answered();
      return result;
    } catch (error) {
      if (error instanceof Away) throw error;
      const data = error instanceof ResponseError ? (error.data as { slug?: string } | undefined) : undefined;
      if (data?.slug) this.answered();
      if (data?.slug) throw new Refusal((error as Error).message, data.slug);
      throw new Away("The daemon went away before it answered.");
    } finally {
      signal?.removeEventListener("abort", cancel!);
    }
  }

  private begin(socket: net.Socket): void {
    const rpc = createMessageConnection(new StreamMessageReader(socket), new StreamMessageWriter(socket));
    rpc.onNotification("flow.update", (update: Update) => void this.emit("update", update));
    rpc.onError(() => socket.destroy());
    rpc.listen();
    this.rpc = rpc;
    this.emit("connected");
  }

  /** It is a daemon that listens there: its going is news, and it is looked for at once. */
  private answered(): void {
    this.pauseMs = FIRST_PAUSE_MS;
    this.toldWhy = undefined;
  }

  private lost(why: string): void {
    this.rpc?.dispose();
    this.rpc = undefined;
    this.socket = undefined;
    if (this.isClosed) return;
    this.timer = setTimeout(() => this.open(), this.pauseMs);
    this.pauseMs = Math.min(2 * this.pauseMs, LONGEST_PAUSE_MS);
    if (this.toldWhy === undefined) this.emit("away", why);
    this.toldWhy = why;
  }
}
