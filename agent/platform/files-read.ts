/** A file of a share, open for reading. */

import { close, type FileFacts, fileError, fstat, readFully } from './files-calls.ts';

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
  look(): Promise<FileFacts>;
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

  async look(): Promise<FileFacts> {
    try {
      return await fstat(this.descriptor);
    } catch (thrown) {
      throw fileError('look at', this.path, thrown);
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await close(this.descriptor);
  }
}
