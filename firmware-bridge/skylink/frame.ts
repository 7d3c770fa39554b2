/**
 * Skylink's frames: `00 COBS(type u8, seq u8, body, CRC-32C u32le) 00`. COBS (Cheshire and Baker, "Consistent Overhead
 * Byte Stuffing", IEEE/ACM Transactions on Networking, 1999) leaves no zero byte inside, so whatever was lost or added, the
 * next zero byte is a place to begin again. Sans I/O.
 */

import { peerError } from '../../agent/base/errors.ts';
import { crc32c } from './crc32c.ts';

/** Bytes around a body in a frame's content: type, sequence number, CRC-32C. */
export const CONTENT_OVERHEAD = 6;
/** The largest content (type, sequence number, body, CRC; before COBS) that either side may announce or send. */
export const LARGEST_CONTENT = 4106;

export interface Frame {
  readonly type: number;
  /** 1 to 255 names the question that a frame asks or answers; 0 is what a device says unasked. */
  readonly seq: number;
  readonly body: Uint8Array;
}

/** The bytes of a frame on the line, with its zero byte at both ends. */
export function encodeFrame({ type, seq, body }: Frame): Uint8Array {
  const content = new Uint8Array(body.length + CONTENT_OVERHEAD);
  content[0] = type;
  content[1] = seq;
  content.set(body, 2);
  new DataView(content.buffer).setUint32(
    content.length - 4,
    crc32c(content.subarray(0, content.length - 4)),
    true,
  );
  const stuffed = encodeCobs(content);
  const line = new Uint8Array(stuffed.length + 2);
  line.set(stuffed, 1);
  return line;
}

/** Bytes that a frame with a body of `bodyLength` takes on the line, at most. */
export function frameLength(bodyLength: number): number {
  const content = bodyLength + CONTENT_OVERHEAD;
  return content + Math.floor(content / 254) + 1 + 2;
}

/** Without the delimiters; empty bytes become one byte, 01. */
export function encodeCobs(bytes: Uint8Array): Uint8Array {
  const stuffed = new Uint8Array(bytes.length + Math.floor(bytes.length / 254) + 1);
  let code = 0;
  let write = 1;
  for (let read = 0; read < bytes.length; read++) {
    const byte = bytes[read]!;
    if (byte !== 0) stuffed[write++] = byte;
    const run = write - code;
    // A full block of 254 bytes implies no zero; one that ends exactly with the input needs no successor.
    if (byte === 0 || (run === 255 && read + 1 < bytes.length)) {
      stuffed[code] = run;
      code = write++;
    }
  }
  stuffed[code] = write - code;
  return stuffed.subarray(0, write);
}

/** @throws SkylarkError `skylink.cobs` when a block runs past the end or a zero byte stands inside. */
export function decodeCobs(stuffed: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(stuffed.length);
  let write = 0;
  for (let read = 0; read < stuffed.length; ) {
    const run = stuffed[read++]!;
    const end = read + run - 1;
    if (run === 0 || end > stuffed.length) throw peerError('skylink.cobs', 'the byte stuffing is broken');
    while (read < end) {
      const byte = stuffed[read++]!;
      if (byte === 0) throw peerError('skylink.cobs', 'the byte stuffing is broken');
      bytes[write++] = byte;
    }
    if (run < 255 && read < stuffed.length) bytes[write++] = 0;
  }
  return bytes.subarray(0, write);
}

/**
 * Finds frames in whatever comes down the line, in pieces of any length. What is not a frame (noise, a boot loader's
 * greeting, half a frame) is counted and skipped; memory stays within one frame.
 */
export class FrameDecoder {
  readonly #segment: Uint8Array;
  #length = 0;
  #overflowed = false;
  #damaged = 0;
  #noise = 0;

  /** @param largestContent longer frames are skipped like noise. */
  constructor(largestContent: number = LARGEST_CONTENT) {
    this.#segment = new Uint8Array(frameLength(largestContent - CONTENT_OVERHEAD));
  }

  /** Pieces between zero bytes that were no valid frame. */
  get damaged(): number {
    return this.#damaged;
  }

  /** Bytes in them. */
  get noise(): number {
    return this.#noise;
  }

  /** Whether a frame has begun and not ended: then more bytes are to be expected soon. */
  get inside(): boolean {
    return this.#length > 0 || this.#overflowed;
  }

  /** The frames that these bytes complete. Never throws. */
  push(bytes: Uint8Array): Frame[] {
    const frames: Frame[] = [];
    for (let start = 0; start < bytes.length; ) {
      const zero = bytes.indexOf(0, start);
      const end = zero === -1 ? bytes.length : zero;
      this.#collect(bytes.subarray(start, end));
      if (zero === -1) break;
      const frame = this.#finish();
      if (frame !== undefined) frames.push(frame);
      start = zero + 1;
    }
    return frames;
  }

  #collect(piece: Uint8Array): void {
    if (this.#overflowed || this.#length + piece.length > this.#segment.length) {
      this.#noise += piece.length + this.#length;
      this.#length = 0;
      this.#overflowed = true;
      return;
    }
    this.#segment.set(piece, this.#length);
    this.#length += piece.length;
  }

  #finish(): Frame | undefined {
    const length = this.#length;
    const overflowed = this.#overflowed;
    this.#length = 0;
    this.#overflowed = false;
    if (overflowed) this.#damaged += 1;
    if (overflowed || length === 0) return undefined;
    const frame = parseContent(this.#segment.subarray(0, length));
    if (frame === undefined) {
      this.#damaged += 1;
      this.#noise += length;
    }
    return frame;
  }
}

function parseContent(stuffed: Uint8Array): Frame | undefined {
  let content: Uint8Array;
  try {
    content = decodeCobs(stuffed);
  } catch {
    return undefined;
  }
  if (content.length < CONTENT_OVERHEAD) return undefined;
  const checked = content.subarray(0, content.length - 4);
  const crc = new DataView(content.buffer, content.byteOffset + checked.length, 4).getUint32(0, true);
  if (crc32c(checked) !== crc) return undefined;
  return { type: content[0]!, seq: content[1]!, body: content.subarray(2, content.length - 4) };
}
