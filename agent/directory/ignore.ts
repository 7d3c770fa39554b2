/**
 * Ignore patterns, as people know them from gitignore(5): one a line; `#` begins a comment, `!` takes back what an earlier
 * one ignored, a slash at the end means folders only, a slash anywhere else ties the pattern to the top of the share;
 * `*`, `?` and `[...]` stand for anything but a slash, a component `**` for any number of folders. What lies in an ignored
 * folder is ignored, whatever later patterns say. Upper and lower case differ.
 *
 * Matching takes time in proportion to the lengths of pattern and path: nothing is turned into a regular expression, so
 * that no pattern, be it a peer's, can make it take longer.
 */

import { userError } from '../base/errors.ts';

export type EntryKind = 'file' | 'directory';

export const IGNORE_LIMITS = {
  /** Patterns from one source. */
  patterns: 1_000,
  /** UTF-16 code units in one pattern. */
  length: 1_024,
  /** UTF-16 code units in all patterns of one source. */
  total: 65_536,
} as const;

export interface IgnorePattern {
  readonly isNegated: boolean;
  readonly onlyFolders: boolean;
  /** For the last component alone; otherwise for the whole path. */
  readonly isFloating: boolean;
  readonly components: readonly Component[];
}

/** `many`: any number of components, also none. */
type Component = 'many' | readonly Token[];
/** A code point, or what stands for one; `star`: any number of any. */
type Token = number | 'star' | 'any' | 'never' | CharacterClass;

interface CharacterClass {
  readonly isNegated: boolean;
  /** First and last code point of each. */
  readonly ranges: readonly (readonly [number, number])[];
}

/**
 * @param text of an ignore file
 * @throws SkylarkError (user) `ignore.too_many`, `ignore.too_long`.
 */
export function parseIgnoreText(text: string): readonly IgnorePattern[] {
  if (text.length > IGNORE_LIMITS.total) throw tooLong('all patterns together', IGNORE_LIMITS.total);
  return parseIgnoreLines(text.replace(/^\u{feff}/u, '').split(/\r?\n/));
}

/** As above, for lines. What is empty or a comment counts as no pattern. */
export function parseIgnoreLines(lines: readonly string[]): readonly IgnorePattern[] {
  let total = 0;
  const patterns: IgnorePattern[] = [];
  for (const line of lines) {
    total += line.length;
    if (line.length > IGNORE_LIMITS.length) throw tooLong('a pattern', IGNORE_LIMITS.length);
    if (total > IGNORE_LIMITS.total) throw tooLong('all patterns together', IGNORE_LIMITS.total);
    const pattern = parsePattern(line);
    if (pattern !== undefined) patterns.push(pattern);
  }
  if (patterns.length > IGNORE_LIMITS.patterns) {
    throw userError('ignore.too_many', `there are more than ${IGNORE_LIMITS.patterns} ignore patterns`, {
      remedy: 'say it with fewer patterns',
    });
  }
  return patterns;
}

/** Undefined for what is no pattern: nothing, a comment. */
export function parsePattern(line: string): IgnorePattern | undefined {
  if (line.startsWith('#')) return undefined;
  const isNegated = line.startsWith('!');
  let text = withoutTrailingSpaces(isNegated ? line.slice(1) : line);
  const onlyFolders = text.endsWith('/');
  if (onlyFolders) text = text.slice(0, -1);
  if (text === '') return undefined;
  const isFloating = !text.includes('/');
  if (text.startsWith('/')) text = text.slice(1);
  if (isFloating) return { isNegated, onlyFolders, isFloating, components: [parseComponent(text)] };
  const names = splitPattern(text);
  const components = names.flatMap((name, i): Component[] => {
    // git takes more than two for two.
    if (name.length < 2 || name.replaceAll('*', '') !== '') return [parseComponent(name)];
    // At the end it stands for what is inside, not for the folder itself.
    return i === names.length - 1 ? [['star'], 'many'] : ['many'];
  });
  return { isNegated, onlyFolders, isFloating, components };
}

/**
 * At its slashes, but for those between brackets, which stand for no character of a name. Behind a bracket that never
 * closes nothing counts: the pattern fits nothing.
 */
function splitPattern(text: string): string[] {
  const characters = Array.from(text);
  const names: string[] = [];
  let start = 0;
  for (let i = 0; i < characters.length; i++) {
    if (characters[i] === '[') i = parseClass(characters, i + 1)?.end ?? characters.length;
    else if (characters[i] === '\\' && characters[i + 1] !== '/') i += 1;
    if (characters[i] !== '/') continue;
    names.push(characters.slice(start, i).join(''));
    start = i + 1;
  }
  return [...names, characters.slice(start).join('')];
}

/** What the last pattern that fits says: true: ignore it; undefined: none fits. Folders above are not looked at. */
export function verdict(
  patterns: readonly IgnorePattern[],
  path: readonly (readonly number[])[],
  kind: EntryKind,
): boolean | undefined {
  for (let i = patterns.length - 1; i >= 0; i--) {
    const pattern = patterns[i];
    if (pattern === undefined || (pattern.onlyFolders && kind !== 'directory')) continue;
    if (matchesPath(pattern.components, pattern.isFloating ? path.slice(-1) : path))
      return !pattern.isNegated;
  }
  return undefined;
}

export function codePoints(name: string): number[] {
  return Array.from(name, (character) => character.codePointAt(0) ?? 0);
}

