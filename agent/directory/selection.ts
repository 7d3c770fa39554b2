/**
 * Which part of a share this device keeps in its folder, and in which directions changes go. Records are known and
 * relayed whatever is chosen here: only what lies on the disk depends on it.
 */

import { userError } from '../base/errors.ts';
import type { Json } from '../base/json.ts';
import { choice, field, flag, type Infer, list, object, optionalField, text } from '../base/schema.ts';
import { nameOf } from '../platform/files.ts';
import {
  codePoints,
  type EntryKind,
  IGNORE_LIMITS,
  type IgnorePattern,
  parseIgnoreLines,
  parseIgnoreText,
  parsePattern,
  verdict,
} from './ignore.ts';
import { isWithin, MAX_PATH_BYTES, refusalOf } from './paths.ts';

/**
 * `send`: what others do is not done in the folder. `receive`: what is done in the folder does not become a record, as
 * for a read-only member.
 */
export type Direction = 'both' | 'send' | 'receive';

export interface SelectionRules {
  readonly direction: Direction;
  /** Contents are not fetched by themselves. */
  readonly isShallow: boolean;
  /** Paths of the share: only they and what is below is kept. Empty: everything. */
  readonly only: readonly string[];
  /** Ignore patterns of this device, behind those of the share's ignore file. */
  readonly ignore: readonly string[];
}

export const EVERYTHING: SelectionRules = { direction: 'both', isShallow: false, only: [], ignore: [] };

/** Patterns for all members: an ordinary file of the share, which is kept whatever the rules say. */
export const IGNORE_FILE = '/.skylarkignore';

/** `ignored`: by a pattern. `outside`: not in any of the parts that are kept. */
export type Standing = 'wanted' | 'ignored' | 'outside';

const MAX_SUBTREES = 64;
/** Folders whose standing is remembered. */
const MAX_REMEMBERED = 2_000;

const parts = {
  direction: choice('both', 'send', 'receive'),
  only: list(text({ min: 1, max: MAX_PATH_BYTES }), { max: MAX_SUBTREES }),
  ignore: list(text({ min: 1, max: IGNORE_LIMITS.length }), { max: IGNORE_LIMITS.patterns }),
};

/** As they are stored, and told to programs. */
export const selectionRules = object({
  direction: field('direction', parts.direction),
  isShallow: field('shallow', flag),
  only: field('only', parts.only),
  ignore: field('ignore', parts.ignore),
});

/** A part of the rules, as somebody asks for it. */
export const selectionChange = object({
  direction: optionalField('direction', parts.direction),
  isShallow: optionalField('shallow', flag),
  only: optionalField('only', parts.only),
  ignore: optionalField('ignore', parts.ignore),
});

export type SelectionChange = Infer<typeof selectionChange>;

/** @throws SkylarkError (peer) `schema.mismatch`. */
export function decodeRules(json: Json): SelectionRules {
  return selectionRules.decode(json, 'selection');
}

export function encodeRules(rules: SelectionRules): Json {
  return selectionRules.encode(rules);
}

/** @throws SkylarkError (user) `ignore.*`, `only.*`. */
export function changedRules(rules: SelectionRules, change: SelectionChange): SelectionRules {
  const only = change.only?.map(subtreeOf) ?? rules.only;
  if (only.length > MAX_SUBTREES)
    throw userError('only.too_many', `at most ${MAX_SUBTREES} parts of a share can be chosen`);
  const ignore = change.ignore ?? rules.ignore;
  for (const pattern of ignore) {
    if (parsePattern(pattern) !== undefined && !/[\r\n\0]/.test(pattern)) continue;
    throw userError('ignore.no_pattern', `${JSON.stringify(pattern)} is no ignore pattern`, {
      remedy: 'give a pattern as in a .gitignore file, such as *.tmp or /cache/',
    });
  }
  parseIgnoreLines(ignore);
  const { direction = rules.direction, isShallow = rules.isShallow } = change;
  // Everything is what is kept when nothing is chosen.
  return {
    direction,
    isShallow,
    only: only.includes('/') ? [] : [...new Set(only)],
    ignore: [...new Set(ignore)],
  };
}

