/** PROTOCOL.md and the vectors say what the code does. The vectors were made by another program than the code under test. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fromHex, toHex } from '../../../agent/base/bytes.ts';
import { crc32c } from '../../../firmware-bridge/skylink/crc32c.ts';
import type { MessageSpec } from '../../../firmware-bridge/skylink/fields.ts';
import { decodeCobs, encodeCobs, encodeFrame, FrameDecoder } from '../../../firmware-bridge/skylink/frame.ts';
import { ANSWERS, ERR_CODE, QUESTIONS } from '../../../firmware-bridge/skylink/messages.ts';

type FieldValue = string | number;
type Values = Readonly<Record<string, FieldValue>>;

interface Vectors {
  readonly crc32c: readonly { readonly bytes: string; readonly crc: number }[];
  readonly cobs: readonly { readonly plain: string; readonly stuffed: string }[];
  readonly frames: readonly {
    readonly name: string;
    readonly message: string;
    readonly type: number;
    readonly seq: number;
    readonly fields: Values;
    readonly body: string;
    readonly frame: string;
  }[];
  readonly refused: readonly { readonly why: string; readonly line: string }[];
  readonly streams: readonly { readonly why: string; readonly line: string; readonly frames: number }[];
}

const vectors = JSON.parse(
  readFileSync(new URL('../../vectors/skylink.json', import.meta.url), 'utf8'),
) as Vectors;
const document = readFileSync(new URL('../../../firmware-bridge/PROTOCOL.md', import.meta.url), 'utf8');
const specs = [...QUESTIONS, ...ANSWERS] as readonly MessageSpec<Record<string, FieldValue | Uint8Array>>[];

test('the vectors of CRC and byte stuffing', () => {
  for (const { bytes, crc } of vectors.crc32c) assert.equal(crc32c(fromHex(bytes)), crc);
  for (const { plain, stuffed } of vectors.cobs) {
    assert.equal(toHex(encodeCobs(fromHex(plain))), stuffed);
    assert.equal(toHex(decodeCobs(fromHex(stuffed))), plain);
  }
});

for (const { name, message, type, seq, fields, body, frame } of vectors.frames) {
  test(`vector: ${name}`, () => {
    const spec = specNamed(message);
    assert.equal(spec.type, type);
    checkExample(spec, seq, fields, fromHex(frame));
    assert.equal(toHex(spec.encode(toCode(spec, fields))), body);
  });
}

test('what the vectors refuse is no frame, and does not hide the next one', () => {
  for (const { why, line } of vectors.refused) {
    assert.equal(new FrameDecoder().push(fromHex(line)).length, 0, why);
  }
  for (const { why, line, frames } of vectors.streams) {
    assert.equal(new FrameDecoder().push(fromHex(line)).length, frames, why);
  }
});

test('the examples in PROTOCOL.md are what the code sends and takes, one at least of each message', () => {
  const seen = new Set<string>();
  for (const [, block = ''] of document.matchAll(/^```skylink\n(.*?)^```$/gms)) {
    const lines = block.trimEnd().split('\n');
    assert.equal(lines.length % 2, 0, block);
    for (let i = 0; i < lines.length; i += 2) {
      const [, name = '', seq = '', fields = ''] = /^(\w+) (\d+) (\{.*\})$/.exec(lines[i] ?? '') ?? [];
      const bytes = fromHex((lines[i + 1] ?? '').replaceAll(' ', ''));
      checkExample(specNamed(name), Number(seq), JSON.parse(fields) as Values, bytes);
      seen.add(name);
    }
  }
  assert.deepEqual([...seen].sort(), specs.map(({ name }) => name).sort());
});

test('PROTOCOL.md gives every message its type byte, and every error its code', () => {
  for (const { name, type } of specs) {
    const hex = type.toString(16).padStart(2, '0').toUpperCase();
    assert.match(document, new RegExp(`\\b(?:${hex} ${name}|${name} \\(${hex})\\b`), name);
  }
  for (const [name, code] of Object.entries(ERR_CODE)) {
    const written = name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    assert.match(document, new RegExp(`^\\| ${code} \\| ${written} \\|`, 'm'));
  }
});

function specNamed(name: string) {
  const spec = specs.find((one) => one.name === name);
  assert.ok(spec, `there is no message ${name}`);
  return spec;
}

function checkExample(spec: (typeof specs)[number], seq: number, fields: Values, frame: Uint8Array): void {
  const decoded = new FrameDecoder().push(frame);
  assert.equal(decoded.length, 1);
  const [only] = decoded;
  assert.ok(only);
  assert.deepEqual([only.type, only.seq], [spec.type, seq]);
  const values = spec.decode(only.body);
  assert.deepEqual(fromCode(values), { ...fields });
  assert.deepEqual(Object.keys(values), Object.keys(fields));
  assert.equal(
    toHex(encodeFrame({ type: spec.type, seq, body: spec.encode(toCode(spec, fields)) })),
    toHex(frame),
  );
}

/** Bytes are hexadecimal in the examples. */
function toCode(spec: (typeof specs)[number], fields: Values): Record<string, FieldValue | Uint8Array> {
  const isBytes = (key: string) => key === 'data' || (spec.name === 'WELCOME' && key === 'device');
  return Object.fromEntries(
    Object.entries(fields).map(([key, value]) => [key, isBytes(key) ? fromHex(String(value)) : value]),
  );
}

function fromCode(values: Record<string, FieldValue | Uint8Array>): Values {
  return Object.fromEntries(
    Object.entries(values).map(([key, value]) => [key, value instanceof Uint8Array ? toHex(value) : value]),
  );
}
