/**
 * Shapes of JSON from outside, declared once: the declaration gives the TypeScript type, the decoder with its limits,
 * and the encoder. Names on the wire (snake_case) appear only in the declarations.
 */

import { peerError } from './errors.ts';
import { isJsonObject, type Json, type JsonObject, jsonObject } from './json.ts';
import { parseTimestamp } from './timestamp.ts';

export interface Schema<T> {
  /** @throws SkylarkError (peer) `schema.mismatch`, naming the path of the part that does not fit. */
  decode(json: Json, path?: string): T;
  encode(value: T): Json;
}

export type Infer<S> = S extends Schema<infer T> ? T : never;

/** 2^63 - 1, the largest integer of the protocol. */
export const MAX_U63 = 9_223_372_036_854_775_807n;

function mismatch(path: string, expected: string) {
  return peerError('schema.mismatch', `${path || 'the value'} is not ${expected}`);
}

function simple<T extends Json>(expected: string, fits: (json: Json) => json is T): Schema<T> {
  return {
    decode(json, path = '') {
      if (!fits(json)) throw mismatch(path, expected);
      return json;
    },
    encode: (value) => value,
  };
}

export const flag: Schema<boolean> = simple('true or false', (json) => typeof json === 'boolean');

export const anyJson: Schema<Json> = { decode: (json) => json, encode: (value) => value };

/** A string of `min` to `max` UTF-16 code units without lone surrogates (they have no UTF-8 form). */
export function text(limits: { readonly max: number; readonly min?: number }): Schema<string> {
  const min = limits.min ?? 0;
  return simple(
    `a text of ${min} to ${limits.max} characters`,
    (json): json is string =>
      typeof json === 'string' && json.length >= min && json.length <= limits.max && json.isWellFormed(),
  );
}

/** Exactly `bytes` bytes as lower-case hexadecimal. */
export function hex(bytes: number): Schema<string> {
  const pattern = new RegExp(`^[0-9a-f]{${2 * bytes}}$`);
  return simple(
    `${2 * bytes} lower-case hexadecimal digits`,
    (json): json is string => typeof json === 'string' && json.length === 2 * bytes && pattern.test(json),
  );
}

/** An unsigned integer up to 2^63 - 1, exact. */
export const u63: Schema<bigint> = {
  decode(json, path = '') {
    if (typeof json === 'number' && Number.isSafeInteger(json) && json >= 0) return BigInt(json);
    if (typeof json === 'bigint' && json >= 0n && json <= MAX_U63) return json;
    throw mismatch(path, 'an integer from 0 to 2^63-1');
  },
  encode: (value) => (value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value),
};

/** A small integer, both limits included. */
export function integer(limits: { readonly min: number; readonly max: number }): Schema<number> {
  return simple(
    `an integer from ${limits.min} to ${limits.max}`,
    (json): json is number =>
      typeof json === 'number' && Number.isSafeInteger(json) && json >= limits.min && json <= limits.max,
  );
}

/** A protocol timestamp, as the exact text. */
export const timestamp: Schema<string> = {
  decode(json, path = '') {
    if (typeof json !== 'string') throw mismatch(path, 'a timestamp');
    try {
      parseTimestamp(json);
    } catch {
      throw mismatch(path, 'a timestamp');
    }
    return json;
  },
  encode: (value) => value,
};

export function literal<const L extends string | number | boolean>(value: L): Schema<L> {
  return simple(JSON.stringify(value), (json): json is L => json === value);
}

export function choice<const L extends string>(...values: readonly L[]): Schema<L> {
  return simple(
    `one of ${values.join(', ')}`,
    (json): json is L => typeof json === 'string' && (values as readonly string[]).includes(json),
  );
}

export function nullable<T>(inner: Schema<T>): Schema<T | null> {
  return {
    decode: (json, path) => (json === null ? null : inner.decode(json, path)),
    encode: (value) => (value === null ? null : inner.encode(value)),
  };
}

