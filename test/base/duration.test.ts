import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatDuration, parseDuration } from '../../agent/base/duration.ts';
import { SkylarkError } from '../../agent/base/errors.ts';

test('a number and a unit make milliseconds', () => {
  assert.deepEqual(
    ['250ms', '90s', '15m', '24h', '7d'].map(parseDuration),
    [250, 90_000, 900_000, 86_400_000, 604_800_000],
  );
});

test('anything else is refused', () => {
  for (const text of ['', '1', 's', '-1s', '1.5h', '1 h', '1H', '1w', '1h30m', '1234567890s'])
    assert.throws(
      () => parseDuration(text),
      (thrown) => thrown instanceof SkylarkError && thrown.code === 'duration.malformed',
    );
});

test('what is written is read as the same', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 999_999_999 }), (milliseconds) => {
      assert.equal(parseDuration(formatDuration(milliseconds)), milliseconds);
    }),
  );
  assert.deepEqual([90_000, 86_400_000, 604_800_000, 1_500].map(formatDuration), [
    '90s',
    '24h',
    '7d',
    '1500ms',
  ]);
});
