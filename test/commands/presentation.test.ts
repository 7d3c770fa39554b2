import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  counted,
  readableAge,
  readableBytes,
  readableSpan,
  table,
} from '../../agent/commands/presentation.ts';

test('sizes keep two digits and change their unit where they would get a fourth', () => {
  assert.equal(readableBytes(0), '0 bytes');
  assert.equal(readableBytes(1), '1 byte');
  assert.equal(readableBytes(999), '999 bytes');
  assert.equal(readableBytes(1_000), '1.0 kB');
  assert.equal(readableBytes(48_213), '48 kB');
  assert.equal(readableBytes(9_960), '10 kB');
  assert.equal(readableBytes(999_499), '999 kB');
  assert.equal(readableBytes(999_500), '1.0 MB');
  assert.equal(readableBytes(2 ** 53), '9.0 PB');
});

test('counts and times', () => {
  assert.equal(counted(1, 'file'), '1 file');
  assert.equal(counted(0, 'file'), '0 files');
  assert.equal(readableSpan(59), '59 seconds');
  assert.equal(readableSpan(3_600), '1 hour');
  assert.equal(readableSpan(200_000), '2 days');
  const now = Date.parse('2026-10-04T12:00:00Z');
  assert.equal(readableAge('2026-10-04T11:59:58.123456789Z', now), 'just now');
  assert.equal(readableAge('2026-10-04T10:00:00Z', now), '2 hours ago');
  assert.equal(readableAge('2026-10-04T12:00:10Z', now), 'just now');
});

test('columns line up', () => {
  assert.equal(
    table([
      ['a', 'bcd', ''],
      ['longer', 'e', 'f'],
    ]),
    'a       bcd\nlonger  e    f\n',
  );
});
