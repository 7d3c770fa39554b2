/** TLS's presentation language (RFC 5246, 4): big-endian integers and vectors with a length in front. */

import { concatBytes } from '../../base/bytes.ts';
import { internalError } from '../../base/errors.ts';
import { ALERT, TlsError } from './alert.ts';

/** Reads one message; every step is checked against what is left. */
export class Reader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get atEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  u8(): number {
    return this.bytes(1)[0]!;
  }

  u16(): number {
    const [high, low] = this.bytes(2);
    return (high! << 8) | low!;
  }

  /** A view of exactly `length` bytes. */
  bytes(length: number): Uint8Array {
    if (length > this.#bytes.length - this.#at) throw malformed('a TLS message is cut short');
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  /** opaque<atLeast..atMost> with a one-byte length; atMost is at most 255. */
  vector8(atLeast: number, atMost: number): Uint8Array {
    return this.#vector(this.u8(), atLeast, atMost);
  }

  /** opaque<atLeast..atMost> with a two-byte length; atMost is at most 65535. */
  vector16(atLeast: number, atMost: number): Uint8Array {
    return this.#vector(this.u16(), atLeast, atMost);
  }

  /** Nothing may be left. */
  end(): void {
    if (!this.atEnd) throw malformed('a TLS message has bytes left over');
  }

  #vector(length: number, atLeast: number, atMost: number): Uint8Array {
    if (length < atLeast || length > atMost)
      throw malformed(`a TLS vector has ${length} bytes, not ${atLeast} to ${atMost}`);
    return this.bytes(length);
  }
}

export function malformed(message: string): TlsError {
  return new TlsError(ALERT.decodeError, 'tls.malformed', message);
}

export function u8(value: number): Uint8Array {
  return Uint8Array.of(value);
}

export function u16(value: number): Uint8Array {
  return Uint8Array.of(value >> 8, value);
}

export function vector8(...parts: readonly Uint8Array[]): Uint8Array {
  const content = concatBytes(...parts);
  if (content.length > 0xff) throw internalError('tls.vector_length', 'a TLS vector is too long');
  return concatBytes(u8(content.length), content);
}

export function vector16(...parts: readonly Uint8Array[]): Uint8Array {
  const content = concatBytes(...parts);
  if (content.length > 0xffff) throw internalError('tls.vector_length', 'a TLS vector is too long');
  return concatBytes(u16(content.length), content);
}
