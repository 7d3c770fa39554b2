/**
 * Files in the making: they grow under a hidden name in the share's own state folder and take their place in one step,
 * when all of their bytes are on the disk.
 */

import fs from 'node:fs';
import { environmentError, errorCode, internalError, type SkylarkError } from '../base/errors.ts';
import {
  close,
  type FileFacts,
  fileError,
  fstat,
  fsync,
  ftruncate,
  isAbsent,
  O_CREAT,
  O_EXCL,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_RDWR,
  readFully,
  utimesArgument,
  writeFully,
} from './files-calls.ts';
import {
  checkName,
  type Directories,
  type DirectoryFlusher,
  type DirectoryHandle,
  nameOf,
  parentOf,
} from './files-directories.ts';
import { STATE_FOLDER, TEMPORARY_SUFFIX } from './files-names.ts';
import { type Expected, takePlace } from './files-rename.ts';

const TEMPORARY_FOLDER = `/${STATE_FOLDER}/tmp`;
/** Up to here a write goes straight to the page cache, which is faster than the way over another thread. */
const SMALL_WRITE = 65_536;
const S_ISGID = 0o2000;

export interface TemporaryOptions {
  /** Goes on with what an earlier temporary of this label left behind, if anything. Default: there must be none. */
  readonly resume?: boolean;
}

export interface CommitOptions {
  /** Permission bits, 0 to 0o777. */
  readonly mode: number;
  /** Nanoseconds since 1970; undefined: now. Set to the microsecond. */
  readonly mtimeNs: bigint | undefined;
  readonly expected: Expected;
}

/** One caller at a time. */
export interface Temporary {
  readonly label: string;
  /** Bytes that were there when it was opened: 0 unless resumed. */
  readonly resumedSize: bigint;
  /** For a worker thread of this process; valid until the temporary ends. */
  readonly descriptor: number;
  /** @throws `files.no_space`, `files.too_big`, other `files.*`. */
  write(bytes: Uint8Array, position: bigint): Promise<void>;
  /** Fills `target` from `position` as far as the file goes. */
  read(target: Uint8Array, position: bigint): Promise<number>;
  /** Cuts or extends (with zeros that take no space). */
  resize(size: bigint): Promise<void>;
  /** Takes over all contents of an open file, sharing its blocks where the file system can. */
  copyFrom(source: { readonly descriptor: number }): Promise<void>;
  /**
   * Makes the contents durable, and the file take its place in one step, if `expected` is still true there: nothing is
   * ever replaced that was not expected. Resolves with the file's facts when the new name survives a power cut. The
   * temporary is used up then; when it fails, it can be tried again or discarded.
   * @throws `files.changed` (also: `expected` is absent but something is there), `files.absent` (no such folder),
   *   other `files.*`, `share.*`.
   */
  commit(path: string, options: CommitOptions): Promise<FileFacts>;
  /** Keeps it for a later `resume`. */
  close(): Promise<void>;
  /** Removes it. */
  discard(): Promise<void>;
}

/** Where the temporary with this label is, for looking at it and reading it. */
export function temporaryPath(label: string): string {
  return `${TEMPORARY_FOLDER}/${label}${TEMPORARY_SUFFIX}`;
}

