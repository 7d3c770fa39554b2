import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { SkylarkError } from '../../agent/base/errors.ts';
import type { Json } from '../../agent/base/json.ts';
import { MAX_PIECE, READ_FILE, VERIFY } from '../../agent/control/file-messages.ts';

const { item } = READ_FILE;

test('bytes of a file come back as they were, and are base64 as everybody knows it', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 1_000 }), (data) => {
      const encoded = item.encode({ data });
      assert.equal(encoded.data, Buffer.from(data).toString('base64'));
      assert.deepEqual(item.decode(encoded), { data });
    }),
  );
  const largest = new Uint8Array(MAX_PIECE).fill(255);
  assert.deepEqual(item.decode(item.encode({ data: largest })), { data: largest });
});

test('what is no base64, or too much of it, is refused as a whole', () => {
  const tooLong = 'A'.repeat(2 * MAX_PIECE + 4);
  for (const data of [
    'A',
    'AAA',
    'AA A',
    'AAA\n',
    '====',
    'A===',
    '!AAA',
    'AAAAA',
    tooLong,
    5,
    null,
    {},
    [],
  ] as Json[])
    assert.throws(() => item.decode({ data }), { code: 'schema.mismatch' }, String(data).slice(0, 20));
});

test('garbage in place of what the daemon says never throws anything but a refusal', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      for (const schema of [item, READ_FILE.answer, VERIFY.item, VERIFY.answer, READ_FILE.request]) {
        try {
          schema.decode(value as Json);
        } catch (thrown) {
          assert.ok(thrown instanceof SkylarkError && thrown.fault === 'peer');
        }
      }
    }),
  );
});
