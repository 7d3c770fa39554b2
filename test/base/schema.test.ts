import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { SkylarkError } from '../../agent/base/errors.ts';
import { type Json, parseJson, stringifyJson } from '../../agent/base/json.ts';
import {
  anyJson,
  choice,
  dictionary,
  field,
  flag,
  hex,
  integer,
  list,
  nullable,
  object,
  optionalField,
  pair,
  text,
  timestamp,
  u63,
} from '../../agent/base/schema.ts';
import { survives } from '../support/properties.ts';

const shape = object({
  peerId: field('peer_id', hex(2)),
  size: field('size', nullable(u63)),
  range: optionalField('range', pair(u63, u63)),
  clock: field('vector_clock', dictionary(hex(1), u63, { max: 3 })),
  tags: field('tags', list(text({ max: 5 }), { max: 2 })),
  level: field('access_level', choice('read_write', 'read_only')),
  when: optionalField('when', timestamp),
  deleted: optionalField('deleted', flag),
  count: field('count', integer({ min: -1, max: 10 })),
  value: field('value', anyJson),
});
const VALID = `{"peer_id":"00ff","size":9223372036854775807,"range":[0,5],"vector_clock":{"0a":1},"tags":["x"],
  "access_level":"read_only","when":"2014-03-30T12:35:29.113243778Z","deleted":true,"count":-1,"value":{"z":1.5},"new":1}`;

test('a shape decodes, and encodes to what it decoded', () => {
  const value = shape.decode(parseJson(VALID));
  assert.equal(value.size, 9_223_372_036_854_775_807n);
  assert.deepEqual(value.range, [0n, 5n]);
  assert.equal(value.clock.get('0a'), 1n);
  assert.deepEqual(shape.decode(parseJson(stringifyJson(shape.encode(value)))), value);
});

test('each member that does not fit is refused, and named', () => {
  const wrong: [string, string, RegExp][] = [
    ['"00ff"', '"00FF"', /peer_id/],
    ['"00ff"', '"00f"', /peer_id/],
    ['9223372036854775807', '9223372036854775808', /size/],
    ['9223372036854775807', '-1', /size/],
    ['9223372036854775807', '1.5', /size/],
    ['9223372036854775807', '"5"', /size/],
    ['9223372036854775807', '1e3', /size/],
    ['[0,5]', '[0]', /range/],
    ['[0,5]', '[0,5,6]', /range/],
    ['{"0a":1}', '{"0a":1,"0b":1,"0c":1,"0d":1}', /vector_clock/],
    ['{"0a":1}', '{"__proto__":1}', /vector_clock/],
    ['["x"]', '["x","y","z"]', /tags/],
    ['["x"]', '["123456"]', /tags\[0\]/],
    ['["x"]', '["\\ud800"]', /tags\[0\]/],
    ['"read_only"', '"root"', /access_level/],
    ['29.113243778Z', '29.1132437789Z', /when/],
    ['29.113243778Z', '29', /when/],
    ['true', '1', /deleted/],
    ['"count":-1', '"count":11', /count/],
    ['"count":-1,', '', /count is missing/],
  ];
  for (const [from, to, message] of wrong) {
    assert.throws(
      () => shape.decode(parseJson(VALID.replace(from, to))),
      (thrown) => thrown instanceof SkylarkError && thrown.fault === 'peer' && message.test(thrown.message),
      `${from} -> ${to}`,
    );
  }
});

test('any JSON is decoded or refused with our error', () => {
  fc.assert(fc.property(fc.json(), (json) => survives(() => shape.decode(parseJson(json) as Json))));
});
