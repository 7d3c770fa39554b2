/** Reading the payloads of messages: into memory, or into the file of contents in the making. */

import { concatBytes } from '../base/bytes.ts';
import { peerError } from '../base/errors.ts';
import type { Payload } from '../wire/message-stream.ts';
import type { Partial } from './partials.ts';

/** Pieces are joined up to this length before they are written. */
const WRITE = 65_536;

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
  const first = await payload.read();
  if (first === null) return length === 0 ? new Uint8Array(0) : undefined;
  heard(first.length);
  // Nearly always there is just one piece, which then need not be copied.
  if (first.length === length && (await payload.read()) === null) return first;
  const bytes = new Uint8Array(length);
  let filled = 0;
  for (let piece: Uint8Array | null = first; piece !== null; piece = await payload.read()) {
    if (filled > 0) heard(piece.length);
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
  partial: Partial,
  offset: number,
  length: number,
  heard: (bytes: number) => void,
): Promise<boolean> {
  let received = 0;
  let written = 0;
  let waiting: Uint8Array[] = [];
  const flush = async () => {
    const [first, ...others] = waiting;
    waiting = [];
    if (first === undefined) return;
    const bytes = others.length === 0 ? first : concatBytes(first, ...others);
    await partial.write(bytes, offset + written);
    written += bytes.length;
  };
  for (let piece = await payload.read(); piece !== null; piece = await payload.read()) {
    heard(piece.length);
    received += piece.length;
    if (received > length) throw tooMuch();
    waiting.push(piece);
    if (received - written >= WRITE) await flush();
  }
  await flush();
  return received === length;
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
