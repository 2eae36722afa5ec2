/** Reads files that are small where they are what they should be: a folder can hold any of any size and kind. */

import * as fs from "node:fs";

const MAX_BYTES = 1 << 20;

/**
 * The text of a regular file; "" where there is none that can be read at once, or it is larger than 1 MiB. Opening a
 * named pipe as one does a file would wait for a writer, and the whole editor's extensions with it.
 */
export function textOf(file: string): string {
  let opened: number | undefined;
  try {
    opened = fs.openSync(file, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK);
    const status = fs.fstatSync(opened);
    return status.isFile() && status.size <= MAX_BYTES ? fs.readFileSync(opened, "utf8") : "";
  } catch {
    return "";
  } finally {
    if (opened !== undefined) fs.closeSync(opened);
  }
}
