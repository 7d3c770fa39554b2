/** How often the fetcher looks after what it has asked for. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { SCHEDULE_LIMITS } from '../../agent/directory/schedule.ts';
import { Ticking } from '../../agent/directory/ticking.ts';
import { virtualClock } from '../support/virtual-clock.ts';

describe('looking after what was asked of peers', () => {
  function begin() {
    const clock = virtualClock();
    const schedule = { room: SCHEDULE_LIMITS.contents };
    const ticks: number[] = [];
    const ticking = new Ticking(clock, schedule, () => {
      ticks.push(Math.round(clock.monotonic() / 1_000));
      ticking.next();
    });
    ticking.next();
    return { clock, schedule, ticks, ticking };
  }

  it('is seldom while nothing is', async () => {
    const { clock, ticks } = begin();
    await clock.pass(100_000);
    assert.deepEqual(ticks, [30, 60, 90]);
  });

  it('is every second from when something is until nothing is', async () => {
    const { clock, schedule, ticks, ticking } = begin();
    await clock.pass(10_000);
    schedule.room -= 1;
    ticking.next();
    ticking.next();
    await clock.pass(4_500);
    schedule.room += 1;
    await clock.pass(40_000);
    assert.deepEqual(ticks, [11, 12, 13, 14, 15, 45]);
  });

  it('ends', async () => {
    const { clock, ticks, ticking } = begin();
    ticking.cancel();
    await clock.pass(60_000);
    assert.deepEqual(ticks, []);
  });
});
