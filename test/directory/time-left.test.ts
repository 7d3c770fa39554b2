import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TimeLeft } from '../../agent/directory/time-left.ts';
import { virtualClock } from '../support/virtual-clock.ts';

test('it follows from how fast contents come, from the beginning', async () => {
  const clock = virtualClock();
  const left = new TimeLeft(clock);
  assert.equal(left.of(1_000_000n), undefined);
  await clock.pass(3_600_000);
  for (let i = 0; i < 4; i++) {
    left.came(50_000);
    await clock.pass(500);
  }
  const early = left.of(1_000_000n);
  assert.ok(early !== undefined && Math.abs(early - 10) <= 1, `${early}`);
  for (let i = 0; i < 300; i++) {
    left.came(50_000);
    await clock.pass(500);
  }
  assert.equal(left.of(1_000_000n), 10);
  assert.equal(left.of(1n), 1);
  assert.equal(left.of(0n), undefined);
});

test('a moment is not enough, and without anything that comes nobody knows', async () => {
  const clock = virtualClock();
  const left = new TimeLeft(clock);
  left.came(100_000_000);
  assert.equal(left.of(1_000n), undefined);
  await clock.pass(10_000);
  left.came(1);
  const slower = left.of(1_000_000_000n);
  await clock.pass(20_000);
  assert.ok(
    slower !== undefined && (left.of(1_000_000_000n) ?? 0) > slower,
    'it takes longer the longer nothing comes',
  );
  await clock.pass(11_000);
  assert.equal(left.of(1_000n), undefined);
});

test('a slower line is believed after a while', async () => {
  const clock = virtualClock();
  const left = new TimeLeft(clock);
  for (let i = 0; i < 60; i++) {
    left.came(1_000_000);
    await clock.pass(1_000);
  }
  for (let i = 0; i < 180; i++) {
    left.came(10_000);
    await clock.pass(1_000);
  }
  const seconds = left.of(1_000_000n);
  assert.ok(seconds !== undefined && seconds > 70 && seconds <= 100, `${seconds}`);
});
