/** Reading the payloads of messages: into memory, or into the file of contents in the making. */

import { release } from '../base/bytes.ts';
import { peerError } from '../base/errors.ts';
import type { Payload } from '../wire/message-stream.ts';
import type { Partial } from './partials.ts';

/** Pieces are joined up to this length before they are written. */
const BLOCK = 262_144;

/**
 * The whole payload, which must be `length` bytes; undefined if it is shorter.
 * @param heard told of every piece
 * @throws SkylarkError (peer) `directory.too_much_data` if it is longer.
 */
export async function readBytes(
  payload: Payload,
  length: number,
  heard: (bytes: number) => void,
): Promise<Uint8Array | undefined> {
  const bytes = new Uint8Array(length);
  let filled = 0;
  for (let piece = await payload.read(); piece !== null; piece = await payload.read()) {
    heard(piece.length);
    if (piece.length > length - filled) throw tooMuch();
    bytes.set(piece, filled);
    filled += piece.length;
  }
  return filled === length ? bytes : undefined;
}

/**
 * Writes the payload into the file; false if it is shorter than `length`.
 * @throws SkylarkError (peer) `directory.too_much_data` if it is longer; (environment) `files.*`.
 */
export async function writeBytes(
  payload: Payload,
  partial: Pick<Partial, 'write'>,
  offset: number,
  length: number,
  heard: (bytes: number) => void,
): Promise<boolean> {
  const writer = new BlockWriter(partial, offset, Math.min(length, BLOCK));
  let received = 0;
  for (let piece = await payload.read(); piece !== null; piece = await payload.read()) {
    heard(piece.length);
    received += piece.length;
    if (received > length) throw tooMuch();
    await writer.add(piece);
  }
  await writer.end();
  return received === length;
}

/** Joins pieces to blocks: while one block is on its way into the file, the next one is filled. */
class BlockWriter {
  readonly #partial: Pick<Partial, 'write'>;
  #position: number;
  #block: Uint8Array;
  #filled = 0;
  #written: Uint8Array | undefined;
  #writing: Promise<void> = Promise.resolve();

  constructor(partial: Pick<Partial, 'write'>, position: number, blockLength: number) {
    this.#partial = partial;
    this.#position = position;
    this.#block = new Uint8Array(blockLength);
  }

  /** Has copied the piece when it resolves. @throws what the write before this one ran into. */
  async add(piece: Uint8Array): Promise<void> {
    for (let taken = 0; taken < piece.length; ) {
      const part = piece.subarray(taken, taken + this.#block.length - this.#filled);
      this.#block.set(part, this.#filled);
      this.#filled += part.length;
      taken += part.length;
      if (this.#filled === this.#block.length) await this.#write();
    }
  }

  /** Resolves when everything is written. */
  async end(): Promise<void> {
    if (this.#filled > 0) await this.#write();
    await this.#writing;
    release(this.#block);
    if (this.#written !== undefined) release(this.#written);
  }

  async #write(): Promise<void> {
    await this.#writing;
    const full = this.#block;
    this.#block = this.#written ?? new Uint8Array(full.length);
    this.#written = full;
    this.#writing = this.#partial.write(full.subarray(0, this.#filled), this.#position);
    // Whoever waits for it next hears of it.
    this.#writing.catch(() => {});
    this.#position += this.#filled;
    this.#filled = 0;
  }
}

/**
 * A Bloom filter: at most MAX_FILTER bytes, which the message stream sees to. Copied as it comes: kept as pieces, a filter
 * in chunks of one byte would take a hundred times its size.
 */
export async function readFilter(payload: Payload | undefined): Promise<Uint8Array> {
  let filter = new Uint8Array(0);
  let filled = 0;
  for (let piece = await payload?.read(); piece; piece = await payload?.read()) {
    if (filled + piece.length > filter.length) {
      const grown = new Uint8Array(Math.max(filled + piece.length, 2 * filter.length));
      grown.set(filter.subarray(0, filled));
      filter = grown;
    }
    filter.set(piece, filled);
    filled += piece.length;
  }
  return filter.subarray(0, filled);
}

function tooMuch() {
  return peerError('directory.too_much_data', 'a peer sent more of a file than it was asked for');
}
