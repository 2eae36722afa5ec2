// Stands in for the helpers of the packages that flows were written for, where those are not installed.

import fs from "node:fs";

const CONTEXT = Symbol.for("flowd.context");

export const defineBunFlow = (flow) => flow;
export const defineNodeFlow = (flow) => flow;

// The context from a text, by default the one on stdin.
export async function readFlowContext(text) {
  return JSON.parse(text ?? globalThis[CONTEXT] ?? fs.readFileSync(0, "utf8"));
}