/** Only the last of several `many` needs to be tried again: what an earlier one could give, it can give too. */
function matchesPath(pattern: readonly Component[], path: readonly (readonly number[])[]): boolean {
  let [at, next, retryPattern, retryPath] = [0, 0, -1, 0];
  while (at < path.length) {
    const component = pattern[next];
    if (component === 'many') {
      next += 1;
      [retryPattern, retryPath] = [next, at];
    } else if (component !== undefined && matchesName(component, path[at] ?? [])) {
      at += 1;
      next += 1;
    } else if (retryPattern >= 0) {
      retryPath += 1;
      [at, next] = [retryPath, retryPattern];
    } else return false;
  }
  while (pattern[next] === 'many') next += 1;
  return next === pattern.length;
}

/** As above, with characters and `star`. */
function matchesName(pattern: readonly Token[], name: readonly number[]): boolean {
  let [at, next, retryPattern, retryName] = [0, 0, -1, 0];
  while (at < name.length) {
    const token = pattern[next];
    if (token === 'star') {
      next += 1;
      if (next === pattern.length) return true;
      [retryPattern, retryName] = [next, at];
    } else if (token !== undefined && matchesCharacter(token, name[at] ?? 0)) {
      at += 1;
      next += 1;
    } else if (retryPattern >= 0) {
      retryName += 1;
      [at, next] = [retryName, retryPattern];
    } else return false;
  }
  while (pattern[next] === 'star') next += 1;
  return next === pattern.length;
}

function matchesCharacter(token: Token, character: number): boolean {
  if (typeof token === 'number') return token === character;
  if (token === 'any') return true;
  if (token === 'star' || token === 'never') return false;
  return token.ranges.some(([first, last]) => first <= character && character <= last) !== token.isNegated;
}

function parseComponent(text: string): readonly Token[] {
  const characters = Array.from(text);
  const tokens: Token[] = [];
  for (let i = 0; i < characters.length; i++) {
    const character = characters[i] ?? '';
    if (character === '*') {
      if (tokens.at(-1) !== 'star') tokens.push('star');
    } else if (character === '?') tokens.push('any');
    else if (character === '\\') {
      i += 1;
      const escaped = characters[i];
      tokens.push(escaped === undefined ? 'never' : pointOf(escaped));
    } else if (character === '[') {
      const parsed = parseClass(characters, i + 1);
      tokens.push(parsed?.token ?? 'never');
      i = parsed?.end ?? characters.length;
    } else tokens.push(pointOf(character));
  }
  // A name that is empty is no name.
  return text === '' ? ['never'] : tokens;
}

const NAMED_CLASSES: Readonly<Record<string, readonly string[]>> = {
  alpha: ['az', 'AZ'],
  digit: ['09'],
  alnum: ['az', 'AZ', '09'],
  upper: ['AZ'],
  lower: ['az'],
  space: ['\t\r', '  '],
  blank: ['\t\t', '  '],
  punct: ['!/', ':@', '[`', '{~'],
  xdigit: ['09', 'af', 'AF'],
  cntrl: ['\0\x1f', '\x7f\x7f'],
  print: [' ~'],
  graph: ['!~'],
};

/** `start` is behind the bracket; the end is that of the closing one. Undefined without one. */
function parseClass(
  characters: readonly string[],
  start: number,
): { readonly token: Token; readonly end: number } | undefined {
  let i = start;
  const isNegated = characters[i] === '!' || characters[i] === '^';
  if (isNegated) i += 1;
  const ranges: (readonly [number, number])[] = [];
  for (let isFirst = true; ; isFirst = false) {
    let character = characters[i];
    if (character === undefined) return undefined;
    if (character === ']' && !isFirst) return { token: { isNegated, ranges }, end: i };
    const named = character === '[' && characters[i + 1] === ':' ? namedClass(characters, i + 2) : undefined;
    if (named !== undefined) {
      const known = Object.hasOwn(NAMED_CLASSES, named.name) ? NAMED_CLASSES[named.name] : undefined;
      if (known === undefined) return undefined;
      for (const range of known) ranges.push([range.charCodeAt(0), range.charCodeAt(1)]);
      i = named.end + 1;
      continue;
    }
    if (character === '\\') {
      i += 1;
      character = characters[i];
      if (character === undefined) return undefined;
    }
    let last = character;
    const isRange = characters[i + 1] === '-' && characters[i + 2] !== undefined && characters[i + 2] !== ']';
    if (isRange) {
      i += 2;
      if (characters[i] === '\\') i += 1;
      const given = characters[i];
      if (given === undefined) return undefined;
      last = given;
    }
    // The first is in it also if the last comes before it.
    ranges.push([pointOf(character), Math.max(pointOf(character), pointOf(last))]);
    i += 1;
  }
}

function namedClass(
  characters: readonly string[],
  start: number,
): { readonly name: string; readonly end: number } | undefined {
  for (let i = start; i < characters.length && i - start <= 8; i++) {
    if (characters[i] !== ':' || characters[i + 1] !== ']') continue;
    return { name: characters.slice(start, i).join(''), end: i + 1 };
  }
  return undefined;
}

function pointOf(character: string): number {
  return character.codePointAt(0) ?? 0;
}

function withoutTrailingSpaces(text: string): string {
  let end = text.length;
  while (text[end - 1] === ' ') end -= 1;
  if (end === text.length) return text;
  let backslashes = 0;
  while (text[end - 1 - backslashes] === '\\') backslashes += 1;
  return text.slice(0, backslashes % 2 === 1 ? end + 1 : end);
}

function tooLong(what: string, limit: number) {
  return userError('ignore.too_long', `${what} must not be longer than ${limit} characters`, {
    remedy: 'say it with shorter patterns',
  });
}
