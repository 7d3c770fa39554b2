/**
 * Reading small files whole. On this thread that takes a tenth of the time that it takes over others, as long as
 * nothing has to come from a disk: so it is tried here, and elsewhere for a while after it took long.
 */

import fs from 'node:fs';
import { environmentError } from '../base/errors.ts';
import {
  close,
  type FileFacts,
  factsOf,
  fstat,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_PATH,
  O_RDONLY,
  open,
  readFully,
  sameFacts,
} from './files-calls.ts';

export interface SmallFile {
  readonly facts: FileFacts;
  readonly bytes: Uint8Array;
}

/** Milliseconds for one file: from memory it takes 0.05, from any disk more than 0.5. */
const SLOW_MS = 1;
/** Milliseconds without trying here after two slow ones in a row (one may just have been interrupted by other work). */
const AVOID_MS = 500;
const BIGINT = { bigint: true } as const;

export class SmallFileReader {
  #avoidUntil = 0;
  #wasSlow = false;

  /**
   * @param target a name below /proc/self/fd
   * @param path for messages
   * @param limit bytes
   * @throws the system's errors; `files.symlink`, `files.not_a_file`, `files.too_big`; `files.changed` if it was written
   *   to meanwhile.
   */
  async read(target: string, path: string, limit: number): Promise<SmallFile> {
    const start = performance.now();
    if (start < this.#avoidUntil) return readElsewhere(target, path, limit);
    const file = readHere(target, path, limit);
    const end = performance.now();
    const isSlow = end - start > SLOW_MS;
    if (isSlow && this.#wasSlow) this.#avoidUntil = end + AVOID_MS;
    this.#wasSlow = isSlow;
    return file;
  }
}

function readHere(target: string, path: string, limit: number): SmallFile {
  // First a handle that only names the inode: opening a FIFO or a device for reading would already disturb it.
  const named = fs.openSync(target, O_PATH | O_NOFOLLOW);
  try {
    const facts = factsOf(fs.fstatSync(named, BIGINT));
    checkSmall(facts, path, limit);
    const fd = fs.openSync(`/proc/self/fd/${named}`, O_RDONLY | O_NONBLOCK);
    try {
      const bytes = roomFor(facts);
      let filled = 0;
      for (let count = -1; count !== 0 && filled < bytes.length; filled += count)
        count = fs.readSync(fd, bytes, filled, bytes.length - filled, filled);
      return checked(bytes, filled, facts, factsOf(fs.fstatSync(fd, BIGINT)), path);
    } finally {
      fs.closeSync(fd);
    }
  } finally {
    fs.closeSync(named);
  }
}

async function readElsewhere(target: string, path: string, limit: number): Promise<SmallFile> {
  const named = await open(target, O_PATH | O_NOFOLLOW);
  try {
    const facts = await fstat(named);
    checkSmall(facts, path, limit);
    const fd = await open(`/proc/self/fd/${named}`, O_RDONLY | O_NONBLOCK);
    try {
      const bytes = roomFor(facts);
      const filled = await readFully(fd, bytes, 0n);
      return checked(bytes, filled, facts, await fstat(fd), path);
    } finally {
      await close(fd);
    }
  } finally {
    await close(named);
  }
}

function checkSmall({ kind, size }: FileFacts, path: string, limit: number): void {
  if (kind === 'symlink')
    throw environmentError('files.symlink', `${JSON.stringify(path)} is a symbolic link`);
  if (kind !== 'file')
    throw environmentError('files.not_a_file', `${JSON.stringify(path)} is no regular file`);
  if (size > BigInt(limit)) throw environmentError('files.too_big', `${JSON.stringify(path)} is too large`);
}

/** One byte more, to see whether it grew. */
function roomFor({ size }: FileFacts): Uint8Array {
  return new Uint8Array(Number(size) + 1);
}

function checked(
  bytes: Uint8Array,
  filled: number,
  facts: FileFacts,
  after: FileFacts,
  path: string,
): SmallFile {
  if (BigInt(filled) !== facts.size || !sameFacts(facts, after))
    throw environmentError('files.changed', `${JSON.stringify(path)} was written to while it was read`);
  return { facts, bytes: bytes.subarray(0, filled) };
}
