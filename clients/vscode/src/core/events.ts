/** Events that a person sends from the editor, and what came of them. */

import { randomBytes } from "node:crypto";
import type { Dispatched, Explained, Flow } from "./wire.ts";

export interface Event {
  id: string;
  type: string;
  payload?: unknown;
  [member: string]: unknown;
}

/** What was written is no event, and why. */
export class NoEvent extends Error {}

/**
 * The event in a JSON text. An object with a `type` is one, and gets an id where it has none; everything else is taken
 * for the payload of an event of `type`.
 *
 * @param type Asked for where the text has none; undefined: nobody has said it yet.
 * @returns undefined where the type is needed and is not known.
 * @throws {NoEvent} The text is not JSON.
 */
export function eventIn(text: string, type?: string): Event | undefined {
  const value = valueIn(text);
  const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
  if (isObject && typeof (value as Record<string, unknown>)["type"] === "string")
    return { id: newId(), ...value } as Event;
  return type === undefined ? undefined : { id: newId(), type, payload: value };
}

/** A JSON value, or NoEvent with where it goes wrong. */
export function valueIn(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new NoEvent(`This is not JSON: ${(error as Error).message}`);
  }
}

/** An answer as a person writes it: JSON where it is JSON, else the text itself; nothing where nothing was written. */
export function answerIn(text: string): unknown {
  if (text.trim() === "") return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** 64 random bits, as for events of the command line: no two of a million are the same, and a list has room for it. */
function newId(): string {
  return `vscode-${randomBytes(8).toString("hex")}`;
}

/** The types of events that start something here, each with the steps that it starts. */
export function eventTypes(flows: readonly Flow[]): Map<string, string[]> {
  const types = new Map<string, string[]>();
  for (const flow of flows) {
    for (const step of flow.steps) {
      if (!step.triggerType || step.triggerType.endsWith("*")) continue;
      types.set(step.triggerType, [...(types.get(step.triggerType) ?? []), `${flow.name}/${step.name}`]);
    }
  }
  return new Map([...types].sort(([one], [other]) => one.localeCompare(other)));
}

/** What a dispatch or a replay came to, as a sentence. */
export function outcome(said: Dispatched): string {
  if (said.warning) return said.warning;
  const runs = said.runIds.length === 1 ? "1 run" : `${said.runIds.length} runs`;
  if (said.status === "duplicate") return `Event ${said.eventId} came before: it has ${runs}. Replay it for new ones.`;
  if (said.runIds.length === 0) return `Event ${said.eventId} is stored, but no step matches it.`;
  return `Event ${said.eventId}: ${runs}.`;
}

/** Why each step matches an event or does not, the nearest first. */
export function explanation(event: Event, said: Explained): string {
  const rank = (matches: boolean, reason: string): number => (matches ? 0 : reason === "type" ? 2 : 1);
  const steps = [...said.steps].sort((one, other) => rank(one.matches, one.reason) - rank(other.matches, other.reason));
  const lines = steps.map((step) => {
    const errors = (step.errors ?? []).map((error) => `\n    ${error.path || "/"}: ${error.message}`).join("");
    return `  ${step.flow}/${step.step}: ${step.matches ? "matches" : step.reason}${step.triggerType ? ` (it waits for ${step.triggerType})` : ""}${errors}`;
  });
  const broken = said.broken.map((one) => `  ${one.name} is broken: ${one.error}`);
  return [`Event ${event.id} of type ${event.type}:`, ...lines, ...broken].join("\n");
}
