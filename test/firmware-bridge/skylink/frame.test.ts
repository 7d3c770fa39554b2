import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { utf8 } from '../../../agent/base/bytes.ts';
import { SkylarkError } from '../../../agent/base/errors.ts';
import { combineCrc32c, crc32c } from '../../../firmware-bridge/skylink/crc32c.ts';
import {
  decodeCobs,
  encodeCobs,
  encodeFrame,
  type Frame,
  FrameDecoder,
  frameLength,
  LARGEST_CONTENT,
} from '../../../firmware-bridge/skylink/frame.ts';
import { cut, mutated, survives } from '../../support/properties.ts';

const frames = fc.record({
  type: fc.integer({ min: 0, max: 255 }),
  seq: fc.integer({ min: 0, max: 255 }),
  body: fc.uint8Array({ maxLength: 700 }),
});

test('CRC-32C gives the values of RFC 3720, B.4, and the usual check value', () => {
  assert.equal(crc32c(new Uint8Array(32)), 0x8a9136aa);
  assert.equal(crc32c(new Uint8Array(32).fill(0xff)), 0x62a8ab43);
  assert.equal(crc32c(Uint8Array.from({ length: 32 }, (_, i) => i)), 0x46dd794e);
  assert.equal(crc32c(Uint8Array.from({ length: 32 }, (_, i) => 31 - i)), 0x113fdb5c);
  assert.equal(crc32c(utf8('123456789')), 0xe3069283);
});

test('the CRC of two pieces follows from both CRCs, or by going on', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.uint8Array({ maxLength: 300 }), (a, b) => {
      const whole = crc32c(Uint8Array.from([...a, ...b]));
      assert.equal(crc32c(b, crc32c(a)), whole);
      assert.equal(combineCrc32c(crc32c(a), crc32c(b), b.length), whole);
    }),
  );
});

test('COBS encodes the examples of its authors', () => {
  const examples: readonly (readonly [string, string])[] = [
    ['', '01'],
    ['00', '0101'],
    ['0000', '010101'],
    ['11220033', '0311220233'],
    ['11223344', '0511223344'],
    ['11000000', '0211010101'],
  ];
  for (const [plain, stuffed] of examples) {
    assert.equal(Buffer.from(encodeCobs(Buffer.from(plain, 'hex'))).toString('hex'), stuffed);
  }
});

test('COBS at the length where a block is full', () => {
  const run = (length: number) => Uint8Array.from({ length }, (_, i) => 1 + (i % 255));
  assert.equal(encodeCobs(run(254)).length, 255);
  assert.equal(encodeCobs(run(255)).length, 257);
  assert.deepEqual([...encodeCobs(Uint8Array.of(...run(254), 0))].slice(-2), [1, 1]);
  for (const length of [253, 254, 255, 256, 508, 509]) {
    const followed = Uint8Array.of(...run(length), 0);
    assert.deepEqual(decodeCobs(encodeCobs(followed)), followed);
    assert.deepEqual(decodeCobs(encodeCobs(run(length))), run(length));
  }
});

test('COBS round trip has no zero byte and the promised length', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 1200 }), (bytes) => {
      const stuffed = encodeCobs(bytes);
      assert.equal(stuffed.indexOf(0), -1);
      assert.ok(stuffed.length <= bytes.length + Math.floor(bytes.length / 254) + 1);
      assert.deepEqual(decodeCobs(stuffed), bytes);
    }),
  );
});

test('broken COBS is refused as the peer’s fault', () => {
  assert.throws(() => decodeCobs(Uint8Array.of(5, 1, 2)), SkylarkError);
  assert.throws(() => decodeCobs(Uint8Array.of(3, 1, 0)), SkylarkError);
  fc.assert(fc.property(fc.uint8Array(), (bytes) => survives(() => decodeCobs(bytes))));
});

test('frames come out as they went in, however the line cuts them', () => {
  fc.assert(
    fc.property(
      fc.array(frames, { maxLength: 8 }),
      fc.array(fc.integer({ min: 1, max: 90 })),
      (sent, lengths) => {
        const line = Uint8Array.from(sent.flatMap((frame) => [...encodeFrame(frame)]));
        const decoder = new FrameDecoder();
        const received = cut(line, lengths).flatMap((piece) => decoder.push(piece));
        assert.deepEqual(received.map(plain), sent.map(plain));
        assert.equal(decoder.damaged, 0);
        for (const frame of sent) assert.ok(encodeFrame(frame).length <= frameLength(frame.body.length));
      },
    ),
  );
});

test('after any garbage the next frame is found', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 2000 }), frames, (garbage, frame) => {
      const decoder = new FrameDecoder();
      decoder.push(garbage);
      assert.deepEqual(decoder.push(encodeFrame(frame)).map(plain).at(-1), plain(frame));
    }),
  );
});

test('a damaged frame is never taken for another one', () => {
  fc.assert(
    fc.property(
      frames.map(encodeFrame).chain((line) => fc.tuple(fc.constant(line), mutated(fc.constant(line)))),
      ([line, damaged]) => {
        const [sent] = new FrameDecoder().push(line);
        assert.ok(sent);
        for (const frame of new FrameDecoder().push(damaged)) assert.deepEqual(plain(frame), plain(sent));
      },
    ),
    { numRuns: 500 },
  );
});

test('ten megabytes of noise without a zero byte take no memory and no frame', () => {
  const decoder = new FrameDecoder();
  const piece = new Uint8Array(65_536).fill(0xa5);
  for (let i = 0; i < 160; i++) assert.equal(decoder.push(piece).length, 0);
  assert.equal(decoder.noise, 160 * 65_536);
  decoder.push(Uint8Array.of(0));
  assert.equal(decoder.damaged, 1);
  assert.equal(decoder.push(encodeFrame({ type: 1, seq: 2, body: new Uint8Array(3) })).length, 1);
});

test('a frame longer than agreed is skipped, the largest is not', () => {
  const body = (length: number) => Uint8Array.from({ length }, (_, i) => 1 + (i % 200));
  const decoder = new FrameDecoder();
  const largest = encodeFrame({ type: 1, seq: 1, body: body(LARGEST_CONTENT - 6) });
  assert.equal(decoder.push(largest).length, 1);
  assert.equal(new FrameDecoder(64).push(largest).length, 0);
  assert.equal(new FrameDecoder(64).push(encodeFrame({ type: 1, seq: 1, body: body(58) })).length, 1);
});

function plain({ type, seq, body }: Frame) {
  return { type, seq, body: [...body] };
}
