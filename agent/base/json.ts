/**
 * JSON (RFC 8259) as the protocol needs it: integers exact, duplicate keys refused, depth bounded, no key can reach an
 * object's prototype. What was parsed and written again has the same numbers, whatever JavaScript thinks of them.
 */

import { peerError } from './errors.ts';

/**
 * A parsed value. An integer is a `number` up to 2^53-1 in magnitude and a `bigint` beyond; a literal that neither can
 * hold without changing it (`1e400`, `0.10`) is a `JsonNumber` with its text.
 */
export type Json = null | boolean | number | bigint | string | JsonNumber | readonly Json[] | JsonObject;

export interface JsonObject {
  readonly [key: string]: Json;
}

/** A number literal kept as text, since no JavaScript number prints as it. */
export class JsonNumber {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

export interface JsonLimits {
  /** Arrays and objects inside each other. Default 64. */
  readonly depth?: number;
}

const DEFAULT_DEPTH = 64;
/** Longest number literal; longer ones are an attack on BigInt's quadratic parser. */
const MAX_NUMBER_LENGTH = 400;

/**
 * @throws SkylarkError (peer) `json.malformed`, `json.duplicate_key`, `json.too_deep`.
 */
export function parseJson(text: string, limits: JsonLimits = {}): Json {
  const parser = new Parser(text, limits.depth ?? DEFAULT_DEPTH);
  return parser.whole();
}

export function isJsonObject(value: Json | undefined): value is JsonObject {
  return (
    typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof JsonNumber)
  );
}

/** An object without a prototype, the only kind that `parseJson` makes. */
export function jsonObject(members: Iterable<readonly [string, Json]>): JsonObject {
  const object: Record<string, Json> = Object.create(null);
  for (const [key, value] of members) object[key] = value;
  return object;
}

/** Compact; keys in their order; exact. Members that are undefined are left out. */
export function stringifyJson(value: Json): string {
  return write(value, false);
}

/** Keys in code unit order: two values have equal contents if and only if their canonical texts are equal. */
export function canonicalJson(value: Json): string {
  return write(value, true);
}

function write(value: Json, sorted: boolean): string {
  if (value === null) return 'null';
  switch (typeof value) {
    case 'string':
      return JSON.stringify(value);
    case 'number':
      if (!Number.isFinite(value)) throw new TypeError('JSON has no infinity and no NaN');
      return Object.is(value, -0) ? '-0' : String(value);
    case 'bigint':
    case 'boolean':
      return String(value);
    default:
  }
  if (value instanceof JsonNumber) return value.text;
  if (isArray(value)) return `[${value.map((item) => write(item, sorted)).join(',')}]`;
  const keys = Object.keys(value);
  if (sorted) keys.sort();
  let text = '';
  for (const key of keys) {
    const member = value[key];
    if (member === undefined) continue;
    text += `${text === '' ? '' : ','}${JSON.stringify(key)}:${write(member, sorted)}`;
  }
  return `{${text}}`;
}

/** Array.isArray does not narrow readonly arrays out of a union. */
function isArray(value: Json): value is readonly Json[] {
  return Array.isArray(value);
}

