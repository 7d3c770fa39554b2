/** YMODEM's blocks and headers by themselves. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { concatBytes, fromHex, utf8 } from '../../../agent/base/bytes.ts';
import {
  BlockScanner,
  type Check,
  EOT,
  encodeBlock,
  type Heard,
} from '../../../firmware-bridge/ymodem/blocks.ts';
import { crc16 } from '../../../firmware-bridge/ymodem/crc16.ts';
import { decodeHeader, encodeHeader } from '../../../firmware-bridge/ymodem/header.ts';
import { cut, mutated, survives } from '../../support/properties.ts';

test('the CRC has its published check value', () => {
  assert.equal(crc16(utf8('123456789')), 0x31c3);
  assert.equal(crc16(new Uint8Array(128)), 0);
});

test('the header block that lrzsz sends', () => {
  // Captured from Debian's sb 0.12.21: name, length, time, mode, serial number, files left, bytes left; the number of
  // 128-byte sectors in the last byte, as CP/M wants it.
  const bytes = new Uint8Array(133);
  const text = '612e6d69640033303020313435323437373034303020313030363434203020312033303000';
  bytes.set(fromHex(`0100ff${text}`));
  bytes.set(fromHex('03c93b'), 130);
  const [heard] = heardIn(bytes, [], 'crc');
  assert.ok(heard?.kind === 'block');
  assert.deepEqual(decodeHeader(heard.data), { name: 'a.mid', size: 300, mtime: 1_700_000_000 });
});

const block = fc.record({
  number: fc.nat(255),
  data: fc.uint8Array({ minLength: 1, maxLength: 1024 }),
  check: fc.constantFrom<Check>('crc', 'sum'),
});

function heardIn(bytes: Uint8Array, lengths: readonly number[], check: Check | 'either'): Heard[] {
  const scanner = new BlockScanner(check);
  const heard = cut(bytes, lengths).flatMap((piece) => scanner.push(piece));
  const rest = scanner.quiet();
  return rest === undefined ? heard : [...heard, rest];
}

test('blocks come back, however they are cut', () => {
  fc.assert(
    fc.property(
      fc.array(block, { maxLength: 4 }),
      fc.array(fc.nat(300)),
      fc.constantFrom<Check>('crc', 'sum'),
      (blocks, lengths, check) => {
        const bytes = concatBytes(...blocks.map(({ number, data }) => encodeBlock(number, data, check)));
        const heard = heardIn(bytes, lengths, check);
        assert.equal(heard.length, blocks.length);
        for (const [i, one] of heard.entries()) {
          assert.ok(one.kind === 'block');
          assert.equal(one.number, blocks[i]!.number);
          assert.deepEqual(one.data.subarray(0, blocks[i]!.data.length), blocks[i]!.data);
          assert.ok(one.data.length === 128 || one.data.length === 1024);
        }
      },
    ),
  );
});

test('a block alone is known by its own check, with a CRC and with a sum', () => {
  fc.assert(
    fc.property(block, fc.array(fc.nat(300)), ({ number, data, check }, lengths) => {
      const heard = heardIn(encodeBlock(number, data, check), lengths, 'either');
      assert.equal(heard.length, 1);
      // A block with a sum whose next byte is missing can't be told before the line is quiet.
      assert.ok(heard[0]?.kind === 'block' && heard[0].check === check);
    }),
  );
});

test('a damaged block is never taken for a good one', () => {
  fc.assert(
    fc.property(
      mutated(block.map(({ number, data }) => encodeBlock(number, data, 'crc'))),
      fc.array(fc.nat(300)),
      (bytes, lengths) => {
        for (const one of heardIn(bytes, lengths, 'crc')) {
          if (one.kind !== 'block') continue;
          const again = encodeBlock(one.number, one.data, 'crc');
          assert.deepEqual(bytes.slice(0, again.length), again);
        }
      },
    ),
  );
});

test('inside garbage nothing counts, not even a whole block, an end or a cancelling', () => {
  const inside = encodeBlock(1, utf8('inside'), 'crc');
  for (const bytes of [
    concatBytes(Uint8Array.of(0x55), inside),
    concatBytes(inside.subarray(1), inside),
    concatBytes(new Uint8Array(100), Uint8Array.of(EOT)),
    concatBytes(new Uint8Array(100), Uint8Array.of(0x18, 0x18, 0x18)),
  ]) {
    assert.deepEqual(heardIn(bytes, [7], 'crc'), [{ kind: 'damaged' }]);
  }
});

test('ends and cancellings stand alone', () => {
  const cancel = (text: string) => heardIn(utf8(text), [3], 'crc');
  assert.deepEqual(heardIn(Uint8Array.of(EOT), [], 'crc'), [{ kind: 'end' }]);
  assert.deepEqual(cancel('\x18\x18'), [{ kind: 'cancel' }]);
  assert.deepEqual(cancel('\x18'.repeat(10) + '\b'.repeat(10)), [{ kind: 'cancel' }]);
  assert.deepEqual(cancel('\x18'), [{ kind: 'damaged' }]);
  assert.deepEqual(heardIn(new Uint8Array(), [], 'crc'), []);
});

test('ten megabytes of noise leave no more than a block behind', () => {
  const scanner = new BlockScanner('crc');
  const noise = new Uint8Array(65_536);
  for (let i = 0; i < 160; i++) {
    crypto.getRandomValues(noise);
    for (const one of scanner.push(noise)) assert.equal(one.kind, 'block');
  }
  scanner.quiet();
  assert.ok(scanner.isEmpty);
});

test('headers come back', () => {
  const name = fc
    .string({ unit: 'grapheme', minLength: 1, maxLength: 20 })
    .filter((text) => !/\p{Cc}/u.test(text) && utf8(text).length <= 90 && text.isWellFormed());
  fc.assert(
    fc.property(
      name,
      fc.nat(0xffff_ffff),
      fc.option(fc.integer({ min: 1, max: 2 ** 33 }), { nil: undefined }),
      (name, size, mtime) => {
        assert.deepEqual(decodeHeader(encodeHeader({ name, size, mtime })), { name, size, mtime });
      },
    ),
  );
});

test('whatever a header holds, it is a header, the end, or our error', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 128, maxLength: 1024 }), (data) =>
      survives(() => decodeHeader(data)),
    ),
  );
  const valid = fc.constant(encodeHeader({ name: 'a.mid', size: 1234, mtime: 1 }));
  fc.assert(fc.property(mutated(valid), (data) => survives(() => decodeHeader(data))));
});

test('lengths that nobody can count to are refused, names in any code are names', () => {
  for (const size of ['-1', '1e9', '0x10', '9'.repeat(20), '12a']) {
    assert.throws(() => decodeHeader(utf8(`a\0${size} 0 0\0`)), { code: 'device.protocol' });
  }
  assert.deepEqual(decodeHeader(utf8('a\0 \0')), { name: 'a', size: undefined, mtime: undefined });
  assert.equal(decodeHeader(Uint8Array.of(0xe4, 0x62, 0))?.name, 'äb');
  assert.equal(decodeHeader(new Uint8Array(128)), undefined);
  assert.equal(decodeHeader(utf8('a\x004294967296 8 0\0'))?.size, 4_294_967_296);
  assert.equal(decodeHeader(utf8('a\x001 89 0\0'))?.mtime, undefined);
});

test('names that the header can not carry are refused', () => {
  for (const name of ['', 'a\0b', 'a\nb', 'x'.repeat(91)]) {
    assert.throws(() => encodeHeader({ name, size: 1, mtime: undefined }), { code: 'bridge.not_for_device' });
  }
});
