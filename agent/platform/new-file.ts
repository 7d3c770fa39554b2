/**
 * A file that a command makes for its user, outside of every share: complete, or not there at all. Never takes the place
 * of anything.
 */

import { closeSync, constants, openSync, unlinkSync } from 'node:fs';
import { lstat, realpath, stat } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join, relative } from 'node:path';
import { EXIT, errorCode, userError } from '../base/errors.ts';
import { fileError, fsync, isAbsent, utimes, writeFully } from './files-calls.ts';
import { renameWithoutReplacing } from './files-rename.ts';

export interface NewFile {
  /** With its folder's symbolic links followed. */
  readonly path: string;
  /** Behind what was written before. @throws `files.*`. */
  write(bytes: Uint8Array): Promise<void>;
  /**
   * Makes it durable, and gives it its name.
   * @param mtimeNs nanoseconds since 1970; undefined: now
   * @throws SkylarkError (user, exit code 73) `file.exists`; `files.*`.
   */
  commit(mtimeNs: bigint | undefined): Promise<void>;
  /** Removes it, unless it was committed. Never throws. */
  discard(): void;
}

/**
 * Begins a new file at an absolute path. Its folder must be there.
 * @throws SkylarkError (user, exit code 73) `file.exists`, `file.no_folder`; `files.*`.
 */
export async function openNewFile(path: string): Promise<NewFile> {
  const final = join(await folderOf(path), basename(path));
  if (await isThere(final)) throw existsError(path);
  const temporary = join(dirname(final), `.${basename(final).slice(0, 100)}.${process.pid}.skylark-part`);
  let descriptor: number;
  try {
    descriptor = openSync(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o666);
  } catch (thrown) {
    throw fileError('write', path, thrown);
  }
  let position = 0n;
  let isOpen = true;
  const close = () => {
    if (isOpen) closeSync(descriptor);
    isOpen = false;
  };
  return {
    path: final,
    async write(bytes) {
      try {
        await writeFully(descriptor, bytes, position);
      } catch (thrown) {
        throw fileError('write', path, thrown);
      }
      position += BigInt(bytes.length);
    },
    async commit(mtimeNs) {
      try {
        await fsync(descriptor);
        close();
        if (mtimeNs !== undefined) await utimes(temporary, mtimeNs);
        renameWithoutReplacing(temporary, final, undefined);
        await flushFolder(dirname(final));
      } catch (thrown) {
        if (errorCode(thrown) === 'EEXIST') throw existsError(path);
        throw fileError('write', path, thrown);
      }
    },
    discard() {
      close();
      try {
        unlinkSync(temporary);
      } catch {
        // Committed, or gone already.
      }
    },
  };
}

/** Whether a path is a folder, symbolic links followed. */
export async function isFolder(path: string): Promise<boolean> {
  return await stat(path).then(
    (facts) => facts.isDirectory(),
    () => false,
  );
}

/**
 * Where a path that need not exist lies below a folder: `/a/b`, as paths in shares are written; undefined if it does not.
 * Symbolic links on the way to both are followed; the last component of the path is taken as it is.
 */
export async function pathBelow(folder: string, path: string): Promise<string | undefined> {
  const top = await realpath(folder).catch(() => folder);
  const real = join(await realPathOfMissing(dirname(path)), basename(path));
  const below = relative(top, real);
  if (below === '' || below === '..' || below.startsWith('../') || isAbsolute(below)) return undefined;
  return `/${below}`;
}

/** Of a folder that may not be there yet: as far as it is, links are followed. */
async function realPathOfMissing(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (thrown) {
    const parent = dirname(path);
    if (!isAbsent(thrown) || parent === path) return path;
    return join(await realPathOfMissing(parent), basename(path));
  }
}

async function folderOf(path: string): Promise<string> {
  try {
    return await realpath(dirname(path));
  } catch (thrown) {
    if (!isAbsent(thrown)) throw fileError('write', path, thrown);
    throw userError('file.no_folder', `there is no folder ${dirname(path)}`, {
      remedy: 'make it first',
      exitCode: EXIT.cannotCreate,
    });
  }
}

async function isThere(path: string): Promise<boolean> {
  return await lstat(path).then(
    () => true,
    () => false,
  );
}

async function flushFolder(folder: string): Promise<void> {
  const descriptor = openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await fsync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

function existsError(path: string) {
  return userError('file.exists', `${path} is there already`, {
    remedy: 'choose another name, or move it away',
    exitCode: EXIT.cannotCreate,
  });
}
