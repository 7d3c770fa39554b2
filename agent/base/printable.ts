/**
 * Text from peers, devices, file names and configuration, made fit for a terminal, a log or a page: what could move the
 * cursor, end the line, turn the reading direction or hide itself is shown as an escape instead. Runs in a browser.
 */

/**
 * C0, DEL, C1; direction marks, embeddings, overrides and isolates; invisible and line-separating characters. The
 * zero-width (non-)joiners stay: emoji and several scripts are spelled with them.
 */
const UNFIT = /[\p{Cc}\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\\]/gu;

const SHORT: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t', '\\': '\\\\' };

/** Default for the longest text shown, in UTF-16 code units. */
const LONGEST = 512;

/**
 * One line without surprises: backslash escapes (`\n`, `\u{202e}`) for what is unfit, and for backslashes, so that the
 * result is unambiguous. What is longer than `longest` UTF-16 code units is cut, and says how much is missing.
 */
export function printable(text: string, longest = LONGEST): string {
  const whole = text.length <= longest;
  const shown = (whole ? text : text.slice(0, longest)).toWellFormed().replace(UNFIT, escaped);
  return whole ? shown : `${shown}...(${text.length - longest} more)`;
}

function escaped(character: string): string {
  return SHORT[character] ?? `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`;
}
