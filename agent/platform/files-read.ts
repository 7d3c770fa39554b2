/** A file of a share, open for reading. */

import fs from 'node:fs';
import {
  close,
  type FileFacts,
  factsOf,
  fileError,
  fsyncIfPossible,
  mayBeUnwritten,
  readFully,
} from './files-calls.ts';

const BIGINT = { bigint: true } as const;

/** A regular file, open for reading. Nobody is kept from changing, renaming or deleting it. */
export interface OpenFile {
  readonly path: string;
  /** As they were when it was opened. */
  readonly facts: FileFacts;
  /** For a worker thread of this process; valid until `close`. */
  readonly descriptor: number;
  /** Fills `target` from `position` as far as the file goes; the number of bytes read. @throws `files.*`. */
  read(target: Uint8Array, position: bigint): Promise<number>;
  /** As they are now. */
  look(): FileFacts;
  /** Resolves when what was written before the call survives a power cut. @throws `files.*`. */
  flush(): Promise<void>;
  close(): Promise<void>;
}

export class ReadableFile implements OpenFile {
  readonly path: string;
  readonly facts: FileFacts;
  readonly descriptor: number;
  #closed = false;

  constructor(path: string, descriptor: number, facts: FileFacts) {
    this.path = path;
    this.descriptor = descriptor;
    this.facts = facts;
  }

  async read(target: Uint8Array, position: bigint): Promise<number> {
    try {
      return await readFully(this.descriptor, target, position);
    } catch (thrown) {
      throw fileError('read', this.path, thrown);
    }
  }

  look(): FileFacts {
    try {
      // What is open is known to the kernel: the way over another thread takes a hundred times longer.
      return factsOf(fs.fstatSync(this.descriptor, BIGINT));
    } catch (thrown) {
      throw fileError('look at', this.path, thrown);
    }
  }

  async flush(): Promise<void> {
    if (!mayBeUnwritten(this.look())) return;
    try {
      await fsyncIfPossible(this.descriptor);
    } catch (thrown) {
      throw fileError('flush', this.path, thrown);
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await close(this.descriptor);
  }
}
