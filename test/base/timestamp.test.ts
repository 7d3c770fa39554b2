import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatTimestamp, parseTimestamp, TIMESTAMP_MAX, TIMESTAMP_MIN } from '../../agent/base/timestamp.ts';
import { survives } from '../support/properties.ts';

test('nanoseconds survive the text, for every year', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: TIMESTAMP_MIN, max: TIMESTAMP_MAX }), (time) => {
      assert.equal(parseTimestamp(formatTimestamp(time)), time);
    }),
  );
});

test('the example of core.md', () => {
  assert.equal(parseTimestamp('2014-03-30T12:35:29.113243778Z'), 1_396_182_929_113_243_778n);
  assert.equal(formatTimestamp(1_396_182_929_113_243_778n), '2014-03-30T12:35:29.113243778Z');
  assert.equal(formatTimestamp(0n), '1970-01-01T00:00:00Z');
  assert.equal(formatTimestamp(-1n), '1969-12-31T23:59:59.999999999Z');
});

test('times that do not exist, other zones and garbage are refused', () => {
  for (const text of [
    '2014-02-30T00:00:00Z',
    '2014-13-01T00:00:00Z',
    '2014-01-01T24:00:00Z',
    '2014-01-01T00:00:60Z',
    '2014-01-01T00:00:00+01:00',
    '2014-01-01T00:00:00.1234567890Z',
    '2014-01-01T00:00:00.Z',
    '2014-01-01 00:00:00Z',
    '20140-01-01T00:00:00Z',
    '',
  ]) {
    assert.throws(() => parseTimestamp(text), { code: 'timestamp.malformed' }, text);
  }
  fc.assert(fc.property(fc.string(), (text) => survives(() => parseTimestamp(text))));
});
