/**
 * What the daemon says, as far as this extension reads it. Members that are unknown here are ignored; what is unknown
 * there is absent. `rpc.discover` has all of it.
 */

export type Stream = "stdout" | "stderr";

export interface WaitingFor {
  until?: string;
  why?: "retry" | "delay" | "notBefore" | "debounce" | "foreign";
  attempt?: number;
  of?: number;
  package?: string;
  needs?: string[];
  pause?: string;
  place?: number;
  person?: string;
  key?: { group: string; key: unknown[]; holder?: string; behind?: number; asks?: string };
  host?: { labels: string[]; hosts: number; name?: string };
}

export interface Run {
  id: string;
  eventId: string;
  flowName: string;
  stepName: string;
  processStatus: "queued" | "running" | "completed" | "failed" | "canceled";
  effectiveStatus: string;
  needsAttention: boolean;
  attemptCount: number;
  createdAt: string;
  updatedAt: string;
  startedAt?: string;
  completedAt?: string;
  durationMs?: number;
  reason?: string;
  why?: string;
  error?: string;
  exitCode?: number;
  signal?: number;
  result?: { status?: string; message?: unknown };
  waitingFor?: WaitingFor;
  progress?: { percent?: number; message?: string };
  cancelRequested?: boolean;
  resolution?: { status: string; note?: string };
}

export interface Step {
  name: string;
  runner: string;
  script: string;
  triggerType?: string;
  needs?: string[];
}

export interface Flow {
  name: string;
  root: string;
  state: "ok" | "stale";
  steps: Step[];
  description?: string;
  warnings?: string[];
}

export interface BrokenPackage {
  name: string;
  root: string;
  file: string;
  error: string;
  remedy: string;
  stale: boolean;
  line?: number;
}

export interface Catalog {
  flows: Flow[];
  broken: BrokenPackage[];
}

export interface Schedule {
  flow: string;
  name: string;
  cron: string;
  timezone: string;
  type: string;
  state: "ready" | "paused" | "stale" | "refused";
  next?: string;
  problem?: string;
}

export interface Question {
  run: Run;
  since: string;
  waiting: number;
  steps?: string[];
  message?: string;
}

export interface Dispatched {
  status: "accepted" | "duplicate";
  eventId: string;
  runIds: string[];
  matched: number;
  conflict?: boolean;
  warning?: string;
}

export interface Verdict {
  flow: string;
  step: string;
  matches: boolean;
  reason: string;
  triggerType?: string;
  errors?: { path: string; keyword: string; message: string }[];
}

export interface Explained {
  matched: number;
  steps: Verdict[];
  broken: BrokenPackage[];
}

export interface OutputPart {
  text: string;
  offset: number;
  nextOffset: number;
  size: number;
  eof: boolean;
  turns?: [number, number][];
}

export interface DaemonStatus {
  version: string;
  pid: number;
  state: "ready" | "draining";
  workspace: string;
}

/** The params of a `flow.update`. A member without a `subscription` is no update. */
export interface Update {
  subscription?: string;
  kind: "event" | "run" | "flow" | "output" | "lagging" | "ended";
  run?: Run;
  flowName?: string;
}

/** What the daemon answered a request with in place of a result: a sentence, and a name for its kind. */
export class Refusal extends Error {
  constructor(
    message: string,
    readonly slug: string,
  ) {
    super(message);
  }
}

/** Nobody answers: no daemon, or it went while it was asked. */
export class Away extends Error {}

/** Whether nothing of a run happens any more, as long as nobody asks for it. */
export function isFinal(run: Run): boolean {
  return run.processStatus !== "queued" && run.processStatus !== "running";
}
