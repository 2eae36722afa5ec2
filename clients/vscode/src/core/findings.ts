/** What `flowd validate --json` finds, as marks in files. */

import { lineOfStep } from "./manifest.ts";
import type { BrokenPackage, Flow } from "./wire.ts";

export interface Finding {
  path: string;
  /** From 1; null: the file as a whole. */
  line: number | null;
  /** From 1, in code points; null: the whole line. */
  column: number | null;
  /** The first column behind it. */
  endColumn: number | null;
  severity: "error" | "warning";
  code: string;
  message: string;
  remedy: string | null;
  /** The word that was probably meant in place of what is marked. */
  suggestion: string | null;
}

/** A mark as the editor counts: from 0, in UTF-16 code units, the end exclusive. */
export interface Mark {
  line: number;
  begin: number;
  end: number;
  finding: Finding;
}

interface Validated {
  findings?: Finding[];
  flows?: Flow[];
  broken?: BrokenPackage[];
}

/**
 * The findings in what the command printed. A flowd that does not list them tells of broken packages by line and of
 * doubts as sentences; those are found here, the latter at the step that they name.
 *
 * @param read The text of a file, "" where there is none.
 * @throws {Error} It is not what the command prints.
 */
export function findingsIn(printed: string, read: (path: string) => string): Finding[] {
  const said = JSON.parse(printed) as Validated | null;
  if (said === null || typeof said !== "object") throw new Error("flowd validate printed no JSON object");
  if (Array.isArray(said.findings)) return said.findings;
  const broken = (said.broken ?? []).map((one): Finding => ({
    ...anywhere,
    path: one.file,
    line: one.line ?? null,
    severity: "error",
    code: "broken",
    message: one.error,
    remedy: one.remedy,
  }));
  const doubts = (said.flows ?? []).flatMap((flow) =>
    (flow.warnings ?? []).map((message): Finding => {
      const path = `${flow.root}/flow.toml`;
      const [, line, text] = /^(?:line (\d+): )?([^]*)$/.exec(message)!;
      const step = /^step "([^"]+)"/.exec(text!)?.[1];
      const at = line ? Number(line) : step ? lineOfStep(read(path), step) : 1;
      return { ...anywhere, path, line: at, severity: "warning", code: "doubt", message: text! };
    }),
  );
  return [...broken, ...doubts];
}

const anywhere = { column: null, endColumn: null, remedy: null, suggestion: null };

/** The findings of each file as marks in its text; a file that has none is not in the map. */
export function marks(findings: readonly Finding[], read: (path: string) => string): Map<string, Mark[]> {
  const byFile = new Map<string, Mark[]>();
  for (const finding of findings) {
    const known = byFile.get(finding.path) ?? [];
    if (known.length === 0) byFile.set(finding.path, known);
    known.push(mark(finding, read(finding.path).split(/\r?\n/)));
  }
  return byFile;
}

function mark(finding: Finding, lines: string[]): Mark {
  const line = Math.min(Math.max((finding.line ?? 1) - 1, 0), Math.max(lines.length - 1, 0));
  const text = lines[line] ?? "";
  if (finding.column === null) {
    const trimmed = text.trimEnd();
    return { line, begin: trimmed.length - trimmed.trimStart().length, end: trimmed.length, finding };
  }
  const begin = units(text, finding.column);
  return { line, begin, end: Math.max(units(text, finding.endColumn ?? finding.column + 1), begin), finding };
}

/** How many UTF-16 code units come before a column that counts code points from 1. */
function units(text: string, column: number): number {
  return [...text].slice(0, column - 1).join("").length;
}

/** A finding as one text: what is wrong, and what to do. */
export function sentence(finding: Finding): string {
  return finding.remedy ? `${finding.message}\n${finding.remedy}` : finding.message;
}

/**
 * What to put in place of the marked text; undefined where nobody knows. Quotes around a word stay, but for a number or a
 * truth value that was written as text.
 */
export function replacement(finding: Finding, marked: string): string | undefined {
  if (finding.suggestion === null || finding.suggestion === undefined || finding.column === null) return undefined;
  if (finding.code === "wrong-type") return finding.suggestion;
  const quote = /^(["']).*\1$/.exec(marked)?.[1];
  return quote && !finding.suggestion.startsWith(quote) ? `${quote}${finding.suggestion}${quote}` : finding.suggestion;
}