/** The path in the share that somebody means by `photos/2024/`. */
function subtreeOf(typed: string): string {
  const path = `/${typed.replace(/^\/+|\/+$/g, '')}`;
  const refusal = refusalOf(path);
  if (refusal === undefined) return path;
  throw userError('only.not_a_path', `${JSON.stringify(typed)} can't be a path in a share`, {
    remedy: 'give a folder as "skylark ls" shows it, such as Photos/2024',
  });
}

export class Selection {
  #rules = EVERYTHING;
  #patterns: readonly IgnorePattern[] = [];
  #ignoreFile = '';
  /** Of folders. */
  readonly #standings = new Map<string, Standing>();

  get rules(): SelectionRules {
    return this.#rules;
  }

  /** Text of the share's ignore file. */
  get ignoreFile(): string {
    return this.#ignoreFile;
  }

  /** Not all that the records tell of is here. */
  get isPartial(): boolean {
    const { direction, isShallow, only } = this.#rules;
    return direction === 'send' || isShallow || only.length > 0 || this.#patterns.length > 0;
  }

  /**
   * @param ignoreFile text of the share's ignore file
   * @throws SkylarkError (user) `ignore.*`; nothing has changed then.
   */
  set(rules: SelectionRules, ignoreFile: string): void {
    const patterns = [...parseIgnoreText(ignoreFile), ...parseIgnoreLines(rules.ignore)];
    this.#rules = rules;
    this.#ignoreFile = ignoreFile;
    this.#patterns = patterns;
    this.#standings.clear();
  }

  isWanted(path: string, kind: EntryKind): boolean {
    return this.standing(path, kind) === 'wanted';
  }

  /** @param path as `refusalOf` lets it pass */
  standing(path: string, kind: EntryKind): Standing {
    if (path === '/') return kind === 'directory' ? 'wanted' : 'ignored';
    if (this.#patterns.length === 0 && this.#rules.only.length === 0) return 'wanted';
    if (path === IGNORE_FILE && kind === 'file') return 'wanted';
    // Of the folders on the way to it, and of itself.
    const ends = endsIn(path);
    const isOwn = (depth: number) => depth === ends.length && kind === 'file';
    let standing: Standing = 'wanted';
    let depth = ends.length;
    for (; depth > 0; depth--) {
      const known = isOwn(depth) ? undefined : this.#standings.get(path.slice(0, ends[depth - 1]));
      if (known === undefined) continue;
      standing = known;
      break;
    }
    if (standing !== 'wanted' || depth === ends.length) return standing;
    const names = this.#patterns.length === 0 ? [] : path.slice(1).split('/').map(codePoints);
    while (standing === 'wanted' && depth < ends.length) {
      const at = path.slice(0, ends[depth]);
      depth += 1;
      standing = this.#ownStanding(at, names, depth, isOwn(depth) ? 'file' : 'directory');
      if (!isOwn(depth)) this.#remember(at, standing);
    }
    return standing;
  }

  #remember(folder: string, standing: Standing): void {
    if (this.#standings.size >= MAX_REMEMBERED) this.#standings.clear();
    this.#standings.set(folder, standing);
  }

  /** Where everything above is wanted. */
  #ownStanding(
    path: string,
    names: readonly (readonly number[])[],
    depth: number,
    kind: EntryKind,
  ): Standing {
    const { only } = this.#rules;
    const isInside =
      only.length === 0 ||
      only.some((part) => isWithin(path, part) || (kind === 'directory' && isWithin(part, path)));
    if (!isInside) return 'outside';
    return verdict(this.#patterns, names, depth, kind) === true ? 'ignored' : 'wanted';
  }
}

/** Where each component of the path ends. */
function endsIn(path: string): number[] {
  const ends: number[] = [];
  for (let at = path.indexOf('/', 1); at > 0; at = path.indexOf('/', at + 1)) ends.push(at);
  return [...ends, path.length];
}

/** For people: why something in the folder is not part of what is kept of the share here. */
export function outsideObstacle(path: string): {
  readonly path: string;
  readonly code: string;
  readonly message: string;
} {
  return {
    path,
    code: 'path.outside',
    message: `${JSON.stringify(nameOf(path))} lies beside the parts of the share that are kept here, so it is not synced`,
  };
}
