/** What is known of one workspace: its flows, its newest runs, what asks for a person; kept up to date by the daemon. */

import { EventEmitter } from "node:events";
import { Connection } from "./connection.ts";
import { findSocket } from "./place.ts";
import { isFinal } from "./wire.ts";
import type { BrokenPackage, Catalog, DaemonStatus, Flow, Question, Run, Schedule, Update } from "./wire.ts";

/** How long changes are gathered before the lists that they are a part of are asked for again. */
const GATHER_MS = 100;

/** Schedules are asked for again a moment after the next of them was due. */
const AFTER_SLOT_MS = 1500;
const LONGEST_TIMER_MS = 3_600_000;

/** A daemon that has just started does not know yet when schedules come next. */
const FIRST_LOOK_MS = 250;

export interface WorkspaceOptions {
  /** The socket that somebody has set, or "". */
  socket: () => string;
  /** How many of the newest runs are kept. */
  maxRuns: () => number;
}

interface Events {
  /** Something of what is known is not as it was. */
  changed: [];
  /** A run asks for a person, and did not before. */
  asked: [question: Question];
  /** The packages on disk have changed, as far as the daemon sees. */
  packages: [];
}

type List = "flows" | "attention" | "schedules";

export class Workspace extends EventEmitter<Events> {
  readonly connection: Connection;
  status: DaemonStatus | undefined;
  flows: Flow[] = [];
  broken: BrokenPackage[] = [];
  schedules: Schedule[] = [];
  questions: Question[] = [];
  /** Why nobody answers; undefined while somebody does. */
  away: string | undefined = "connecting";
  private readonly runsById = new Map<string, Run>();
  private readonly due = new Set<List>();
  private gathering: NodeJS.Timeout | undefined;
  private slotTimer: NodeJS.Timeout | undefined;
  private unknownMs = FIRST_LOOK_MS;
  /** Runs that are told of while a list is asked for: what is known of them is as new as that, or newer. */
  private heard: Set<string> | undefined;
  private knowsQuestions = false;
  private isSubscribed = false;
  private isClosed = false;

  constructor(
    readonly folder: string,
    readonly name: string,
    private readonly options: WorkspaceOptions,
  ) {
    super();
    this.connection = new Connection(() => findSocket(folder, options.socket()));
    this.connection.on("connected", () => {
      this.isSubscribed = false;
      void this.refresh();
    });
    this.connection.on("update", (update) => this.take(update));
    this.connection.on("away", (why) => {
      this.away = why;
      this.status = undefined;
      this.emit("changed");
    });
  }

  open(): void {
    this.connection.open();
  }

  close(): void {
    this.isClosed = true;
    clearTimeout(this.gathering);
    clearTimeout(this.slotTimer);
    this.connection.close();
    this.removeAllListeners();
  }

  /** The newest runs, newest first. */
  get runs(): Run[] {
    const all = [...this.runsById.values()];
    return all
      .sort((one, other) => other.createdAt.localeCompare(one.createdAt) || other.id.localeCompare(one.id))
      .slice(0, this.options.maxRuns());
  }

  run(id: string): Run | undefined {
    return this.runsById.get(id);
  }

  /** How many of the known runs are under way. */
  get running(): number {
    return [...this.runsById.values()].filter((run) => run.processStatus === "running").length;
  }

  /** Ask for everything anew. The subscription is made first, so that no change falls between it and the lists. */
  async refresh(): Promise<void> {
    try {
      this.status = await this.connection.call<DaemonStatus>("daemon.status");
      if (!this.isSubscribed) await this.connection.call("flow.subscribe", { topics: ["run", "flow"] });
      this.isSubscribed = true;
      const heard = (this.heard = new Set<string>());
      const { runs } = await this.connection.call<{ runs: Run[] }>("flow.listRuns", { limit: this.options.maxRuns() });
      for (const id of this.runsById.keys()) if (!heard.has(id)) this.runsById.delete(id);
      this.heard = undefined;
      for (const run of runs) this.keep(run);
      await this.ask(["flows", "schedules", "attention"]);
      this.away = undefined;
      this.emit("changed");
    } catch (error) {
      this.fail(error);
    }
  }

