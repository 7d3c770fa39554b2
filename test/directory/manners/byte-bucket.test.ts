import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { ByteBucket } from '../../../agent/directory/manners/byte-bucket.ts';

describe('how many bytes may pass', () => {
  it('is any number without a limit', () => {
    const bucket = new ByteBucket(undefined, 0);
    bucket.spend(1e12);
    assert.equal(bucket.room(0), Number.POSITIVE_INFINITY);
    assert.equal(bucket.piece, Number.POSITIVE_INFINITY);
  });

  it('is cut into pieces of an eighth of a second, from 16 KiB to 1 MiB', () => {
    const pieces = [10_000, 131_072, 1_000_000, 8_388_608, 1e9].map((rate) => new ByteBucket(rate, 0).piece);
    assert.deepEqual(pieces, [16_384, 16_384, 114_688, 1_048_576, 1_048_576]);
  });

  it('lets one piece pass into debt, and the next when the debt is paid off', () => {
    const bucket = new ByteBucket(100_000, 0);
    assert.ok(bucket.room(250) > 0);
    bucket.spend(125_000);
    assert.ok(bucket.room(250) <= 0);
    assert.equal(bucket.wait(250), 1_001);
    assert.ok(bucket.room(1_250) <= 0);
    assert.ok(bucket.room(1_251) > 0);
  });

  it('counts what is expected as spent, but not against the burst', () => {
    const bucket = new ByteBucket(100_000, 0);
    assert.equal(bucket.room(10_000), 25_000);
    assert.equal(bucket.room(10_000, 1_000_000), -975_000);
    assert.equal(bucket.room(20_000, 1_000_000), 25_000);
    bucket.spend(1_000_000);
    assert.equal(bucket.room(20_000), 25_000, 'it came');
    bucket.room(30_000, 1_000_000);
    assert.equal(bucket.room(30_000), 25_000, 'it did not come: what was saved up for it is lost');
  });

  it('does not make anybody wait for a debt of faster times', () => {
    const bucket = new ByteBucket(100_000_000, 0);
    bucket.spend(10_000_000);
    bucket.setRate(10_000, 0);
    assert.ok(bucket.wait(0) <= 1_700);
    bucket.setRate(undefined, 0);
    assert.equal(bucket.room(0), Number.POSITIVE_INFINITY);
    bucket.setRate(10_000, 0);
    assert.ok(bucket.room(1) > 0, 'without a limit there are no debts');
  });

  it('keeps the rate whatever is spent when, but for one burst and one piece', () => {
    const step = fc.record({
      bytes: fc.integer({ min: 1, max: 200_000 }),
      pause: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 3_000 })),
    });
    fc.assert(
      fc.property(
        fc.integer({ min: 10_000, max: 5_000_000 }),
        fc.array(step, { minLength: 1, maxLength: 100 }),
        (rate, steps) => {
          const bucket = new ByteBucket(rate, 0);
          let [now, passed, waited] = [0, 0, 0];
          for (const { bytes, pause } of steps) {
            now += pause;
            while (bucket.room(now) <= 0) {
              const wait = bucket.wait(now);
              waited += wait;
              now += wait;
            }
            bucket.spend(bytes);
            passed += bytes;
            const allowed = (rate * now) / 1_000 + rate / 4 + 200_000;
            assert.ok(passed <= allowed, `${passed} bytes in ${now} ms`);
          }
          // Nobody waits longer than the bytes need.
          assert.ok(waited <= (passed / rate) * 1_000 + 2 * steps.length, `${waited} ms for ${passed} bytes`);
        },
      ),
    );
  });
});
