import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { fromUtf8, utf8 } from '../../agent/base/bytes.ts';
import { isJsonObject, type Json, parseJson, stringifyJson } from '../../agent/base/json.ts';
import { formatTimestamp } from '../../agent/base/timestamp.ts';
import {
  decodeUpdate,
  getUpdates,
  MAX_UPDATE,
  update,
  updateBody,
  updateText,
} from '../../agent/database/messages.ts';
import type { Version } from '../../agent/database/record.ts';
import { decode, encode } from '../../agent/wire/message.ts';
import { mutated, survives } from '../support/properties.ts';

const MAX = 2n ** 63n - 1n;

/** As the wire would deliver it. */
function received(body: Uint8Array) {
  const json = parseJson(fromUtf8(body));
  assert.ok(isJsonObject(json));
  return { type: String(json.type), json, body };
}

function bodyOf(version: Version): Uint8Array {
  return updateBody({ ...version, valueText: stringifyJson(version.value) });
}

const ids = fc.integer({ min: 0, max: 40 }).map((n) => n.toString(16).padStart(32, '0'));
const counts = fc.oneof(fc.bigInt({ min: 0n, max: 5n }), fc.bigInt({ min: 0n, max: MAX }), fc.constant(MAX));
const values: fc.Arbitrary<Json> = fc.jsonValue().map((value) => parseJson(JSON.stringify(value)));
const versions: fc.Arbitrary<Version> = fc.record({
  uuid: ids,
  key: fc.string({ unit: 'grapheme' }),
  value: values,
  deleted: fc.boolean(),
  lastUpdatedBy: ids,
  lastUpdatedRev: counts,
  updateTime: fc.bigInt({ min: -(10n ** 19n), max: 25n * 10n ** 19n }).map(formatTimestamp),
  vectorClock: fc.array(fc.tuple(ids, counts)).map((entries) => new Map(entries)),
});

test('an update survives the wire exactly', () => {
  fc.assert(
    fc.property(versions, (version) => {
      assert.deepEqual(decodeUpdate(received(bodyOf(version))), { ...version });
    }),
  );
});

test('the fast text of an update is what its declaration encodes', () => {
  fc.assert(
    fc.property(versions, (version) => {
      const { deleted, ...rest } = version;
      const declared = stringifyJson(encode(update, deleted ? version : rest));
      assert.equal(updateText({ ...version, valueText: stringifyJson(version.value) }), declared);
    }),
  );
});

test('the text that stored signatures cover is this one, for ever', () => {
  const version: Version = {
    uuid: '9223bf8014507dca629123485dc3a207',
    key: '/Käse "1".mid',
    value: parseJson('{"size":3762440519426216896,"sha256":null,".com.ibm.x":1.50}'),
    deleted: true,
    lastUpdatedBy: 'b934d9de020109fde790cd39acce73fc',
    lastUpdatedRev: MAX,
    updateTime: '2014-02-23T23:45:39.10Z',
    vectorClock: new Map([
      ['d38a0af145c48b75289e72985e3cc50a', 35n],
      ['b934d9de020109fde790cd39acce73fc', MAX],
    ]),
  };
  assert.deepEqual(
    bodyOf(version),
    utf8(
      '{"type":"database.update","key":"/Käse \\"1\\".mid","value":{"size":3762440519426216896,"sha256":null,' +
        '".com.ibm.x":1.50},"uuid":"9223bf8014507dca629123485dc3a207",' +
        '"last_updated_by":"b934d9de020109fde790cd39acce73fc","last_updated_rev":9223372036854775807,' +
        '"update_time":"2014-02-23T23:45:39.10Z","vector_clock":{"d38a0af145c48b75289e72985e3cc50a":35,' +
        '"b934d9de020109fde790cd39acce73fc":9223372036854775807},"deleted":true}\n',
    ),
  );
});

