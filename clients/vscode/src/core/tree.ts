/** The three lists beside the editor, as plain values: what is shown, and what a click on it is about. */

import type { BrokenPackage, Flow, Question, Run, Schedule, Step } from "./wire.ts";
import { isFinal } from "./wire.ts";
import { ago, duration, icon, nextSlot, summary, why } from "./words.ts";
import type { Icon } from "./words.ts";
import type { Workspace } from "./workspace.ts";

export interface Node {
  /** The same for the same thing as long as it is shown: the editor keeps what is open and selected by it. */
  id: string;
  label: string;
  description?: string;
  /** Markdown. */
  tooltip?: string;
  icon?: Icon;
  /** Which commands its menu has. */
  context: string;
  children?: Node[];
  isOpen?: boolean;
  workspace: Workspace;
  run?: Run;
  flow?: Flow;
  step?: Step;
  broken?: BrokenPackage;
  schedule?: Schedule;
}

export type ListName = "flows" | "runs" | "attention";

/** A list. With several workspaces each has a branch of its own; one where no daemon runs says so there. */
export function tree(workspaces: readonly Workspace[], list: ListName, nowMs: number): Node[] {
  const rows = { flows: flowNodes, runs: runNodes, attention: questionNodes }[list];
  if (workspaces.length === 1) return rows(workspaces[0]!, nowMs);
  return workspaces.flatMap((workspace) => {
    const children = rows(workspace, nowMs);
    const isAway = workspace.away !== undefined;
    if (list === "attention" && children.length === 0) return [];
    const node: Node = {
      id: workspace.folder,
      label: workspace.name,
      context: isAway ? "workspace-away" : "workspace",
      icon: { id: "root-folder" },
      children,
      isOpen: true,
      workspace,
    };
    return [isAway ? { ...node, description: workspace.away! } : node];
  });
}

function flowNodes(workspace: Workspace, nowMs: number): Node[] {
  const broken = workspace.broken.map((one) => brokenNode(workspace, one));
  return [...broken, ...workspace.flows.map((flow) => flowNode(workspace, flow, nowMs))];
}

function brokenNode(workspace: Workspace, broken: BrokenPackage): Node {
  return {
    id: `${workspace.folder}|broken|${broken.root}`,
    label: broken.name,
    description: `${broken.stale ? "broken, its last good state goes on" : "broken"}: ${broken.error}`,
    tooltip: code(`${broken.error}\n${broken.remedy}`),
    icon: { id: "error", color: "testing.iconFailed" },
    context: "broken",
    workspace,
    broken,
  };
}

function flowNode(workspace: Workspace, flow: Flow, nowMs: number): Node {
  const id = `${workspace.folder}|flow|${flow.name}`;
  const schedules = workspace.schedules.filter((one) => one.flow === flow.name);
  const next = schedules.flatMap((one) => (one.next ? [one.next] : [])).sort()[0];
  return {
    id,
    label: flow.name,
    description: [
      flow.state === "stale" ? "stale" : "",
      stateOf(workspace, flow),
      next ? `next ${ago(next, nowMs)}` : "",
    ]
      .filter(Boolean)
      .join(" · "),
    tooltip: code([flow.description ?? "", flow.root, ...(flow.warnings ?? [])].filter(Boolean).join("\n")),
    icon:
      flow.warnings?.length || flow.state === "stale" ? { id: "warning", color: "charts.yellow" } : { id: "package" },
    context: "flow",
    children: [
      ...flow.steps.map((step) => stepNode(workspace, id, flow, step)),
      ...schedules.map((schedule) => scheduleNode(workspace, id, flow, schedule, nowMs)),
    ],
    workspace,
    flow,
  };
}

/** What a flow is doing, or how its run ended that changed last. */
function stateOf(workspace: Workspace, flow: Flow): string {
  if (workspace.questions.some(({ run }) => run.flowName === flow.name)) return "asks";
  const runs = workspace.runs.filter((run) => run.flowName === flow.name);
  if (runs.some((run) => run.processStatus === "running")) return "running";
  const [last] = runs.sort((one, other) => other.updatedAt.localeCompare(one.updatedAt));
  return last?.effectiveStatus.replaceAll("_", " ") ?? "";
}