export async function openTemporary(
  directories: Directories,
  flusher: DirectoryFlusher,
  label: string,
  options: TemporaryOptions,
): Promise<Temporary> {
  if (!/^[A-Za-z0-9-]{1,200}$/.test(label))
    throw internalError('files.label_malformed', `${JSON.stringify(label)} can't name a temporary file`);
  const name = label + TEMPORARY_SUFFIX;
  const shown = `${TEMPORARY_FOLDER}/${name}`;
  const folder = await temporaryFolder(directories);
  try {
    const target = folder.prefix + name;
    const flags = O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | (options.resume ? 0 : O_EXCL);
    let fd = fs.openSync(target, flags, 0o600);
    let facts = options.resume ? await fstat(fd) : undefined;
    if (facts?.kind === 'file' && facts.links > 1) {
      // It has taken its place, and we were interrupted before its first name went. What is written now is another file.
      await close(fd);
      fs.unlinkSync(target);
      fd = fs.openSync(target, flags | O_EXCL, 0o600);
      facts = undefined;
    }
    // Whoever could plant something here owns the share anyway; still, nothing but our own file is written to.
    if (facts !== undefined && facts.kind !== 'file') {
      await close(fd);
      throw environmentError('files.not_a_file', `${JSON.stringify(shown)} is no temporary file of ours`);
    }
    return new TemporaryFile(directories, flusher, folder, label, fd, facts?.size ?? 0n);
  } catch (thrown) {
    directories.release(folder);
    throw fileError('create', shown, thrown);
  }
}

/** Leased; the caller releases it. */
async function temporaryFolder(directories: Directories): Promise<DirectoryHandle> {
  try {
    return await directories.acquire(TEMPORARY_FOLDER);
  } catch (thrown) {
    if (errorCode(thrown) !== 'files.absent') throw thrown;
  }
  for (const path of [`/${STATE_FOLDER}`, TEMPORARY_FOLDER])
    await directories.use(parentOf(path), (parent) => {
      try {
        fs.mkdirSync(parent.prefix + nameOf(path), 0o700);
      } catch (cause) {
        if (errorCode(cause) !== 'EEXIST') throw fileError('make the folder', path, cause);
      }
    });
  return directories.acquire(TEMPORARY_FOLDER);
}

/** Labels of the temporaries that exist. */
export async function listTemporaries(directories: Directories): Promise<string[]> {
  const folder = await temporaryFolder(directories);
  try {
    const names = await fs.promises.readdir(folder.prefix);
    return names
      .filter((name) => name.endsWith(TEMPORARY_SUFFIX))
      .map((name) => name.slice(0, -TEMPORARY_SUFFIX.length));
  } catch (thrown) {
    throw fileError('list the folder', TEMPORARY_FOLDER, thrown);
  } finally {
    directories.release(folder);
  }
}

class TemporaryFile implements Temporary {
  readonly label: string;
  readonly resumedSize: bigint;
  readonly descriptor: number;
  readonly #directories: Directories;
  readonly #flusher: DirectoryFlusher;
  readonly #folder: DirectoryHandle;
  readonly #name: string;
  #ended = false;

  constructor(
    directories: Directories,
    flusher: DirectoryFlusher,
    folder: DirectoryHandle,
    label: string,
    descriptor: number,
    resumedSize: bigint,
  ) {
    this.#directories = directories;
    this.#flusher = flusher;
    this.#folder = folder;
    this.label = label;
    this.descriptor = descriptor;
    this.resumedSize = resumedSize;
    this.#name = label + TEMPORARY_SUFFIX;
  }

  async write(bytes: Uint8Array, position: bigint): Promise<void> {
    this.#mustBeOpen();
    try {
      let written = 0;
      if (bytes.length <= SMALL_WRITE)
        written = fs.writeSync(this.descriptor, bytes, 0, bytes.length, Number(position));
      if (written < bytes.length)
        await writeFully(this.descriptor, bytes.subarray(written), position + BigInt(written));
    } catch (thrown) {
      throw this.#failed('write', thrown);
    }
  }

  async read(target: Uint8Array, position: bigint): Promise<number> {
    this.#mustBeOpen();
    try {
      return await readFully(this.descriptor, target, position);
    } catch (thrown) {
      throw this.#failed('read', thrown);
    }
  }

  async resize(size: bigint): Promise<void> {
    this.#mustBeOpen();
    try {
      await ftruncate(this.descriptor, size);
    } catch (thrown) {
      throw this.#failed('resize', thrown);
    }
  }

  async copyFrom(source: { readonly descriptor: number }): Promise<void> {
    this.#mustBeOpen();
    try {
      await copyContents(source.descriptor, this.descriptor);
    } catch (thrown) {
      throw this.#failed('copy into', thrown);
    }
  }

