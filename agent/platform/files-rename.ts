/** Giving a file its name, without ever replacing what was not expected there. */

import fs from 'node:fs';
import { environmentError, errorCode, type SkylarkError } from '../base/errors.ts';
import { type FileFacts, isAbsent, type KnownFile, lstatSync, sameFacts } from './files-calls.ts';

/** What must be at the target at the moment of the change: nothing, or exactly this file. */
export type Expected = 'absent' | KnownFile;

/**
 * The check and the rename are calls without anything in between, since what somebody else puts at the target in that
 * gap would be lost: Node knows no renameat2(2).
 */
export function takePlace(from: string, path: string, target: string, expected: Expected): FileFacts {
  if (expected === 'absent') {
    try {
      renameWithoutReplacing(from, target, undefined);
    } catch (thrown) {
      if (errorCode(thrown) === 'EEXIST') throw changedError(path);
      throw thrown;
    }
  } else {
    let there: FileFacts;
    try {
      there = lstatSync(target);
    } catch (thrown) {
      if (isAbsent(thrown)) throw changedError(path);
      throw thrown;
    }
    if (expected.kind !== 'file') throw changedError(path);
    checkUnchanged(path, there, expected);
    fs.renameSync(from, target);
  }
  return lstatSync(target);
}

/** link(2) refuses an existing name, which rename(2) would replace. */
const NO_HARD_LINKS: ReadonlySet<string | undefined> = new Set([
  'EPERM',
  'EOPNOTSUPP',
  'ENOTSUP',
  'ENOSYS',
  'EMLINK',
]);

/**
 * @param facts if given, of the file at `from`: a target that is this very file already is an interrupted move, and is
 *   brought to its end.
 * @throws the system's EEXIST.
 */
export function renameWithoutReplacing(from: string, target: string, facts: FileFacts | undefined): void {
  try {
    fs.linkSync(from, target);
  } catch (thrown) {
    const code = errorCode(thrown);
    if (NO_HARD_LINKS.has(code)) {
      if (isThere(target)) throw existsError(target);
      fs.renameSync(from, target);
      return;
    }
    if (code !== 'EEXIST' || facts?.kind !== 'file' || !sameInode(lstatSync(target), facts)) throw thrown;
  }
  fs.unlinkSync(from);
}

function sameInode(a: FileFacts, b: FileFacts): boolean {
  return a.ino === b.ino && a.dev === b.dev;
}

export function isThere(target: string): boolean {
  try {
    lstatSync(target);
    return true;
  } catch (thrown) {
    if (isAbsent(thrown)) return false;
    throw thrown;
  }
}

/** In the form of the system's own error, for `fileError` to explain. */
export function existsError(target: string): Error {
  return Object.assign(new Error(`EEXIST: ${target}`), { code: 'EEXIST' });
}

/** @throws SkylarkError `files.changed`. */
export function checkUnchanged(path: string, facts: KnownFile, expected: KnownFile): void {
  if (!sameFacts(facts, expected)) throw changedError(path);
}

function changedError(path: string): SkylarkError {
  return environmentError('files.changed', `${JSON.stringify(path)} is no longer as it was`);
}
