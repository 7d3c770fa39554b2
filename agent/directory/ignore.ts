/**
 * Ignore patterns, as people know them from gitignore(5): one a line; `#` begins a comment, `!` takes back what an earlier
 * one ignored, a slash at the end means folders only, a slash anywhere else ties the pattern to the top of the share;
 * `*`, `?` and `[...]` stand for anything but a slash, a component `**` for any number of folders. What lies in an ignored
 * folder is ignored, whatever later patterns say. Upper and lower case differ.
 *
 * No pattern, be it a peer's, can make matching take long: nothing is turned into a regular expression. What stands
 * before the first gap (`*`, or `**` between slashes) and behind the last is compared once. Only what stands between two
 * gaps is looked for, and how much of that there may be is limited.
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
  /** Of all patterns of one source with a slash. */
  components: 4_096,
  /** In all patterns of one source: what stands for a character between two `*`, and components between two `**`. */
  between: { characters: 2_048, components: 256 },
} as const;

export interface IgnorePattern {
  readonly isNegated: boolean;
  readonly onlyFolders: boolean;
  /** For the last component alone; otherwise for the whole path. */
  readonly path: Gapped<Name> | undefined;
  readonly name: Name;
}

/** A row of things, with gaps for any number of any others between its parts; a single part: without a gap. */
interface Gapped<T> {
  readonly first: readonly T[];
  /** Each to be found behind the one before. */
  readonly between: readonly (readonly T[])[];
  /** Undefined without a gap. */
  readonly last: readonly T[] | undefined;
}

/** Of a component of a path: what stands for each character, as code points. */
type Name = Gapped<Token>;
type Token = number | 'any' | 'never' | CharacterClass;

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
  checkCost(patterns);
  return patterns;
}

function checkCost(patterns: readonly IgnorePattern[]): void {
  let [characters, components, all] = [0, 0, 0];
  for (const { name, path } of patterns) {
    const names = path === undefined ? [name] : allOf(path);
    if (path !== undefined) all += names.length;
    components += lengthBetween(path);
    for (const each of names) characters += lengthBetween(each);
  }
  const { between } = IGNORE_LIMITS;
  if (all > IGNORE_LIMITS.components)
    throw userError('ignore.too_costly', 'the ignore patterns have too many slashes', {
      remedy: 'say it with fewer patterns',
    });
  if (characters > between.characters || components > between.components)
    throw userError('ignore.too_costly', 'too much stands between two asterisks in the ignore patterns', {
      remedy: 'say it with fewer patterns that have several asterisks',
    });
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
  if (isFloating) return { isNegated, onlyFolders, path: undefined, name: parseComponent(text) };
  const names = splitPattern(text);
  const components = names.flatMap((name, i): (Name | Gap)[] => {
    // git takes more than two for two.
    if (name.length < 2 || name.replaceAll('*', '') !== '') return [parseComponent(name)];
    // At the end it stands for what is inside, not for the folder itself.
    return i === names.length - 1 ? [ANYTHING, 'gap'] : ['gap'];
  });
  const path = gapped(components);
  const [name = ANYTHING, ...others] = path.last ?? [];
  // At any depth: what lies above is judged by itself.
  const isAnywhere = path.first.length + path.between.length + others.length === 0 && path.last?.length === 1;
  return { isNegated, onlyFolders, path: isAnywhere ? undefined : path, name };
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

/**
 * What the last pattern that fits says: true: ignore it; undefined: none fits. Folders above are not looked at.
 * @param path its components are the first `depth` of these
 */
export function verdict(
  patterns: readonly IgnorePattern[],
  path: readonly (readonly number[])[],
  depth: number,
  kind: EntryKind,
): boolean | undefined {
  const own = path[depth - 1] ?? [];
  for (let i = patterns.length - 1; i >= 0; i--) {
    const pattern = patterns[i];
    if (pattern === undefined || (pattern.onlyFolders && kind !== 'directory')) continue;
    const fits =
      pattern.path === undefined
        ? matchesName(pattern.name, own)
        : matches(pattern.path, path, depth, componentsAt);
    if (fits) return !pattern.isNegated;
  }
  return undefined;
}

export function codePoints(name: string): number[] {
  return Array.from(name, (character) => character.codePointAt(0) ?? 0);
}

function matchesName(pattern: Name, name: readonly number[]): boolean {
  return matches(pattern, name, name.length, charactersAt);
}

/** Whether the part stands there. As functions of their own, and with loops: this is where the time goes. */
type At<T, I> = (part: readonly T[], items: readonly I[], at: number) => boolean;

function charactersAt(part: readonly Token[], name: readonly number[], at: number): boolean {
  for (let i = 0; i < part.length; i++) {
    const token = part[i]!;
    const character = name[at + i]!;
    if (typeof token === 'number' ? token !== character : !matchesCharacter(token, character)) return false;
  }
  return true;
}

function componentsAt(part: readonly Name[], path: readonly (readonly number[])[], at: number): boolean {
  for (let i = 0; i < part.length; i++) if (!matchesName(part[i]!, path[at + i]!)) return false;
  return true;
}

/** Whether the first `length` of the items fit. What lies between gaps is taken as early as it fits: later is no better. */
function matches<T, I>(
  { first, between, last }: Gapped<T>,
  items: readonly I[],
  length: number,
  isAt: At<T, I>,
): boolean {
  if (last === undefined) return first.length === length && isAt(first, items, 0);
  const end = length - last.length;
  if (first.length > end || !isAt(first, items, 0) || !isAt(last, items, end)) return false;
  let at = first.length;
  for (const part of between) {
    while (at + part.length <= end && !isAt(part, items, at)) at += 1;
    at += part.length;
    if (at > end) return false;
  }
  return true;
}

type Gap = 'gap';

function gapped<T>(items: readonly (T | Gap)[]): Gapped<T> {
  const parts: T[][] = [[]];
  for (const item of items) {
    if (item === 'gap') parts.push([]);
    else parts.at(-1)?.push(item as T);
  }
  const [first = [], ...others] = parts;
  const last = others.pop();
  return { first, between: others.filter(({ length }) => length > 0), last };
}

function allOf<T>({ first, between, last = [] }: Gapped<T>): T[] {
  return [...first, ...between.flat(), ...last];
}

function lengthBetween(pattern: Gapped<unknown> | undefined): number {
  return pattern?.between.reduce((sum, { length }) => sum + length, 0) ?? 0;
}

function matchesCharacter(token: Exclude<Token, number>, character: number): boolean {
  if (token === 'any') return true;
  if (token === 'never') return false;
  for (const [first, last] of token.ranges)
    if (first <= character && character <= last) return !token.isNegated;
  return token.isNegated;
}

const ANYTHING: Name = { first: [], between: [], last: [] };

function parseComponent(text: string): Name {
  const characters = Array.from(text);
  const tokens: (Token | Gap)[] = [];
  for (let i = 0; i < characters.length; i++) {
    const character = characters[i] ?? '';
    if (character === '*') tokens.push('gap');
    else if (character === '?') tokens.push('any');
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
  return gapped(text === '' ? ['never'] : tokens);
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
