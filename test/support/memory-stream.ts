/** Two ends of a connection inside one process, with back-pressure and arbitrary chunking, for tests at the OS edge. */

import type { ByteStream } from '../../agent/base/stream.ts';

export interface MemoryStreamOptions {
  /** Cuts what is written into pieces of these lengths, repeated; default: as written. */
  readonly pieces?: readonly number[];
  /** Bytes that may lie undelivered before a write waits. Default 256 KiB. */
  readonly capacity?: number;
  /** Sees, and may change, every piece on its way; null drops it. */
  readonly tamper?: (piece: Uint8Array) => Uint8Array | null;
}

class Pipe {
  readonly #queue: Uint8Array[] = [];
  readonly #options: MemoryStreamOptions;
  #queued = 0;
  #ended = false;
  #failure: Error | undefined;
  #piece = 0;
  #wakeReader: (() => void) | undefined;
  #wakeWriters: (() => void)[] = [];

  constructor(options: MemoryStreamOptions) {
    this.#options = options;
  }

  async write(bytes: Uint8Array): Promise<void> {
    if (this.#failure) throw this.#failure;
    if (this.#ended) throw new Error('write after close');
    for (let offset = 0; offset < bytes.length; ) {
      const pieces = this.#options.pieces;
      const length = pieces ? Math.max(1, pieces[this.#piece++ % pieces.length]!) : bytes.length;
      const piece = bytes.slice(offset, offset + length);
      offset += length;
      const passed = this.#options.tamper ? this.#options.tamper(piece) : piece;
      if (passed === null || passed.length === 0) continue;
      this.#queue.push(passed);
      this.#queued += passed.length;
    }
    this.#wakeReader?.();
    while (this.#queued > (this.#options.capacity ?? 262_144) && !this.#failure) {
      await new Promise<void>((resolve) => this.#wakeWriters.push(resolve));
    }
    if (this.#failure) throw this.#failure;
  }

  async read(): Promise<Uint8Array | null> {
    for (;;) {
      const piece = this.#queue.shift();
      if (piece !== undefined) {
        this.#queued -= piece.length;
        this.#wake();
        return piece;
      }
      if (this.#failure) throw this.#failure;
      if (this.#ended) return null;
      await new Promise<void>((resolve) => {
        this.#wakeReader = resolve;
      });
      this.#wakeReader = undefined;
    }
  }

  end(): void {
    this.#ended = true;
    this.#wakeReader?.();
  }

  fail(reason: Error): void {
    this.#failure ??= reason;
    this.#wakeReader?.();
    this.#wake();
  }

  #wake(): void {
    for (const wake of this.#wakeWriters.splice(0)) wake();
  }
}

/** What one end writes, the other reads. `abort` on one end breaks both. */
export function memoryStreamPair(options: MemoryStreamOptions = {}): [ByteStream, ByteStream] {
  const there = new Pipe(options);
  const back = new Pipe(options);
  const end = (label: string, incoming: Pipe, outgoing: Pipe): ByteStream => ({
    label,
    read: () => incoming.read(),
    write: (bytes) => outgoing.write(bytes),
    close: async () => outgoing.end(),
    abort: (reason) => {
      incoming.fail(reason);
      outgoing.fail(new Error('connection reset by peer', { cause: reason }));
    },
  });
  return [end('memory:a', back, there), end('memory:b', there, back)];
}