  private take(update: Update): void {
    if (update.kind === "ended") {
      this.isSubscribed = false;
      void this.refresh();
    } else if (update.kind === "run" && update.run) {
      const before = this.runsById.get(update.run.id);
      this.heard?.add(update.run.id);
      this.keep(update.run);
      this.emit("changed");
      if (update.run.needsAttention || before?.needsAttention || isFinal(update.run)) this.gather("attention");
    } else if (update.kind === "flow") {
      this.emit("packages");
      this.gather("flows", "schedules");
    }
  }

  private keep(run: Run): void {
    const known = this.runsById.get(run.id);
    if (known && known.updatedAt > run.updatedAt) return;
    this.runsById.set(run.id, run);
    if (this.runsById.size <= 2 * this.options.maxRuns()) return;
    const kept = new Set(this.runs.map((one) => one.id));
    for (const [id, one] of this.runsById) if (!kept.has(id) && isFinal(one)) this.runsById.delete(id);
  }

  private gather(...lists: List[]): void {
    for (const list of lists) this.due.add(list);
    this.gathering ??= setTimeout(() => {
      this.gathering = undefined;
      const asked = [...this.due];
      this.due.clear();
      this.ask(asked).catch((error: unknown) => this.fail(error));
    }, GATHER_MS);
  }

  private async ask(lists: List[]): Promise<void> {
    if (lists.includes("flows")) {
      const catalog = await this.connection.call<Catalog>("flow.listFlows");
      [this.flows, this.broken] = [catalog.flows, catalog.broken];
    }
    if (lists.includes("schedules")) {
      this.schedules = (await this.connection.call<{ schedules: Schedule[] }>("flow.schedules")).schedules;
      this.setSlotTimer();
    }
    if (lists.includes("attention"))
      this.takeQuestions((await this.connection.call<{ questions: Question[] }>("flow.attention")).questions);
    this.emit("changed");
  }

  private takeQuestions(questions: Question[]): void {
    const known = new Set(this.questions.map(questionId));
    const isFirst = !this.knowsQuestions;
    [this.questions, this.knowsQuestions] = [questions, true];
    if (isFirst) return; // what asked before anybody looked is no news
    for (const question of questions) if (!known.has(questionId(question))) this.emit("asked", question);
  }

  /** Ask again once the next slot was due; soon, and ever less often, where the daemon does not know one yet. */
  private setSlotTimer(): void {
    clearTimeout(this.slotTimer);
    if (this.isClosed || this.schedules.length === 0) return;
    const isUnknown = this.schedules.some((one) => one.state === "ready" && !one.next);
    this.unknownMs = isUnknown ? Math.min(2 * this.unknownMs, LONGEST_TIMER_MS) : FIRST_LOOK_MS;
    const next = Math.min(...this.schedules.flatMap((one) => (one.next ? [Date.parse(one.next)] : [])));
    const dueMs = Math.max(next - Date.now(), 0) + AFTER_SLOT_MS;
    const waitMs = Math.min(dueMs, isUnknown ? this.unknownMs : LONGEST_TIMER_MS);
    this.slotTimer = setTimeout(() => this.gather("schedules"), waitMs);
  }

  /** The connection tells by itself when it is lost; anything else is worth a word. */
  private fail(error: unknown): void {
    if (this.isClosed || !this.connection.isConnected) return;
    this.away = error instanceof Error ? error.message : String(error);
    this.emit("changed");
  }
}

/** A question is another one when its run has had another attempt. */
function questionId(question: Question): string {
  return `${question.run.id}:${question.run.attemptCount}`;
}
