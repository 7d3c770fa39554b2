/** Which share is meant: people name it by its path, its name or its ID. */

import { normalize } from 'node:path';
import { userError } from '../base/errors.ts';
import { nearestName } from '../base/nearest.ts';
import { printable } from '../base/printable.ts';

export interface NamedShare {
  readonly id: string;
  readonly name: string;
  /** Absolute. */
  readonly path: string;
}

/**
 * An absolute path names the share whose folder it is; anything else is a name, or else an ID.
 * @throws SkylarkError (user) `share.unknown`, `share.ambiguous`.
 */
export function findShare<T extends NamedShare>(shares: Iterable<T>, named: string): T {
  const all = [...shares];
  const plain = withoutSlash(named);
  const matches = named.startsWith('/')
    ? all.filter(({ path }) => withoutSlash(path) === plain)
    : firstOf(
        all.filter(({ name }) => name === named),
        all.filter(({ id }) => id === named),
      );
  const [match, ...others] = matches;
  if (match === undefined) throw unknown(all, named);
  if (others.length > 0) {
    throw userError('share.ambiguous', `${matches.length} shares are named ${printable(named, 200)}`, {
      remedy: `name it by its folder: ${matches.map(({ path }) => printable(path, 200)).join(' or ')}`,
    });
  }
  return match;
}

/**
 * The only share there is, for commands that need not name it.
 * @throws SkylarkError (user) `share.none`, `share.ambiguous`.
 */
export function onlyShare<T extends NamedShare>(shares: Iterable<T>): T {
  const [share, ...others] = shares;
  if (share === undefined) {
    throw userError('share.none', 'there is no share yet', { remedy: "make one with 'skylark share DIR'" });
  }
  if (others.length > 0) {
    const names = [share, ...others].slice(0, 5).map(({ name }) => printable(name, 100));
    const more = others.length >= 5 ? ', ...' : '';
    throw userError('share.ambiguous', 'there are several shares', {
      remedy: `name one: ${names.join(', ')}${more}`,
    });
  }
  return share;
}

function unknown(all: readonly NamedShare[], named: string) {
  const nearest = nearestName(
    named,
    all.flatMap(({ name, path }) => [name, path]),
  );
  return userError('share.unknown', `there is no share ${printable(named, 200)}`, {
    remedy:
      nearest === undefined ? "'skylark status' lists them" : `did you mean ${printable(nearest, 200)}?`,
  });
}

function firstOf<T>(first: readonly T[], second: readonly T[]): readonly T[] {
  return first.length > 0 ? first : second;
}

function withoutSlash(path: string): string {
  return normalize(path).replace(/(?<=.)\/+$/, '');
}
