/** Text of steps and daemons for where the editor makes links of `[text](command:…)`: notifications and prompts. */

/**
 * The same for a reader, with nothing in it that becomes a link: a click on one would run any command of the editor, and
 * what a step asks may quote whoever sent the event.
 */
export function unlinked(text: string): string {
  return text.replace(/\](?=\()/g, "] ");
}
