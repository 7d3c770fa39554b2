import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SteadyTime } from '../../agent/base/steady-time.ts';
import { settableClock } from '../support/settable-clock.ts';

const MINUTE = 60_000;

test('the clock is relied upon after ten minutes without a jump, and no longer after one', async () => {
  const clock = settableClock('2026-11-30T12:00:00Z');
  const time = new SteadyTime(clock);
  const pass = async (minutes: number) => {
    for (let i = 0; i < minutes; i++) {
      await clock.pass(MINUTE);
      time.now();
    }
  };
  assert.equal(time.now(), undefined);
  await pass(9);
  assert.equal(time.now(), undefined);
  await pass(1);
  assert.equal(time.now(), clock.now());
  clock.set('2027-03-01T00:00:00Z');
  assert.equal(time.now(), undefined);
  await pass(9);
  assert.equal(time.now(), undefined);
  clock.set('2026-11-30T12:20:00Z');
  await pass(10);
  assert.equal(time.now(), undefined, 'it jumped back in between');
  await pass(1);
  assert.equal(time.now(), clock.now());
});

test('in 1970 it is never relied upon', async () => {
  const clock = settableClock('1970-01-01T00:00:00Z');
  const time = new SteadyTime(clock);
  for (let i = 0; i < 60; i++) {
    await clock.pass(MINUTE);
    assert.equal(time.now(), undefined);
  }
  clock.set('2026-01-01T00:00:00Z');
  assert.equal(time.now(), undefined);
  for (let i = 0; i < 10; i++) {
    await clock.pass(MINUTE);
    time.now();
  }
  assert.equal(time.now(), clock.now());
});

test('being set by some seconds is no jump', async () => {
  const clock = settableClock('2026-11-30T12:00:00Z');
  const time = new SteadyTime(clock);
  time.now();
  for (let i = 0; i < 10; i++) {
    await clock.pass(MINUTE);
    clock.shift(20_000);
    time.now();
  }
  assert.equal(time.now(), clock.now());
});
