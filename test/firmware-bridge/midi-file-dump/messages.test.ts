import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { concatBytes, fromHex, toHex } from '../../../agent/base/bytes.ts';
import {
  type DumpMessage,
  decodeMessage,
  encodeMessage,
  from7Bits,
  LONGEST_MESSAGE,
  to7Bits,
} from '../../../firmware-bridge/midi-file-dump/messages.ts';
import { SysexReader, sysex } from '../../../firmware-bridge/midi-file-dump/sysex.ts';

const hex = (text: string) => fromHex(text.replaceAll(' ', ''));

test('the header that an E-mu sequencer sends, as its owners published it', () => {
  const bytes = hex(
    'f0 7e 00 07 01 00 53 4d 46 20 48 1d 00 00 50 41 54 3a 30 2e 34 33 3a 53 74 61 72 53 65 65 6b 65 72 20 20 20 20 20 20 f7',
  );
  const [content, ...more] = new SysexReader(LONGEST_MESSAGE).push(bytes);
  assert.ok(content && more.length === 0);
  assert.deepEqual(decodeMessage(content), {
    kind: 'header',
    to: 0,
    from: 0,
    type: 'SMF',
    length: 3_784,
    name: 'PAT:0.43:StarSeeker',
  });
});

test('the beginning of its first data packet', () => {
  // F0 7E 00 07 02 00 7F, a byte of high bits, and the first four bytes of a Standard MIDI File.
  const data = to7Bits(new Uint8Array([...Buffer.from('MThd'), ...new Uint8Array(108)]));
  assert.equal(data.length, 128);
  assert.equal(toHex(data.subarray(0, 5)), '004d546864');
  const content = encodeMessage({ kind: 'data', to: 0, packet: 0, bytes: from7Bits(data), isGood: true });
  assert.equal(toHex(sysex(content).subarray(0, 12)), 'f07e000702007f004d546864');
});

test('high bits come first, that of the first byte foremost', () => {
  assert.equal(toHex(to7Bits(hex('80 01 ff'))), '50' + '00' + '01' + '7f');
  assert.equal(toHex(to7Bits(hex('01 02 03 04 05 06 87 88'))), '01' + '01020304050607' + '40' + '08');
});

const byte7 = fc.integer({ min: 0, max: 127 });
const name = fc
  .string({ unit: fc.constantFrom(...'abcXYZ 019._-~'), maxLength: 40 })
  .map((text) => text.trimEnd());
const type = fc.constantFrom('MIDI', 'MIEX', 'TEXT', 'BIN', 'SMF');
const message: fc.Arbitrary<DumpMessage> = fc.oneof(
  fc.record({
    kind: fc.constant('header' as const),
    to: byte7,
    from: byte7,
    type,
    length: fc.integer({ min: 0, max: 0x0fff_ffff }),
    name,
  }),
  fc.record({ kind: fc.constant('request' as const), to: byte7, from: byte7, type, name }),
  fc.record({
    kind: fc.constant('data' as const),
    to: byte7,
    packet: byte7,
    bytes: fc.uint8Array({ minLength: 1, maxLength: 112 }),
    isGood: fc.constant(true),
  }),
  fc.record({
    kind: fc.constantFrom('ack' as const, 'nak' as const, 'wait' as const, 'cancel' as const, 'eof' as const),
    to: byte7,
    packet: byte7,
  }),
);

test('every message comes out of any pieces as it went in, whatever real-time messages stand between', () => {
  fc.assert(
    fc.property(
      fc.array(message, { maxLength: 6 }),
      fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1 }),
      fc.infiniteStream(fc.option(fc.integer({ min: 0xf8, max: 0xff }), { freq: 5 })),
      (messages, cuts, clocks) => {
        const bytes: number[] = [];
        for (const byte of concatBytes(...messages.map((one) => sysex(encodeMessage(one))))) {
          const clock = clocks.next().value;
          if (typeof clock === 'number') bytes.push(clock);
          bytes.push(byte);
        }
        const reader = new SysexReader(LONGEST_MESSAGE);
        const found: (DumpMessage | undefined)[] = [];
        for (let at = 0, i = 0; at < bytes.length; i++) {
          const length = cuts[i % cuts.length] ?? 1;
          found.push(...reader.push(Uint8Array.from(bytes.slice(at, at + length))).map(decodeMessage));
          at += length;
        }
        assert.deepEqual(found.map(plain), messages.map(plain));
      },
    ),
  );
});

const plain = (one: DumpMessage | undefined) =>
  one?.kind === 'data' ? { ...one, bytes: toHex(one.bytes) } : { ...one };

test('a damaged packet is not good, and no bytes make anything throw', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 1, maxLength: 112 }),
      fc.nat(),
      fc.integer({ min: 1, max: 127 }),
      (bytes, at, change) => {
        const content = encodeMessage({ kind: 'data', to: 1, packet: 5, bytes, isGood: true });
        const place = 4 + (at % (content.length - 4));
        content[place] = (content[place] ?? 0) ^ change;
        const decoded = decodeMessage(content);
        assert.ok(decoded?.kind === 'data' && !decoded.isGood);
      },
    ),
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 1_000 }), (bytes) => {
      for (const content of new SysexReader(LONGEST_MESSAGE).push(bytes)) decodeMessage(content);
      decodeMessage(bytes);
      from7Bits(bytes);
    }),
  );
});

test('a message without an end takes no memory, and another status byte ends one', () => {
  const reader = new SysexReader(100);
  assert.deepEqual(reader.push(concatBytes(Uint8Array.of(0xf0), new Uint8Array(1_000_000))), []);
  assert.deepEqual(reader.push(hex('f7')), []);
  assert.deepEqual(reader.push(hex('f0 01 02 90 f7')), []);
  assert.deepEqual(
    reader.push(hex('f0 01 f0 02 f7')).map((content) => [...content]),
    [[2]],
  );
});
