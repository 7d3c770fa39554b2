/**
 * The system calls that file access is made of, as promises over numeric descriptors (node:fs/promises costs three
 * times as much for small files), and what their failures mean.
 */

import fs, { type BigIntStats } from 'node:fs';
import { environmentError, errorCode, internalError, type SkylarkError } from '../base/errors.ts';

export const { O_RDONLY, O_RDWR, O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_DIRECTORY } = fs.constants;
/** open(2): a descriptor that only names an inode. Opening has no effect on FIFOs and devices. Same on all Linux. */
export const O_PATH = 0o10000000;

/** What kind of thing a name stands for. Only files and directories are ever opened. */
export type FileKind = 'file' | 'directory' | 'symlink' | 'special';

/** What the file system says about an inode. */
export interface FileFacts {
  readonly kind: FileKind;
  readonly dev: bigint;
  readonly ino: bigint;
  /** Bytes. */
  readonly size: bigint;
  /** Time of the last change of the contents, nanoseconds since 1970. */
  readonly mtimeNs: bigint;
  /** Time of the last change of the inode, nanoseconds since 1970. Nobody can set it. */
  readonly ctimeNs: bigint;
  /** Permission bits with set-user-id, set-group-id and sticky: 0 to 0o7777. */
  readonly mode: number;
  /** Number of names of this inode. */
  readonly links: number;
}

const S_IFMT = 0o170000;
const KINDS: ReadonlyMap<number, FileKind> = new Map([
  [0o100000, 'file'],
  [0o040000, 'directory'],
  [0o120000, 'symlink'],
]);

export function factsOf(stats: BigIntStats): FileFacts {
  const mode = Number(stats.mode);
  return {
    kind: KINDS.get(mode & S_IFMT) ?? 'special',
    dev: stats.dev,
    ino: stats.ino,
    size: stats.size,
    mtimeNs: clampTime(stats.mtimeNs),
    ctimeNs: clampTime(stats.ctimeNs),
    mode: mode & 0o7777,
    links: Number(stats.nlink),
  };
}

/** Into 64 bits, as databases hold it: up to the year 2262. */
function clampTime(ns: bigint): bigint {
  return ns === BigInt.asIntN(64, ns) ? ns : ns < 0n ? -(2n ** 63n) : 2n ** 63n - 1n;
}

/** What tells a changed file from an unchanged one. A change of mode or owner shows in the time of the inode. */
export type KnownFile = Pick<FileFacts, 'kind' | 'ino' | 'size' | 'mtimeNs' | 'ctimeNs'>;

/** True if nothing speaks for a change between the two. For directories, which change all the time: the same inode. */
export function sameFacts(a: KnownFile, b: KnownFile): boolean {
  if (a.kind !== b.kind || a.ino !== b.ino) return false;
  return a.kind === 'directory' || (a.size === b.size && a.mtimeNs === b.mtimeNs && a.ctimeNs === b.ctimeNs);
}

const BIGINT = { bigint: true } as const;

function settle<T>(resolve: (value: T) => void, reject: (reason: Error) => void) {
  return (error: Error | null, value: T) => (error === null ? resolve(value) : reject(error));
}

function settleVoid(resolve: () => void, reject: (reason: Error) => void) {
  return (error: Error | null | undefined) => (error ? reject(error) : resolve());
}

export function open(path: string, flags: number, mode?: number): Promise<number> {
  return new Promise((resolve, reject) => fs.open(path, flags, mode, settle(resolve, reject)));
}

export function fstat(fd: number): Promise<FileFacts> {
  return new Promise((resolve, reject) =>
    fs.fstat(
      fd,
      BIGINT,
      settle((stats) => resolve(factsOf(stats)), reject),
    ),
  );
}

export function lstat(path: string): Promise<FileFacts> {
  return new Promise((resolve, reject) =>
    fs.lstat(
      path,
      BIGINT,
      settle((stats) => resolve(factsOf(stats)), reject),
    ),
  );
}

/** Follows links: only for names below /proc/self/fd. */
export function stat(path: string): Promise<FileFacts> {
  return new Promise((resolve, reject) =>
    fs.stat(
      path,
      BIGINT,
      settle((stats) => resolve(factsOf(stats)), reject),
    ),
  );
}

export function lstatSync(path: string): FileFacts {
  return factsOf(fs.lstatSync(path, BIGINT));
}

/** Fills `target` from `position` as far as the file goes. */
export async function readFully(fd: number, target: Uint8Array, position: bigint): Promise<number> {
  let filled = 0;
  while (filled < target.length) {
    const count = await new Promise<number>((resolve, reject) =>
      fs.read(fd, target, filled, target.length - filled, position + BigInt(filled), settle(resolve, reject)),
    );
    if (count === 0) break;
    filled += count;
  }
  return filled;
}

/** Writes all of `bytes`, however many calls the kernel wants for it. */
export async function writeFully(fd: number, bytes: Uint8Array, position: bigint): Promise<void> {
  // Node takes a write position only as a number: exact up to 2^53, far beyond what a file system can hold.
  const start = Number(position);
  for (let written = 0; written < bytes.length; ) {
    written += await new Promise<number>((resolve, reject) =>
      fs.write(fd, bytes, written, bytes.length - written, start + written, settle(resolve, reject)),
    );
  }
}

export function fsync(fd: number): Promise<void> {
  return new Promise((resolve, reject) => fs.fsync(fd, settleVoid(resolve, reject)));
}

