import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { errorCode } from '../../agent/base/errors.ts';
import {
  canonicalJson,
  type Json,
  JsonNumber,
  jsonObject,
  parseJson,
  stringifyJson,
} from '../../agent/base/json.ts';
import { survives } from '../support/properties.ts';

const anyValue: fc.Arbitrary<Json> = fc.letrec<{ value: Json }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    fc.constant(null),
    fc.boolean(),
    fc.maxSafeInteger(),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.bigInt({ min: -(2n ** 70n), max: 2n ** 70n }),
    fc.string({ unit: 'binary' }),
    fc.array(tie('value'), { maxLength: 5 }),
    fc
      .array(fc.tuple(fc.oneof(fc.string(), fc.constantFrom('__proto__', 'constructor')), tie('value')), {
        maxLength: 5,
      })
      .map((members) => jsonObject(members)),
  ),
})).value;

function failure(text: string): string | undefined {
  try {
    parseJson(text);
    return undefined;
  } catch (thrown) {
    return errorCode(thrown);
  }
}

test('what is written and parsed again is written the same', () => {
  fc.assert(
    fc.property(anyValue, (value) => {
      const text = stringifyJson(value);
      assert.equal(stringifyJson(parseJson(text)), text);
    }),
  );
});

test('it reads what JSON.parse reads, and refuses what JSON.parse refuses', () => {
  fc.assert(
    fc.property(fc.json({ maxDepth: 5 }), (text) => {
      assert.deepEqual(JSON.parse(stringifyJson(parseJson(text))), JSON.parse(text));
    }),
  );
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(...'{}[]:,"\\u0019.eE+-truefalsn \n\t') }), (text) => {
      let valid = true;
      try {
        JSON.parse(text);
      } catch {
        valid = false;
      }
      const code = failure(text);
      if (valid) assert.ok(code === undefined || code === 'json.duplicate_key', `${text} gave ${code}`);
      else assert.notEqual(code, undefined, `${text} was accepted`);
    }),
    { numRuns: 2_000 },
  );
});

test('garbage throws only our error', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (text) => survives(() => parseJson(text))),
  );
});

test('integers are exact to 2^63-1 and beyond', () => {
  assert.equal(parseJson('9223372036854775807'), 9_223_372_036_854_775_807n);
  assert.equal(parseJson('9007199254740991'), 9_007_199_254_740_991);
  assert.equal(parseJson('9007199254740993'), 9_007_199_254_740_993n);
  assert.equal(parseJson('-9223372036854775808'), -(2n ** 63n));
  for (const text of ['1e400', '0.10', '-0', '1E5', '0.1000000000000000055511151231257827']) {
    const value = parseJson(text);
    assert.ok(value instanceof JsonNumber, text);
    assert.equal(stringifyJson(value), text);
  }
});

test('duplicate keys, depth and prototypes', () => {
  assert.equal(failure('{"a":1,"a":2}'), 'json.duplicate_key');
  assert.equal(failure('{"a":1,"\\u0061":2}'), 'json.duplicate_key');
  assert.equal(failure('['.repeat(64) + ']'.repeat(64)), undefined);
  assert.equal(failure('['.repeat(65) + ']'.repeat(65)), 'json.too_deep');
  assert.equal(failure(`${'['.repeat(1_000_000)}`), 'json.too_deep');
  const parsed = parseJson('{"__proto__":{"polluted":1},"constructor":2,"toString":3}') as Record<
    string,
    unknown
  >;
  assert.equal(Object.getPrototypeOf(parsed), null);
  assert.equal(({} as Record<string, unknown>).polluted, undefined);
  assert.equal(stringifyJson(parseJson('{"__proto__":1,"b":2}')), '{"__proto__":1,"b":2}');
});

test('a number of a million digits is refused at once', () => {
  assert.equal(failure('9'.repeat(1_000_000)), 'json.malformed');
});

test('canonical text is the same for any order of keys', () => {
  assert.equal(
    canonicalJson(parseJson('{"b":[1,{"d":1,"c":2}],"a":null}')),
    '{"a":null,"b":[1,{"c":2,"d":1}]}',
  );
});
