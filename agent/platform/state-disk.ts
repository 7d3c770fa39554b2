/** The few steps on disk that a state file is written with, in an order that a power cut can't hurt. */

import { constants, type FileHandle, open, rename, unlink } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { errorCode, peerError } from '../base/errors.ts';
import { makeFolders } from './folders.ts';

export interface StateDisk {
  makeFolder(path: string): Promise<void>;
  /**
   * The whole file, undefined if there is none. Takes other users' permissions on it away.
   * @throws SkylarkError (peer) `state.malformed` if it is larger than any state; what the system says (EIO, EACCES).
   */
  read(path: string): Promise<Uint8Array | undefined>;
  /** Makes a file for its owner only, which must not exist, and flushes it. */
  create(path: string, bytes: Uint8Array): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  /** Does nothing if there is no such file. */
  remove(path: string): Promise<void>;
  flushFolder(path: string): Promise<void>;
}

/** The documents are some kilobytes; this only bounds what a wrong file can cost. */
const MAX_BYTES = 67_108_864;
const OWNER_ONLY = 0o600;
const OTHERS = 0o077;

export const systemDisk: StateDisk = {
  async makeFolder(path) {
    // The names of new folders are durable only once their parents are flushed.
    for (const made of await makeFolders(resolve(path), 0o700)) await flushFolder(dirname(made));
  },
  async read(path) {
    let file: FileHandle;
    try {
      file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
    } catch (thrown) {
      if (errorCode(thrown) === 'ENOENT') return undefined;
      throw thrown;
    }
    try {
      const { size, mode } = await file.stat();
      if (size > MAX_BYTES) throw peerError('state.malformed', 'it is far too large');
      if ((mode & OTHERS) !== 0) await file.chmod(OWNER_ONLY);
      return new Uint8Array(await file.readFile());
    } finally {
      await file.close();
    }
  },
  async create(path, bytes) {
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
    const file = await open(path, flags, OWNER_ONLY);
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
  },
  rename,
  async remove(path) {
    try {
      await unlink(path);
    } catch (thrown) {
      if (errorCode(thrown) !== 'ENOENT') throw thrown;
    }
  },
  flushFolder,
};

async function flushFolder(path: string): Promise<void> {
  const folder = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