/** Some file systems (FUSE, network) know no flushing of what was opened for reading; then there is nothing to wait for. */
const NO_FLUSHING: ReadonlySet<string | undefined> = new Set(['EINVAL', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS']);

/** As `fsync`, of what we have open only for reading: a directory, a file of somebody else. */
export async function fsyncIfPossible(fd: number): Promise<void> {
  try {
    await fsync(fd);
  } catch (thrown) {
    if (!NO_FLUSHING.has(errorCode(thrown))) throw thrown;
  }
}

/** The kernel writes back what is older than 30 s, every 5 s, and a journal follows within 5 s; all with a margin. */
const WRITTEN_BACK_NS = 120_000_000_000n;
const NS_PER_MS = 1_000_000n;

/** Whether what was written to the file may still be in memory only, unless somebody flushed it. */
export function mayBeUnwritten(facts: FileFacts, now = BigInt(Date.now()) * NS_PER_MS): boolean {
  return now - facts.ctimeNs < WRITTEN_BACK_NS;
}

export function ftruncate(fd: number, size: bigint): Promise<void> {
  return new Promise((resolve, reject) => fs.ftruncate(fd, Number(size), settleVoid(resolve, reject)));
}

export function close(fd: number): Promise<void> {
  return new Promise((resolve, reject) => fs.close(fd, settleVoid(resolve, reject)));
}

export function chmod(path: string, mode: number): Promise<void> {
  return new Promise((resolve, reject) => fs.chmod(path, mode, settleVoid(resolve, reject)));
}

/**
 * A time as fs.utimes takes it. A double holds seconds since 1970 to within 120 ns, of which we take the one in the same
 * microsecond, since that is what other programs compare; negative numbers mean "now" to Node, so that times before 1970
 * go as a Date, to the millisecond.
 */
export function utimesArgument(ns: bigint): number | Date {
  if (ns < 0n) return new Date(Number(ns / 1_000_000n));
  const seconds = Number(ns / 1_000_000_000n);
  const nanoseconds = Number(ns % 1_000_000_000n);
  const time = seconds + nanoseconds / 1e9;
  // What libuv makes of it.
  const cut = Math.trunc((time - Math.trunc(time)) * 1e9) + (Math.trunc(time) - seconds) * 1e9;
  const off = Math.sign(Math.trunc(cut / 1_000) - Math.trunc(nanoseconds / 1_000));
  return off === 0 ? time : time - off * 2 ** (Math.floor(Math.log2(time)) - 52);
}

export function utimes(path: string, mtimeNs: bigint): Promise<void> {
  const time = utimesArgument(mtimeNs);
  return new Promise((resolve, reject) => fs.utimes(path, time, time, settleVoid(resolve, reject)));
}

interface Meaning {
  readonly code: string;
  readonly text: string;
  readonly remedy?: string;
}

const MEANINGS: Readonly<Record<string, Meaning>> = {
  ENOENT: { code: 'files.absent', text: 'it does not exist' },
  ENOTDIR: { code: 'files.absent', text: 'a folder on the way to it is not a folder' },
  ELOOP: { code: 'files.symlink', text: 'it is a symbolic link' },
  EEXIST: { code: 'files.exists', text: 'something is there already' },
  ENOTEMPTY: { code: 'files.not_empty', text: 'the folder is not empty' },
  EISDIR: { code: 'files.is_directory', text: 'it is a folder' },
  EACCES: { code: 'files.not_permitted', text: 'permission denied', remedy: 'give the agent access to it' },
  EPERM: { code: 'files.not_permitted', text: 'not permitted', remedy: 'give the agent access to it' },
  EROFS: { code: 'files.read_only', text: 'the file system is read-only', remedy: 'mount it read-write' },
  ENOSPC: { code: 'files.no_space', text: 'no space is left', remedy: 'make room on the disk' },
  EDQUOT: { code: 'files.no_space', text: 'the disk quota is used up', remedy: 'make room on the disk' },
  EFBIG: { code: 'files.too_big', text: 'the file system can not hold a file of this size' },
  EIO: { code: 'files.io', text: 'the disk reports an error', remedy: 'check the disk' },
  EUCLEAN: {
    code: 'files.corrupt',
    text: 'the file system is damaged there',
    remedy: 'have it checked (fsck)',
  },
  EBADMSG: {
    code: 'files.corrupt',
    text: 'the file system is damaged there',
    remedy: 'have it checked (fsck)',
  },
  ENAMETOOLONG: { code: 'files.name_too_long', text: 'the name is too long for the file system' },
  EINVAL: { code: 'files.name_refused', text: 'the file system does not take this name or value' },
  EILSEQ: { code: 'files.name_refused', text: 'the file system does not take this name' },
  EXDEV: { code: 'files.cross_device', text: 'it lies on another file system' },
  EMFILE: {
    code: 'files.too_many_open',
    text: 'too many files are open',
    remedy: 'raise the limit of open files',
  },
  ENFILE: {
    code: 'files.too_many_open',
    text: 'too many files are open',
    remedy: 'raise the limit of open files',
  },
};

/** What a failed call means, as an error with a stable code; SkylarkErrors pass unchanged. */
export function fileError(what: string, path: string, thrown: unknown): SkylarkError {
  if (thrown instanceof Error && thrown.name === 'SkylarkError') return thrown as SkylarkError;
  const system = errorCode(thrown);
  if (system === undefined || !/^E[A-Z0-9]+$/.test(system))
    return internalError('files.unexpected', `could not ${what} ${JSON.stringify(path)}`, { cause: thrown });
  const meaning = MEANINGS[system] ?? { code: 'files.failed', text: `the system says ${system}` };
  return environmentError(meaning.code, `could not ${what} ${JSON.stringify(path)}: ${meaning.text}`, {
    cause: thrown,
    ...(meaning.remedy === undefined ? {} : { remedy: meaning.remedy }),
  });
}

/** True for the two ways in which a path can name nothing. */
export function isAbsent(thrown: unknown): boolean {
  const code = errorCode(thrown);
  return code === 'ENOENT' || code === 'ENOTDIR';
}
