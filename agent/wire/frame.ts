/**
 * The framing of ClearSkies messages (core.md, "Wire Protocol"; docs/protocol.md, section 1), sans-I/O.
 *
 *     message   = prefix length [":" length] body [signature] [payload]
 *     prefix    = "m" (body) | "!" (body, payload) | "s" (body, signature) | "$" (body, signature, payload)
 *     length    = 1 to 8 decimal digits
 *     payload   = *(length LF bytes) "0" LF
 *
 * The header ends where the body's "{" begins; lengths count bytes. Any number of LFs may stand between elements.
 */

import { concatBytes, fromUtf8, utf8 } from '../base/bytes.ts';
import { peerError } from '../base/errors.ts';

/** Largest body and largest chunk of a payload, bytes. */
export const MAX_BODY = 16_777_216;
export const MAX_CHUNK = 16_777_216;
/** Longest signature, base64 characters: RSA-4096 needs 684. */
const MAX_SIGNATURE = 1_024;
const MAX_DIGITS = 8;

export type FrameEvent =
  | {
      readonly kind: 'message';
      /** The exact bytes of the body: what a signature covers. */
      readonly body: Uint8Array;
      /** Base64 text. */
      readonly signature: string | undefined;
      /** True: `payload` events and one `payload-end` follow. */
      readonly hasPayload: boolean;
    }
  | { readonly kind: 'payload'; readonly bytes: Uint8Array }
  | { readonly kind: 'payload-end' };

const LF = 0x0a;
const COLON = 0x3a;
const BRACE = 0x7b;

type State =
  | { readonly at: 'prefix' }
  | { readonly at: 'body-length' }
  | { readonly at: 'signature-length'; readonly bodyLength: number }
  | { readonly at: 'body'; readonly signatureLength: number }
  | { readonly at: 'signature'; readonly body: Uint8Array }
  | { readonly at: 'chunk-length' }
  | { readonly at: 'chunk'; readonly left: number };

export interface FrameLimits {
  /** Largest body that is accepted, bytes; at most `MAX_BODY`. */
  readonly maxBody?: number;
}

/**
 * Turns bytes, cut anywhere, into frame events. Buffers at most one header, body and signature; payload bytes are
 * handed on as they come, without a copy. After an error the decoder is of no further use.
 */
export class FrameDecoder {
  readonly #maxBody: number;
  #state: State = { at: 'prefix' };
  #signed = false;
  #hasPayload = false;
  #digits = '';
  #input: Uint8Array = new Uint8Array(0);
  #offset = 0;
  #element: Uint8Array = new Uint8Array(0);
  #filled = 0;
  #expected = 0;

  constructor(limits: FrameLimits = {}) {
    this.#maxBody = Math.min(limits.maxBody ?? MAX_BODY, MAX_BODY);
  }

  /** Gives the decoder more input. Call only when `next` has returned undefined. */
  push(bytes: Uint8Array): void {
    this.#input = bytes;
    this.#offset = 0;
  }

  /** True where the stream may end: between two messages. */
  get betweenMessages(): boolean {
    return this.#state.at === 'prefix';
  }

  /**
   * The next event, or undefined when more input is needed.
   * @throws SkylarkError (peer) `wire.prefix_unknown`, `wire.length_malformed`, `wire.too_large`, `wire.body_malformed`.
   */
  next(): FrameEvent | undefined {
    while (this.#offset < this.#input.length) {
      const event = this.#step();
      if (event !== undefined) return event;
    }
    return undefined;
  }

  #step(): FrameEvent | undefined {
    const state = this.#state;
    switch (state.at) {
      case 'prefix':
        return this.#prefix();
      case 'body-length':
        return this.#bodyLength();
      case 'signature-length':
        return this.#signatureLength(state.bodyLength);
      case 'body': {
        const body = this.#fill();
        if (body === undefined) return undefined;
        if (state.signatureLength === 0) return this.#message(body, undefined);
        this.#state = { at: 'signature', body };
        this.#expect(state.signatureLength);
        return undefined;
      }
      case 'signature': {
        if (this.#filled === 0 && this.#skipLineFeeds()) return undefined;
        const signature = this.#fill();
        return signature === undefined ? undefined : this.#message(state.body, fromUtf8(signature));
      }
      case 'chunk-length':
        return this.#chunkLength();
      case 'chunk':
        return this.#chunk(state.left);
    }
  }

  #prefix(): undefined {
    if (this.#skipLineFeeds()) return undefined;
    const prefix = String.fromCharCode(this.#input[this.#offset]!);
    if (!'m!s$'.includes(prefix)) {
      throw peerError('wire.prefix_unknown', 'a message starts with a byte that is not m, !, s or $');
    }
    this.#offset += 1;
    this.#signed = prefix === 's' || prefix === '$';
    this.#hasPayload = prefix === '!' || prefix === '$';
    this.#digits = '';
    this.#state = { at: 'body-length' };
    return undefined;
  }

  #bodyLength(): undefined {
    const end = this.#number(this.#signed ? COLON : BRACE);
    if (end === undefined) return undefined;
    if (end > this.#maxBody) {
      throw peerError(
        'wire.too_large',
        `a message announces ${end} bytes; at most ${this.#maxBody} are accepted`,
      );
    }
    if (end === 0) throw peerError('wire.body_malformed', 'a message has an empty body');
    if (this.#signed) {
      this.#offset += 1;
      this.#state = { at: 'signature-length', bodyLength: end };
    } else {
      this.#state = { at: 'body', signatureLength: 0 };
      this.#expect(end);
    }
    return undefined;
  }

