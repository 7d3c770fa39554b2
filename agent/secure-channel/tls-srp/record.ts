/** The record layer's outer form (RFC 5246, 6.2): type, version, length, body. Without I/O. */

import { ALERT, TlsError } from './alert.ts';

export const CONTENT = {
  changeCipherSpec: 20,
  alert: 21,
  handshake: 22,
  applicationData: 23,
} as const;

export type ContentType = (typeof CONTENT)[keyof typeof CONTENT];

export const HEADER_BYTES = 5;
/** The most content that one record carries: RFC 5246, 6.2.1. */
export const MAX_CONTENT_BYTES = 16_384;
/** RFC 5246, 6.2.3: what protection may add. */
const MAX_EXPANSION = 2048;
export const MAX_BODY_BYTES = MAX_CONTENT_BYTES + MAX_EXPANSION;

export interface TlsRecord {
  readonly type: ContentType;
  /** A view, good until the next call of `next` or `push`. */
  readonly body: Uint8Array;
}

export function writeHeader(out: Uint8Array, offset: number, type: ContentType, length: number): void {
  out[offset] = type;
  out[offset + 1] = 3;
  out[offset + 2] = 3;
  out[offset + 3] = length >> 8;
  out[offset + 4] = length;
}

/** A record without protection. */
export function plainRecord(type: ContentType, content: Uint8Array): Uint8Array {
  const record = new Uint8Array(HEADER_BYTES + content.length);
  writeHeader(record, 0, type, content.length);
  record.set(content, HEADER_BYTES);
  return record;
}

/**
 * Cuts the stream into records. A record that lies whole in one chunk is not copied; of one that straddles chunks, at
 * most one record's bytes are kept.
 */
export class RecordDeframer {
  #chunk: Uint8Array = new Uint8Array(0);
  #at = 0;
  #partial: Uint8Array | undefined;
  #partialLength = 0;

  /** Only after `next` has returned undefined. */
  push(chunk: Uint8Array): void {
    this.#chunk = chunk;
    this.#at = 0;
  }

  /**
   * The next whole record, or undefined until more is pushed. A header is judged as soon as it is complete.
   * @param isProtected whether bodies are encrypted: then they may be longer, and the version must be 1.2.
   * @param wanted leaves a record of another type where it is, and returns undefined
   */
  next(isProtected: boolean, wanted?: ContentType): TlsRecord | undefined {
    if (this.#partialLength > 0) return this.#finishPartial(isProtected, wanted);
    const available = this.#chunk.length - this.#at;
    if (available >= HEADER_BYTES) {
      const header = decodeHeader(this.#chunk, this.#at, isProtected);
      if (wanted !== undefined && header.type !== wanted) return undefined;
      const end = this.#at + HEADER_BYTES + header.length;
      if (end <= this.#chunk.length) {
        const body = this.#chunk.subarray(this.#at + HEADER_BYTES, end);
        this.#at = end;
        return { type: header.type, body };
      }
    }
    if (available > 0) this.#keep(available);
    return undefined;
  }

  #finishPartial(isProtected: boolean, wanted: ContentType | undefined): TlsRecord | undefined {
    if (this.#keep(HEADER_BYTES - this.#partialLength) < HEADER_BYTES) return undefined;
    const partial = this.#partial!;
    const header = decodeHeader(partial, 0, isProtected);
    if (wanted !== undefined && header.type !== wanted) return undefined;
    const whole = HEADER_BYTES + header.length;
    if (this.#keep(whole - this.#partialLength) < whole) return undefined;
    this.#partialLength = 0;
    return { type: header.type, body: partial.subarray(HEADER_BYTES, whole) };
  }

  /** Moves up to `count` bytes of the chunk behind the unfinished record; returns that record's length so far. */
  #keep(count: number): number {
    if (count > 0) {
      this.#partial ??= new Uint8Array(HEADER_BYTES + MAX_BODY_BYTES);
      const taken = this.#chunk.subarray(this.#at, this.#at + count);
      this.#partial.set(taken, this.#partialLength);
      this.#partialLength += taken.length;
      this.#at += taken.length;
    }
    return this.#partialLength;
  }
}

function decodeHeader(
  bytes: Uint8Array,
  at: number,
  isProtected: boolean,
): { readonly type: ContentType; readonly length: number } {
  const type = bytes[at]!;
  if (!isContentType(type))
    throw new TlsError(
      ALERT.unexpectedMessage,
      'tls.record_type',
      `a TLS record has the unknown type ${type}`,
    );
  // Before the version is agreed on, any 3.x may stand here (RFC 5246, E.1).
  if (bytes[at + 1] !== 3 || (isProtected && bytes[at + 2] !== 3))
    throw new TlsError(ALERT.protocolVersion, 'tls.record_version', 'a TLS record has the wrong version');
  const length = (bytes[at + 3]! << 8) | bytes[at + 4]!;
  if (length > (isProtected ? MAX_BODY_BYTES : MAX_CONTENT_BYTES))
    throw new TlsError(ALERT.recordOverflow, 'tls.record_overflow', `a TLS record has ${length} bytes`);
  return { type, length };
}

function isContentType(type: number): type is ContentType {
  return type >= CONTENT.changeCipherSpec && type <= CONTENT.applicationData;
}
