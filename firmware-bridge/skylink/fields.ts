/**
 * How Skylink's messages are declared: a type byte and fixed fields in order, little-endian. A field that a newer sender
 * appended is ignored; one that is missing makes the message malformed. Sans I/O.
 */

import { utf8 } from '../../agent/base/bytes.ts';
import { internalError, peerError } from '../../agent/base/errors.ts';

export interface Field<T> {
  /** Reads one value at the cursor and moves on. @throws SkylarkError (peer) `skylink.message_short`. */
  read(cursor: Cursor): T;
  /** @throws SkylarkError (internal) `skylink.value` for a value that the field can't hold. */
  write(out: Writer, value: T): void;
}

export type Fields = Readonly<
  Record<string, Field<never> | Field<number> | Field<string> | Field<Uint8Array>>
>;
export type ValueOf<F> = { readonly [K in keyof F]: F[K] extends Field<infer T> ? T : never };

export interface MessageSpec<T> {
  readonly type: number;
  readonly name: string;
  readonly decode: (body: Uint8Array) => T;
  readonly encode: (value: T) => Uint8Array;
}

export type MessageOf<S> = S extends MessageSpec<infer T> ? T : never;

class Cursor {
  readonly #body: Uint8Array;
  #offset = 0;

  constructor(body: Uint8Array) {
    this.#body = body;
  }

  take(length: number): Uint8Array {
    if (this.#offset + length > this.#body.length) {
      throw peerError('skylink.message_short', 'the message ends before its last field');
    }
    this.#offset += length;
    return this.#body.subarray(this.#offset - length, this.#offset);
  }

  rest(): Uint8Array {
    return this.take(this.#body.length - this.#offset);
  }
}

class Writer {
  #bytes = new Uint8Array(64);
  #length = 0;

  byte(value: number): void {
    this.#reserve(1);
    this.#bytes[this.#length++] = value;
  }

  append(value: Uint8Array): void {
    this.#reserve(value.length);
    this.#bytes.set(value, this.#length);
    this.#length += value.length;
  }

  finish(): Uint8Array {
    return this.#bytes.slice(0, this.#length);
  }

  #reserve(length: number): void {
    if (this.#length + length <= this.#bytes.length) return;
    const larger = new Uint8Array(2 * this.#bytes.length + length);
    larger.set(this.#bytes);
    this.#bytes = larger;
  }
}

/** Little-endian, two's complement where signed. */
function integer(length: 1 | 2 | 4, signed = false): Field<number> {
  const values = 2 ** (8 * length);
  const [min, max] = signed ? [-values / 2, values / 2 - 1] : [0, values - 1];
  return {
    read(cursor) {
      let value = 0;
      for (const byte of cursor.take(length).toReversed()) value = value * 256 + byte;
      return value > max ? value - values : value;
    },
    write(out, value) {
      if (!Number.isInteger(value) || value < min || value > max) {
        throw internalError('skylink.value', `${value} is not an integer from ${min} to ${max}`);
      }
      for (
        let i = 0, left = value < 0 ? value + values : value;
        i < length;
        i++, left = Math.floor(left / 256)
      ) {
        out.byte(left % 256);
      }
    },
  };
}

export const u8 = integer(1);
export const u16 = integer(2);
export const u32 = integer(4);
export const i16 = integer(2, true);

/** Length (u8), then so many bytes. */
export const bytes: Field<Uint8Array> = {
  read: (cursor) => cursor.take(cursor.take(1)[0]!).slice(),
  write(out, value) {
    if (value.length > 255) throw internalError('skylink.value', 'more than 255 bytes in a field');
    out.byte(value.length);
    out.append(value);
  },
};

const lossyDecoder = new TextDecoder('utf-8', { ignoreBOM: true });

/** Length in bytes (u8), then UTF-8. What is not UTF-8 is read as U+FFFD: devices store whatever they were given. */
export const text: Field<string> = {
  read: (cursor) => lossyDecoder.decode(bytes.read(cursor)),
  write: (out, value) => bytes.write(out, utf8(value)),
};

/** All bytes up to the end of the message; only as the last field. */
export const rest: Field<Uint8Array> = {
  read: (cursor) => cursor.rest().slice(),
  write: (out, value) => out.append(value),
};

/** Declares a message. */
export function message<const F extends Fields>(
  type: number,
  name: string,
  fields: F,
): MessageSpec<ValueOf<F>> {
  const entries = Object.entries(fields) as [string, Field<unknown>][];
  return {
    type,
    name,
    decode(body) {
      const cursor = new Cursor(body);
      return Object.fromEntries(entries.map(([key, field]) => [key, field.read(cursor)])) as ValueOf<F>;
    },
    encode(value) {
      const out = new Writer();
      for (const [key, field] of entries) field.write(out, value[key as keyof F]);
      return out.finish();
    },
  };
}
