/** Where things are in a `flow.toml`, by its lines: good enough to lead somebody there, also while it is being edited. */

/** The line, from 1, on which a step is named; 1 where it is not found. */
export function lineOfStep(text: string, step: string): number {
  return lineOfName(text, /^\s*\[\[\s*steps\s*\]\]/, step);
}

/** Likewise of a schedule. */
export function lineOfSchedule(text: string, schedule: string): number {
  return lineOfName(text, /^\s*\[\[\s*schedules\s*\]\]/, schedule);
}

function lineOfName(text: string, header: RegExp, wanted: string): number {
  let isInside = false;
  for (const [index, line] of text.split("\n").entries()) {
    if (/^\s*\[/.test(line)) isInside = header.test(line);
    const named = isInside && /^\s*name\s*=\s*(?:"((?:[^"\\]|\\.)*)"|'([^']*)')/.exec(line);
    if (named && (named[1] ?? named[2]) === wanted) return index + 1;
  }
  return 1;
}
