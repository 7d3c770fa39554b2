import assert from 'node:assert/strict';
import { it } from 'node:test';
import fc from 'fast-check';
import { systemClock } from '../../agent/base/clock.ts';
import { LivedTime } from '../../agent/base/lived-time.ts';

const DAY = 86_400n * 1_000_000_000n;
const DAY_MS = 86_400_000;
const Y2026 = 1_790_000_000_000_000_000n;
const Y9999 = 253_370_764_800n * 1_000_000_000n;

function clockAt(start: bigint) {
  const state = { wall: start, ms: 0 };
  const clock = { ...systemClock, now: () => state.wall, monotonic: () => state.ms };
  const run = (ms: number) => {
    state.wall += BigInt(ms) * 1_000_000n;
    state.ms += ms;
  };
  return { state, clock, run };
}

it('is the time that passes while the clock is right', () => {
  const { clock, run } = clockAt(Y2026);
  const time = new LivedTime(clock, undefined);
  for (let day = 0; day < 40; day++) {
    run(DAY_MS);
    time.now();
  }
  assert.equal(time.now().lived, 40n * DAY);
});

it('takes a jump to 9999 for a day, and the way back for nothing', () => {
  const { state, clock, run } = clockAt(Y2026);
  const time = new LivedTime(clock, undefined);
  state.wall = Y9999;
  assert.equal(time.now().lived, DAY);
  for (let times = 0; times < 50; times++) {
    state.wall = 0n;
    time.now();
    state.wall = Y9999;
    assert.equal(time.now().lived, DAY);
  }
  state.wall = Y2026;
  run(DAY_MS);
  assert.equal(time.now().lived, 2n * DAY);
});

it('counts a pause between two runs by the clock, as a day at most', () => {
  const first = clockAt(0n);
  const before = new LivedTime(first.clock, undefined).now();
  assert.deepEqual(before, { lived: 0n, seen: 0n });
  assert.equal(new LivedTime(clockAt(Y2026).clock, before).now().lived, DAY, 'the clock was set');
  const stopped = { lived: DAY, seen: Y2026 };
  assert.equal(new LivedTime(clockAt(Y2026 + 5n).clock, stopped).now().lived, DAY + 5n);
  assert.equal(new LivedTime(clockAt(0n).clock, stopped).now().lived, DAY);
});

it('never goes back, and never faster than the process and a day each time', () => {
  const step = fc.record({ wall: fc.bigInt(0n, Y9999), ran: fc.integer({ min: 0, max: DAY_MS }) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const { state, clock } = clockAt(Y2026);
      const time = new LivedTime(clock, undefined);
      let last = 0n;
      for (const { wall, ran } of steps) {
        state.wall = wall;
        state.ms += ran;
        const { lived } = time.now();
        const least = BigInt(ran) * 1_000_000n;
        assert.ok(lived >= last + least && lived <= last + least + DAY);
        last = lived;
      }
    }),
  );
});
