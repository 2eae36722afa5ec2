/** What steps wrote, made fit for a terminal that it must not take over: colours stay, all other sequences go. */

const ESC = "\u001b";
// A control sequence, a string (title, link, …) up to its end, or another escape of two characters; as ECMA-48 has them.
const SEQUENCE = /\u001b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\u0007\u001b]*(?:\u0007|\u001b\\)|[ -/]*[0-OQ-WYZ\\`-~])/g;
const COLOUR = /^\u001b\[[0-9;:]*m$/;
const LONGEST_SEQUENCE = 4096;

export class TerminalText {
  private kept = "";

  /** The next piece as the terminal is to have it. The beginning of a sequence is kept until its end has come. */
  write(text: string): string {
    const all = this.kept + text;
    this.kept = "";
    const clean = all.replace(SEQUENCE, (sequence) => (COLOUR.test(sequence) ? sequence : ""));
    const open = unfinished(clean);
    if (clean.length - open < LONGEST_SEQUENCE) this.kept = clean.slice(open);
    return lines(this.kept ? clean.slice(0, open) : clean);
  }

  /** What is left, at the end. */
  end(): string {
    const left = lines(this.kept);
    this.kept = "";
    return left;
  }
}

/** Where an escape begins that has not ended yet; the length where there is none. */
function unfinished(text: string): number {
  for (let at = text.indexOf(ESC); at >= 0; at = text.indexOf(ESC, at + 1)) {
    if (!/^\u001b\[[0-9;:]*m/.test(text.slice(at, at + LONGEST_SEQUENCE))) return at;
  }
  return text.length;
}

/** Ends of lines as a terminal wants them, and control characters as pictures of themselves. */
function lines(text: string): string {
  return text
    .replace(/\r?\n/g, "\r\n")
    .replace(/\u001b(?!\[[0-9;:]*m)/g, "\u241b")
    .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001a\u001c-\u001f]/g, (letter) =>
      String.fromCharCode(0x2400 + letter.charCodeAt(0)),
    )
    .replace(/[\u007f-\u009f]/g, "\u2421");
}