function stepNode(workspace: Workspace, above: string, flow: Flow, step: Step): Node {
  const last = workspace.runs.find((run) => run.flowName === flow.name && run.stepName === step.name);
  const starts = step.needs?.length
    ? `after ${step.needs.join(", ")}`
    : step.triggerType
      ? `on ${step.triggerType}`
      : "nothing starts it";
  return {
    id: `${above}|step|${step.name}`,
    label: step.name,
    description: starts,
    tooltip: code(`${step.runner} ${step.script}${step.triggerType ? `\ntrigger: ${step.triggerType}` : ""}`),
    icon: last ? icon(last) : { id: "circle-outline" },
    context: step.triggerType && !step.triggerType.endsWith("*") ? "step-triggered" : "step",
    workspace,
    flow,
    step,
  };
}

function scheduleNode(workspace: Workspace, above: string, flow: Flow, schedule: Schedule, nowMs: number): Node {
  return {
    id: `${above}|schedule|${schedule.name}`,
    label: schedule.name,
    description: nextSlot(schedule, nowMs),
    tooltip: code(
      `${schedule.cron} (${schedule.timezone})\n${schedule.type}${schedule.next ? `\nnext: ${schedule.next}` : ""}`,
    ),
    icon: { id: "calendar" },
    context: "schedule",
    workspace,
    flow,
    schedule,
  };
}

function runNodes(workspace: Workspace, nowMs: number): Node[] {
  return workspace.runs.map((run) => ({
    id: `${workspace.folder}|run|${run.id}`,
    label: `${run.flowName}/${run.stepName}`,
    description: summary(run, nowMs),
    tooltip: runTooltip(run, nowMs),
    icon: icon(run),
    context: `run-${runContext(run)}`,
    workspace,
    run,
  }));
}

/** What can be done with a run: its menu goes by it. */
function runContext(run: Run): "active" | "asks" | "bad" | "good" {
  if (!isFinal(run)) return "active";
  if (run.needsAttention) return "asks";
  return ["failed", "canceled", "blocked", "needs_intervention"].includes(run.effectiveStatus) ? "bad" : "good";
}

function runTooltip(run: Run, nowMs: number): string {
  const lines = [
    `${run.id}: ${run.effectiveStatus}`,
    why(run, nowMs),
    `event ${run.eventId}`,
    `attempt ${run.attemptCount}`,
    run.startedAt ? `started ${run.startedAt}` : `made ${run.createdAt}`,
    run.durationMs === undefined ? "" : `took ${duration(run.durationMs)}`,
  ];
  return code(lines.filter(Boolean).join("\n"));
}

function questionNodes(workspace: Workspace, nowMs: number): Node[] {
  return workspace.questions.map((question) => questionNode(workspace, question, nowMs));
}

function questionNode(workspace: Workspace, question: Question, nowMs: number): Node {
  const { run } = question;
  const behind = question.waiting
    ? ` · ${question.waiting === 1 ? "1 step waits" : `${question.waiting} steps wait`}`
    : "";
  return {
    id: `${workspace.folder}|question|${run.id}`,
    label: question.message ?? "It gives no message; see its output.",
    description: `${run.flowName}/${run.stepName} · ${ago(question.since, nowMs)}${behind}`,
    tooltip: runTooltip(run, nowMs),
    icon: { id: "question", color: "charts.yellow" },
    context: "question",
    workspace,
    run,
  };
}

/** Text as a block of code in Markdown, which nothing in it can end: it comes from steps and packages. */
function code(text: string): string {
  const longest = Math.max(2, ...[...text.matchAll(/`+/g)].map((run) => run[0].length));
  const fence = "`".repeat(longest + 1);
  return `${fence}text\n${text}\n${fence}`;
}