  async commit(path: string, options: CommitOptions): Promise<FileFacts> {
    this.#mustBeOpen();
    const name = nameOf(path);
    checkName(name);
    const parent = await this.#directories.acquire(parentOf(path));
    try {
      await finish(this.descriptor, parent, options);
      const own = this.#folder.prefix + this.#name;
      let facts: FileFacts;
      try {
        facts = takePlace(own, path, parent.prefix + name, options.expected);
      } catch (thrown) {
        if (errorCode(thrown) !== 'EXDEV') throw thrown;
        facts = await this.#placeOnOtherFileSystem(path, parent, options);
      }
      await this.#flusher.flush(parent);
      await this.close();
      return facts;
    } catch (thrown) {
      throw fileError('put into place', path, thrown);
    } finally {
      this.#directories.release(parent);
    }
  }

  async close(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    this.#directories.release(this.#folder);
    fs.closeSync(this.descriptor);
  }

  async discard(): Promise<void> {
    if (this.#ended) return;
    try {
      fs.unlinkSync(this.#folder.prefix + this.#name);
    } catch (thrown) {
      if (!isAbsent(thrown)) throw this.#failed('remove', thrown);
    } finally {
      await this.close();
    }
  }

  /** A folder of the share may be a mount point: the last step to it is a copy beside the target. */
  async #placeOnOtherFileSystem(
    path: string,
    parent: DirectoryHandle,
    options: CommitOptions,
  ): Promise<FileFacts> {
    const beside = `${parent.prefix}.${this.#name}`;
    const fd = fs.openSync(beside, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
    try {
      await copyContents(this.descriptor, fd);
      await finish(fd, parent, options);
      const facts = takePlace(beside, path, parent.prefix + nameOf(path), options.expected);
      fs.unlinkSync(this.#folder.prefix + this.#name);
      return facts;
    } catch (thrown) {
      fs.rmSync(beside, { force: true });
      throw thrown;
    } finally {
      fs.closeSync(fd);
    }
  }

  #mustBeOpen(): void {
    if (this.#ended)
      throw internalError('files.temporary_ended', 'the temporary file was used after its end');
  }

  #failed(what: string, thrown: unknown): SkylarkError {
    return fileError(what, `${TEMPORARY_FOLDER}/${this.#name}`, thrown);
  }
}

function copyContents(from: number, to: number): Promise<void> {
  // Reopens both inodes through /proc, which is what lets copyFile share blocks or copy inside the kernel.
  return fs.promises.copyFile(`/proc/self/fd/${from}`, `/proc/self/fd/${to}`, fs.constants.COPYFILE_FICLONE);
}

/** Everything but the name, down to the disk. */
async function finish(fd: number, parent: DirectoryHandle, options: CommitOptions): Promise<void> {
  const folder = fs.fstatSync(parent.fd);
  if ((folder.mode & S_ISGID) !== 0) inheritGroup(fd, folder.gid);
  setMode(fd, options.mode & 0o777);
  if (options.mtimeNs !== undefined) {
    const time = utimesArgument(options.mtimeNs);
    fs.futimesSync(fd, time, time);
  }
  await fsync(fd);
}

/** FAT and its like keep no modes, or not this one: the file is worth more than its mode. */
const NO_MODES: ReadonlySet<string | undefined> = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS']);

function setMode(fd: number, mode: number): void {
  try {
    fs.fchmodSync(fd, mode);
  } catch (thrown) {
    // It is our own file: nobody could forbid it.
    if (!NO_MODES.has(errorCode(thrown))) throw thrown;
  }
}

/** A set-group-id folder gives its group to what is made in it; ours is made elsewhere. */
function inheritGroup(fd: number, gid: number): void {
  try {
    fs.fchownSync(fd, -1, gid);
  } catch (thrown) {
    // We are not in that group: then no program of ours could have made it so.
    if (errorCode(thrown) !== 'EPERM') throw thrown;
  }
}