test("the draft's own example is understood, a record without the flag being live", () => {
  const version = decodeUpdate(
    received(
      utf8(`{
        "type": "database.update",
        "key": "photo-1234",
        "value": { "camera": "NIKON ...", "taken": "..." },
        "uuid": "9223bf8014507dca629123485dc3a207",
        "last_updated_by": "b934d9de020109fde790cd39acce73fc",
        "last_updated_rev": 15,
        "update_time": "2014-02-23T23:45:39Z",
        "vector_clock": {
          "b934d9de020109fde790cd39acce73fc": 44,
          "d38a0af145c48b75289e72985e3cc50a": 35,
          "c35be68aadc0e208b6c71f7be77f2975": 43
        }
      }`),
    ),
  );
  assert.equal(version.deleted, false);
  assert.equal(version.vectorClock.get('c35be68aadc0e208b6c71f7be77f2975'), 43n);
});

test('updates that break a rule are refused', () => {
  const good = {
    type: 'database.update',
    key: '/a',
    value: {},
    uuid: '1'.repeat(32),
    last_updated_by: '2'.repeat(32),
    last_updated_rev: 1,
    update_time: '2014-02-23T23:45:39Z',
    vector_clock: {},
  };
  const refuses = (change: object) => {
    const body = utf8(JSON.stringify({ ...good, ...change }));
    assert.throws(() => decodeUpdate(received(body)), { name: 'SkylarkError', fault: 'peer' });
  };
  assert.equal(decodeUpdate(received(utf8(JSON.stringify(good)))).key, '/a');
  refuses({ value: undefined });
  refuses({ key: undefined });
  refuses({ key: 'x'.repeat(16_385) });
  refuses({ key: '\ud800' });
  refuses({ uuid: 'A'.repeat(32) });
  refuses({ uuid: '1'.repeat(31) });
  refuses({ last_updated_rev: -1 });
  refuses({ last_updated_rev: 1.5 });
  refuses({ last_updated_rev: '1' });
  refuses({ update_time: '2014-02-30T00:00:00Z' });
  refuses({ update_time: '10000-01-01T00:00:00Z' });
  refuses({ vector_clock: { constructor: 1 } });
  refuses({ vector_clock: { ['1'.repeat(32)]: -1 } });
  refuses({ deleted: 1 });
  refuses({ value: 'x'.repeat(MAX_UPDATE) });
  const entries = Array.from({ length: 4_097 }, (_, i) => [i.toString(16).padStart(32, '0'), 1]);
  refuses({ vector_clock: Object.fromEntries(entries) });
  const tooLarge = utf8(
    JSON.stringify(good).replace('"last_updated_rev":1', '"last_updated_rev":9223372036854775808'),
  );
  assert.throws(() => decodeUpdate(received(tooLarge)), { code: 'schema.mismatch' });
});

test('names of JavaScript objects are ordinary names inside a value', () => {
  const body = utf8(
    `{"type":"database.update","key":"/a","value":{"__proto__":{"x":1},"constructor":2},"uuid":"${'1'.repeat(32)}",
     "last_updated_by":"${'2'.repeat(32)}","last_updated_rev":1,"update_time":"2014-02-23T23:45:39Z","vector_clock":{}}`,
  );
  const { value } = decodeUpdate(received(body));
  assert.equal(stringifyJson(value), '{"__proto__":{"x":1},"constructor":2}');
  assert.equal(({} as { x?: unknown }).x, undefined);
});

test('a request survives the wire exactly', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(ids, counts)), (entries) => {
      const value = { since: new Map(entries) };
      const json = parseJson(stringifyJson(encode(getUpdates, value)));
      assert.ok(isJsonObject(json));
      assert.deepEqual(decode(getUpdates, { type: getUpdates.type, json }), value);
    }),
  );
});

test('damaged updates are refused as the fault of the peer, or are updates', () => {
  fc.assert(
    fc.property(mutated(versions.map(bodyOf)), (body) => {
      survives(() => {
        const json = parseJson(fromUtf8(body));
        if (isJsonObject(json) && json.type === update.type) decodeUpdate({ type: update.type, json, body });
      });
    }),
  );
});
