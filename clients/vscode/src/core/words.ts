/** What a run is and why, in few words, and which icon of the editor stands for it. */

import type { Run, Schedule, WaitingFor } from "./wire.ts";

const S = 1000;
const UNITS: [number, string][] = [
  [86_400 * S, "d"],
  [3600 * S, "h"],
  [60 * S, "min"],
  [S, "s"],
];

/** How long, in one unit, or two where the smaller one still says something: "850 ms", "12 s", "3 min 5 s", "2 h". */
export function duration(ms: number): string {
  if (ms < S) return `${Math.max(0, Math.round(ms))} ms`;
  if (ms < 10 * S) return `${(ms / S).toFixed(1).replace(/\.0$/, "")} s`;
  const index = UNITS.findIndex(([size]) => ms >= size);
  const [size, unit] = UNITS[index]!;
  const smaller = UNITS[index + 1];
  const rest = smaller ? Math.floor((ms % size) / smaller[0]) : 0;
  return rest && smaller
    ? `${Math.floor(ms / size)} ${unit} ${rest} ${smaller[1]}`
    : `${Math.floor(ms / size)} ${unit}`;
}

/** When, as seen from now: "just now", "5 min ago", "in 2 h". */
export function ago(instant: string | undefined, nowMs: number): string {
  if (!instant) return "";
  const ms = nowMs - Date.parse(instant);
  if (Math.abs(ms) < 5 * S) return "just now";
  const index = UNITS.findIndex(([size]) => Math.abs(ms) >= size);
  const [size, unit] = UNITS[index]!;
  const amount = `${Math.floor(Math.abs(ms) / size)} ${unit}`;
  return ms < 0 ? `in ${amount}` : `${amount} ago`;
}

/** What a queued run waits for. */
export function waiting(said: WaitingFor | undefined, nowMs: number): string {
  if (!said) return "";
  if (said.needs) return `waits for ${said.needs.join(", ")}`;
  if (said.person) return `waits for a person: ${said.person} asks`;
  if (said.pause) return `paused with ${said.pause === "*" ? "all flows" : said.pause}`;
  if (said.place !== undefined) return `place ${said.place > 100 ? "behind 100" : said.place}`;
  if (said.why === "foreign") return "waits for `flowd resume`";
  if (said.until && said.attempt) return `attempt ${said.attempt} of ${said.of} ${ago(said.until, nowMs)}`;
  if (said.until && said.why === "debounce") return "waits for quiet";
  if (said.until) return `starts ${ago(said.until, nowMs)}`;
  if (said.package) return `waits for its step, which is no longer in ${said.package}`;
  if (said.host)
    return said.host.name
      ? `waits for host ${said.host.name}`
      : `waits for a host${said.host.labels.length ? ` with ${said.host.labels.join(" and ")}` : ""}`;
  if (said.key)
    return `waits for ${said.key.holder ?? "others"} of ${said.key.group}${said.key.asks ? ", which waits for a person" : ""}`;
  return "";
}

/** Why a run is as it is, as one line; "" where there is no more to say than its status. */
export function why(run: Run, nowMs: number): string {
  if (run.processStatus === "queued") return waiting(run.waitingFor, nowMs);
  if (run.processStatus === "running") return run.cancelRequested ? "is being canceled" : progress(run);
  const message = run.result?.message;
  // A daemon of an earlier version has no words of its own for it.
  const parts = [run.why ?? "", typeof message === "string" ? message : "", run.error ?? "", ended(run)];
  return (parts.find((part) => part !== "") ?? "").split("\n", 1)[0]!;
}

function progress(run: Run): string {
  const percent = run.progress?.percent;
  return [percent === undefined ? "" : `${Math.round(percent)} %`, run.progress?.message ?? ""]
    .filter(Boolean)
    .join(" ");
}

function ended(run: Run): string {
  if (run.exitCode) return `exit code ${run.exitCode}`;
  if (run.signal) return `signal ${run.signal}`;
  return run.reason ? run.reason.replaceAll("_", " ") : "";
}

/** An icon of the editor (a codicon) and a colour of its theme. */
export interface Icon {
  id: string;
  color?: string;
}

const ICONS: Record<string, Icon> = {
  queued: { id: "watch" },
  running: { id: "loading~spin", color: "charts.blue" },
  completed: { id: "pass", color: "testing.iconPassed" },
  changed: { id: "pass-filled", color: "testing.iconPassed" },
  skipped: { id: "debug-step-over", color: "testing.iconSkipped" },
  failed: { id: "error", color: "testing.iconFailed" },
  canceled: { id: "circle-slash", color: "testing.iconSkipped" },
  blocked: { id: "question", color: "charts.yellow" },
  needs_intervention: { id: "question", color: "charts.yellow" },
};

export function icon(run: Run): Icon {
  return ICONS[run.effectiveStatus] ?? { id: "circle-outline" };
}

/** A run in a list, behind its name. */
export function summary(run: Run, nowMs: number): string {
  const reason = why(run, nowMs);
  const attempt = run.attemptCount > 1 ? ` · attempt ${run.attemptCount}` : "";
  const status = run.effectiveStatus.replaceAll("_", " ");
  return `${status}${attempt} · ${reason ? `${reason} · ` : ""}${ago(run.startedAt ?? run.createdAt, nowMs)}`;
}

/** A schedule in a list, behind its name. */
export function nextSlot(schedule: Schedule, nowMs: number): string {
  if (schedule.state !== "ready") return `${schedule.state}${schedule.problem ? `: ${schedule.problem}` : ""}`;
  return schedule.next ? `${ago(schedule.next, nowMs)} · ${schedule.cron}` : `never · ${schedule.cron}`;
}

/** The status bar's text: how many runs are under way and ask, in what runs a daemon for. */
export function barText(isConnected: boolean, running: number, asking: number): string {
  if (!isConnected) return "$(debug-disconnect) flowd";
  const parts = [
    running ? `$(loading~spin) ${running} running` : "",
    asking ? `$(question) ${asking} ${asking === 1 ? "asks" : "ask"}` : "",
  ].filter(Boolean);
  return parts.length ? `flowd: ${parts.join(" ")}` : "$(check) flowd";
}