const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
/** A run of a string that needs no decoding: no quote, no backslash, no control character (RFC 8259, section 7). */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are exactly what must end the run.
const PLAIN = /[^"\\\u0000-\u001f]*/y;
const HEX4 = /[0-9a-fA-F]{4}/y;
const ESCAPES: Readonly<Record<string, string>> = {
  '"': '"',
  '\\': '\\',
  '/': '/',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
};

class Parser {
  readonly #text: string;
  readonly #depthLimit: number;
  #at = 0;
  #depth = 0;

  constructor(text: string, depthLimit: number) {
    this.#text = text;
    this.#depthLimit = depthLimit;
  }

  whole(): Json {
    const value = this.#value();
    this.#space();
    if (this.#at !== this.#text.length) throw this.#malformed('text after the value');
    return value;
  }

  #value(): Json {
    this.#space();
    switch (this.#text[this.#at]) {
      case '{':
        return this.#nested(() => this.#object());
      case '[':
        return this.#nested(() => this.#array());
      case '"':
        return this.#string();
      case 't':
        return this.#word('true', true);
      case 'f':
        return this.#word('false', false);
      case 'n':
        return this.#word('null', null);
      default:
        return this.#number();
    }
  }

  #nested<T>(parse: () => T): T {
    this.#depth += 1;
    if (this.#depth > this.#depthLimit) {
      throw peerError('json.too_deep', `the JSON is nested deeper than ${this.#depthLimit} levels`);
    }
    this.#at += 1;
    const value = parse();
    this.#depth -= 1;
    return value;
  }

  #object(): JsonObject {
    const object: Record<string, Json> = Object.create(null);
    this.#space();
    if (this.#take('}')) return object;
    for (;;) {
      this.#space();
      if (this.#text[this.#at] !== '"') throw this.#malformed('a key was expected');
      const key = this.#string();
      if (key in object) throw peerError('json.duplicate_key', 'the JSON has one key twice in an object');
      this.#space();
      if (!this.#take(':')) throw this.#malformed('a colon was expected');
      object[key] = this.#value();
      this.#space();
      if (this.#take(',')) continue;
      if (this.#take('}')) return object;
      throw this.#malformed('a comma or a closing brace was expected');
    }
  }

  #array(): Json[] {
    const array: Json[] = [];
    this.#space();
    if (this.#take(']')) return array;
    for (;;) {
      array.push(this.#value());
      this.#space();
      if (this.#take(',')) continue;
      if (this.#take(']')) return array;
      throw this.#malformed('a comma or a closing bracket was expected');
    }
  }

  #string(): string {
    this.#at += 1;
    let value = '';
    for (;;) {
      PLAIN.lastIndex = this.#at;
      PLAIN.test(this.#text);
      value += this.#text.slice(this.#at, PLAIN.lastIndex);
      this.#at = PLAIN.lastIndex;
      if (this.#take('"')) return value;
      if (!this.#take('\\')) throw this.#malformed('a string is not closed or has a control character');
      const letter = this.#text[this.#at] ?? '';
      this.#at += 1;
      if (letter === 'u') {
        HEX4.lastIndex = this.#at;
        if (!HEX4.test(this.#text)) throw this.#malformed('a \\u escape is malformed');
        value += String.fromCharCode(Number.parseInt(this.#text.slice(this.#at, this.#at + 4), 16));
        this.#at += 4;
      } else {
        const plain = Object.hasOwn(ESCAPES, letter) ? ESCAPES[letter] : undefined;
        if (plain === undefined) throw this.#malformed('an unknown escape');
        value += plain;
      }
    }
  }

  #number(): number | bigint | JsonNumber {
    NUMBER.lastIndex = this.#at;
    if (!NUMBER.test(this.#text)) throw this.#malformed('a value was expected');
    const literal = this.#text.slice(this.#at, NUMBER.lastIndex);
    if (literal.length > MAX_NUMBER_LENGTH) throw this.#malformed('a number is too long');
    this.#at = NUMBER.lastIndex;
    const value = Number(literal);
    if (Number.isSafeInteger(value) ? String(value) === literal : false) return value;
    if (/^-?[0-9]+$/.test(literal) && literal !== '-0') return BigInt(literal);
    return Number.isFinite(value) && !Number.isInteger(value) && String(value) === literal
      ? value
      : new JsonNumber(literal);
  }

  #word<T>(word: string, value: T): T {
    if (!this.#text.startsWith(word, this.#at)) throw this.#malformed('an unknown word');
    this.#at += word.length;
    return value;
  }

  #space(): void {
    for (;;) {
      const code = this.#text.charCodeAt(this.#at);
      if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return;
      this.#at += 1;
    }
  }

  #take(character: string): boolean {
    if (this.#text[this.#at] !== character) return false;
    this.#at += 1;
    return true;
  }

  #malformed(what: string) {
    return peerError('json.malformed', `malformed JSON: ${what} (position ${this.#at})`);
  }
}