/** At most `max` items. */
export function list<T>(item: Schema<T>, limits: { readonly max: number }): Schema<readonly T[]> {
  return {
    decode(json, path = '') {
      if (!Array.isArray(json) || json.length > limits.max) {
        throw mismatch(path, `a list of at most ${limits.max} items`);
      }
      return json.map((element, index) => item.decode(element, `${path}[${index}]`));
    },
    encode: (value) => value.map((element) => item.encode(element)),
  };
}

export function pair<A, B>(first: Schema<A>, second: Schema<B>): Schema<readonly [A, B]> {
  return {
    decode(json, path = '') {
      if (!Array.isArray(json) || json.length !== 2) throw mismatch(path, 'a list of two');
      return [first.decode(json[0], `${path}[0]`), second.decode(json[1], `${path}[1]`)];
    },
    encode: ([a, b]) => [first.encode(a), second.encode(b)],
  };
}

/** An object used as a map, of at most `max` members; in the order of the text. */
export function dictionary<T>(
  key: Schema<string>,
  value: Schema<T>,
  limits: { readonly max: number },
): Schema<ReadonlyMap<string, T>> {
  return {
    decode(json, path = '') {
      if (!isJsonObject(json)) throw mismatch(path, 'an object');
      const keys = Object.keys(json);
      if (keys.length > limits.max) throw mismatch(path, `an object of at most ${limits.max} members`);
      return new Map(
        keys.map((name) => [
          key.decode(name, `${path}: a key`),
          value.decode(json[name]!, `${path}.${name}`),
        ]),
      );
    },
    encode: (map) =>
      jsonObject(
        Array.from(map, ([name, member]) => [String(key.encode(name)), value.encode(member)] as const),
      ),
  };
}

export interface Field<T, Optional extends boolean> {
  readonly wireName: string;
  readonly schema: Schema<T>;
  readonly optional: Optional;
}

/** A member that must be there, and its name on the wire. */
export function field<T>(wireName: string, schema: Schema<T>): Field<T, false> {
  return { wireName, schema, optional: false };
}

/** A member that may be missing. */
export function optionalField<T>(wireName: string, schema: Schema<T>): Field<T, true> {
  return { wireName, schema, optional: true };
}

// biome-ignore lint/suspicious/noExplicitAny: a mapped type over fields of any type; each is typed at its use.
export type Fields = Readonly<Record<string, Field<any, boolean>>>;

type Flatten<T> = { readonly [K in keyof T]: T[K] };
export type ObjectOf<F extends Fields> = Flatten<
  {
    [K in keyof F as F[K]['optional'] extends true ? never : K]: F[K] extends Field<infer T, boolean>
      ? T
      : never;
  } & {
    [K in keyof F as F[K]['optional'] extends true ? K : never]?: F[K] extends Field<infer T, boolean>
      ? T | undefined
      : never;
  }
>;

export interface ObjectSchema<T> extends Schema<T> {
  decode(json: Json, path?: string): T;
  encode(value: T): JsonObject;
}

/** An object with the given members. Unknown members are ignored, as the protocol asks for forward compatibility. */
export function object<const F extends Fields>(fields: F): ObjectSchema<ObjectOf<F>> {
  const entries = Object.entries(fields);
  return {
    decode(json, path = '') {
      if (!isJsonObject(json)) throw mismatch(path, 'an object');
      const value: Record<string, unknown> = {};
      for (const [name, { wireName, schema, optional }] of entries) {
        const memberPath = path === '' ? wireName : `${path}.${wireName}`;
        const member = json[wireName];
        if (member !== undefined) value[name] = schema.decode(member, memberPath);
        else if (!optional) throw peerError('schema.mismatch', `${memberPath} is missing`);
      }
      return value as ObjectOf<F>;
    },
    encode(value) {
      const members: [string, Json][] = [];
      for (const [name, { wireName, schema }] of entries) {
        const member = (value as Record<string, unknown>)[name];
        if (member !== undefined) members.push([wireName, schema.encode(member)]);
      }
      return jsonObject(members);
    },
  };
}
