/**
 * What a path inside a share may look like. The key of a file's record is its path: one leading slash, forward slashes
 * between the components, UTF-8. Peers are hostile until their paths have passed here.
 */

import { utf8 } from '../base/bytes.ts';
import { peerError } from '../base/errors.ts';
import { isOwnName } from '../platform/files.ts';

/** Longest component in bytes: what every file system that people use can hold. */
export const MAX_NAME_BYTES = 255;
/** Longest path in bytes, as in Linux's PATH_MAX: what is deeper, its owner could not even remove by its name. */
export const MAX_PATH_BYTES = 4_096;

/** Why a path is refused, as the last part of an error's code. */
export type PathRefusal =
  | 'not_absolute'
  | 'not_unicode'
  | 'too_long'
  | 'component_empty'
  | 'component_dots'
  | 'component_nul'
  | 'component_too_long'
  | 'component_reserved';

/** Keys without a leading slash belong to other extensions ("allowed, but ignored", directory.md). */
export function isFileKey(key: string): boolean {
  return key.startsWith('/');
}

/** Undefined for a path that may become a file or directory; '/' is the share's root. */
export function refusalOf(path: string): PathRefusal | undefined {
  if (!path.startsWith('/')) return 'not_absolute';
  if (path === '/') return undefined;
  if (path.length > MAX_PATH_BYTES) return 'too_long';
  if (!path.isWellFormed()) return 'not_unicode';
  if (utf8(path).length > MAX_PATH_BYTES) return 'too_long';
  for (const name of path.slice(1).split('/')) {
    const refusal = nameRefusalOf(name);
    if (refusal !== undefined) return refusal;
  }
  return undefined;
}

/** @throws SkylarkError (peer) `path.*`. */
export function checkSharePath(path: string): void {
  const refusal = refusalOf(path);
  if (refusal !== undefined)
    throw peerError(`path.${refusal}`, `the path ${JSON.stringify(path.slice(0, 300))} can not be a file`);
}

/** Undefined for a name that may stand in a share's path. */
export function nameRefusalOf(name: string): PathRefusal | undefined {
  if (name === '') return 'component_empty';
  if (name === '.' || name === '..') return 'component_dots';
  if (!name.isWellFormed()) return 'not_unicode';
  if (name.includes('\0')) return 'component_nul';
  if (
    name.length > MAX_NAME_BYTES ||
    (name.length > MAX_NAME_BYTES / 3 && utf8(name).length > MAX_NAME_BYTES)
  )
    return 'component_too_long';
  if (isOwnName(name)) return 'component_reserved';
  return undefined;
}

export function joinPath(directory: string, name: string): string {
  return directory === '/' ? `/${name}` : `${directory}/${name}`;
}

/** Whether `path` lies below `directory`, at any depth. */
export function isBelow(path: string, directory: string): boolean {
  return directory === '/' ? path !== '/' : path.startsWith(`${directory}/`);
}

/** Whether the path is `directory` itself or lies below it. */
export function isWithin(path: string, directory: string): boolean {
  return path === directory || isBelow(path, directory);
}

/**
 * A local name for a file whose own name stands for another file on this file system (`Secret.txt` beside `secret.txt`
 * where case makes no difference): `secret (2).txt`. Fits into 255 bytes.
 * @param attempt from 2 on.
 */
export function alternativeName(name: string, attempt: number): string {
  const dot = name.lastIndexOf('.');
  const cut = dot > 0 && name.length - dot <= 64 ? dot : name.length;
  const end = ` (${attempt})${name.slice(cut)}`;
  let stem = name.slice(0, cut);
  while (utf8(stem + end).length > MAX_NAME_BYTES) stem = [...stem].slice(0, -1).join('');
  return stem + end;
}
