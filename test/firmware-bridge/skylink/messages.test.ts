import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { utf8 } from '../../../agent/base/bytes.ts';
import { SkylarkError } from '../../../agent/base/errors.ts';
import type { MessageSpec } from '../../../firmware-bridge/skylink/fields.ts';
import * as messages from '../../../firmware-bridge/skylink/messages.ts';
import { survives } from '../../support/properties.ts';

const { ANSWERS, QUESTIONS } = messages;
const all = [...QUESTIONS, ...ANSWERS] as readonly MessageSpec<object>[];

test('every type byte is used once, and its high bit tells who speaks', () => {
  const types = all.map((spec) => spec.type);
  assert.equal(new Set(types).size, types.length);
  assert.ok(QUESTIONS.every((spec) => spec.type > 0 && spec.type < 0x40));
  assert.ok(ANSWERS.every((spec) => spec.type >= 0x80));
  assert.equal(new Set(all.map((spec) => spec.name)).size, all.length);
});

test('what is decoded encodes to the same bytes, and any garbage is a message or the device’s fault', () => {
  fc.assert(
    fc.property(fc.constantFrom(...all), fc.uint8Array({ maxLength: 300 }), (spec, body) => {
      survives(() => {
        const value = spec.decode(body);
        // A text that was not UTF-8 may have become too long to be sent again.
        if (Object.values(value).some((field) => typeof field === 'string' && utf8(field).length > 255))
          return;
        assert.deepEqual(spec.decode(spec.encode(value)), value);
      });
    }),
    { numRuns: 2000 },
  );
});

test('fields that a newer sender appended are ignored', () => {
  const state = { boot: 1, epoch: 2, counter: 3, presses: 4, battery: 50, flags: 1 };
  const body = Uint8Array.of(...messages.STATE.encode(state), 9, 9, 9);
  assert.deepEqual(messages.STATE.decode(body), state);
});

test('a message that ends early is refused', () => {
  const body = messages.READ.encode({ id: 1, generation: 2, offset: 3, window: 4, chunk: 5 });
  for (let length = 0; length < body.length; length++) {
    assert.throws(() => messages.READ.decode(body.subarray(0, length)), {
      name: 'SkylarkError',
      code: 'skylink.message_short',
    });
  }
});

test('integers are little-endian and exact to their limits', () => {
  fc.assert(
    fc.property(
      fc.record({
        seconds: fc.integer({ min: 0, max: 0xffff_ffff }),
        milliseconds: fc.integer({ min: 0, max: 0xffff }),
        zoneMinutes: fc.integer({ min: -0x8000, max: 0x7fff }),
      }),
      (time) => assert.deepEqual(messages.TIME.decode(messages.TIME.encode(time)), { ...time }),
    ),
  );
  assert.deepEqual([...messages.STAT.encode({ id: 0x01020304 })], [4, 3, 2, 1]);
  assert.throws(() => messages.STAT.encode({ id: 2 ** 32 }), SkylarkError);
  assert.throws(() => messages.STAT.encode({ id: 1.5 }), SkylarkError);
  assert.throws(() => messages.LOG.encode({ level: 0, text: 'x'.repeat(256) }), SkylarkError);
});

test('texts are UTF-8, and what is not is read as replacement characters', () => {
  const log = { level: 1, text: 'Ж♭🎹\u0007' };
  assert.deepEqual(messages.LOG.decode(messages.LOG.encode(log)), log);
  assert.equal(messages.LOG.decode(Uint8Array.of(0, 2, 0xff, 0x41)).text, '\ufffdA');
});