  #signatureLength(bodyLength: number): undefined {
    const length = this.#number(BRACE);
    if (length === undefined) return undefined;
    if (length === 0 || length > MAX_SIGNATURE) {
      throw peerError(
        'wire.too_large',
        `a signature of ${length} characters; 1 to ${MAX_SIGNATURE} are accepted`,
      );
    }
    this.#state = { at: 'body', signatureLength: length };
    this.#expect(bodyLength);
    return undefined;
  }

  #chunkLength(): FrameEvent | undefined {
    if (this.#digits === '' && this.#skipLineFeeds()) return undefined;
    const length = this.#number(LF);
    if (length === undefined) return undefined;
    this.#offset += 1;
    if (length > MAX_CHUNK) {
      throw peerError(
        'wire.too_large',
        `a chunk announces ${length} bytes; at most ${MAX_CHUNK} are accepted`,
      );
    }
    if (length === 0) {
      this.#state = { at: 'prefix' };
      return { kind: 'payload-end' };
    }
    this.#state = { at: 'chunk', left: length };
    return undefined;
  }

  #chunk(left: number): FrameEvent {
    const bytes = this.#input.subarray(this.#offset, this.#offset + left);
    this.#offset += bytes.length;
    this.#state = bytes.length === left ? { at: 'chunk-length' } : { at: 'chunk', left: left - bytes.length };
    return { kind: 'payload', bytes };
  }

  #message(body: Uint8Array, signature: string | undefined): FrameEvent {
    this.#state = this.#hasPayload ? { at: 'chunk-length' } : { at: 'prefix' };
    return { kind: 'message', body, signature, hasPayload: this.#hasPayload };
  }

  /** Reads digits up to `terminator`, which is not consumed; undefined while more input is needed. */
  #number(terminator: number): number | undefined {
    for (; this.#offset < this.#input.length; this.#offset++) {
      const byte = this.#input[this.#offset]!;
      if (byte === terminator && this.#digits !== '') {
        const value = Number(this.#digits);
        this.#digits = '';
        return value;
      }
      if (byte < 0x30 || byte > 0x39 || this.#digits.length === MAX_DIGITS) {
        throw peerError('wire.length_malformed', `a length is not 1 to ${MAX_DIGITS} decimal digits`);
      }
      this.#digits += String.fromCharCode(byte);
    }
    return undefined;
  }

  /** True if input ended inside a run of line feeds, or it was empty. */
  #skipLineFeeds(): boolean {
    while (this.#offset < this.#input.length && this.#input[this.#offset] === LF) this.#offset += 1;
    return this.#offset === this.#input.length;
  }

  #expect(length: number): void {
    // Grown as bytes arrive: an announced length alone costs the receiver no memory.
    this.#element = new Uint8Array(Math.min(length, 4_096));
    this.#filled = 0;
    this.#expected = length;
  }

  #fill(): Uint8Array | undefined {
    const piece = this.#input.subarray(this.#offset, this.#offset + this.#expected - this.#filled);
    this.#offset += piece.length;
    const needed = this.#filled + piece.length;
    if (needed > this.#element.length) {
      const grown = new Uint8Array(Math.min(this.#expected, Math.max(needed, this.#element.length * 2)));
      grown.set(this.#element.subarray(0, this.#filled));
      this.#element = grown;
    }
    this.#element.set(piece, this.#filled);
    this.#filled = needed;
    if (needed < this.#expected) return undefined;
    const whole = this.#element.subarray(0, needed);
    this.#element = new Uint8Array(0);
    this.#filled = 0;
    return whole;
  }
}

const LINE_FEED = Uint8Array.of(LF);
const PAYLOAD_END = utf8('0\n');

/** The body that is sent and signed: the JSON text and one LF, which the length counts. */
export function encodeBody(json: string): Uint8Array {
  return utf8(`${json}\n`);
}

/**
 * Header, body and signature of a message.
 * @param body as `encodeBody` made it, or as it was received
 * @param signature base64 text
 */
export function encodeMessage(
  body: Uint8Array,
  signature: string | undefined,
  hasPayload: boolean,
): Uint8Array {
  if (body.length > MAX_BODY) throw new RangeError(`a body of ${body.length} bytes can't be sent`);
  if (signature === undefined) return concatBytes(utf8(`${hasPayload ? '!' : 'm'}${body.length}`), body);
  const header = utf8(`${hasPayload ? '$' : 's'}${body.length}:${signature.length}`);
  return concatBytes(header, body, utf8(signature), LINE_FEED);
}

/** What goes before the bytes of one chunk of a payload: 1 to `MAX_CHUNK` bytes. */
export function encodeChunkHeader(length: number): Uint8Array {
  if (length < 1 || length > MAX_CHUNK) throw new RangeError(`a chunk of ${length} bytes can't be sent`);
  return utf8(`${length}\n`);
}

/** What ends a payload. */
export function encodePayloadEnd(): Uint8Array {
  return PAYLOAD_END;
}
