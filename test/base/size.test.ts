import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { SkylarkError } from '../../agent/base/errors.ts';
import { formatSize, parseSize } from '../../agent/base/size.ts';

test('a number and a unit make bytes', () => {
  assert.deepEqual(['0MB', '12kB', '500MB', '2GB', '1TB'].map(parseSize), [
    0n,
    12_000n,
    500_000_000n,
    2_000_000_000n,
    1_000_000_000_000n,
  ]);
});

test('anything else is refused', () => {
  for (const text of ['', '1', 'MB', '-1MB', '1.5GB', '1 GB', '1mb', '1GiB', '1234567890MB'])
    assert.throws(
      () => parseSize(text),
      (thrown) => thrown instanceof SkylarkError && thrown.code === 'size.malformed',
    );
});

test('what is written is read as the same, in whole kilobytes', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 999_999_999n }), (kilobytes) => {
      assert.equal(parseSize(formatSize(kilobytes * 1_000n)), kilobytes * 1_000n);
    }),
  );
  assert.deepEqual([1n, 64_000_000n, 3_000_000_000n].map(formatSize), ['1kB', '64MB', '3GB']);
});
