/** Finds where in a TOML text a key stands: the parser tells values, not places. */

import { parse } from 'smol-toml';

/**
 * The line, counted from 1, on which the value at the path begins; of the longest part of the path that is in the text.
 * Asked only for messages: it parses the text once for every line.
 */
export function lineOfPath(text: string, path: readonly (string | number)[]): number | undefined {
  const lines = text.split('\n');
  let found: number | undefined;
  let depthFound = 0;
  let parsedUpTo = 0;
  for (let end = 1; end <= lines.length; end++) {
    const document = parsed(lines.slice(0, end).join('\n'));
    if (document === undefined) continue;
    const depth = depthOf(document, path);
    if (depth > depthFound) {
      depthFound = depth;
      // A value over several lines makes the text whole only at its end: it began behind what was whole before.
      found = 1 + firstLineWithContent(lines, parsedUpTo);
    }
    parsedUpTo = end;
  }
  return found;
}

function firstLineWithContent(lines: readonly string[], from: number): number {
  let index = from;
  while (index < lines.length - 1 && /^\s*(#|$)/.test(lines[index] ?? '')) index += 1;
  return index;
}

function parsed(text: string): unknown {
  try {
    return parse(text, { maxDepth: 16 });
  } catch {
    return undefined;
  }
}

/** How many steps of the path lead somewhere. */
function depthOf(document: unknown, path: readonly (string | number)[]): number {
  let value = document;
  for (const [depth, step] of path.entries()) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, step)) return depth;
    value = (value as Record<string | number, unknown>)[step];
  }
  return path.length;
}
