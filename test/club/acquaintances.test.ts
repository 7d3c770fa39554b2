/** Whom a device met: what is kept of it, for how long, and what that costs the disk. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { noteWhile } from '../../agent/club/acquaintances.ts';
import type { Registry } from '../../agent/club/registry.ts';
import { virtualClock } from '../support/virtual-clock.ts';
import { TestDevice } from './test-device.ts';

const MINUTE = 60_000;
const HOUR = 3_600_000;
const DAY = 24 * HOUR;

async function someClub(start?: bigint) {
  const clock = virtualClock(start);
  const host = new TestDevice(clock);
  const registry = await host.start();
  const { id } = await registry.create({ name: 'Music', folder: '/music' });
  return { clock, host, registry, id };
}

const peer = (n: number) => ({ id: n.toString(16).padStart(32, '0'), software: 'test' });
const idsOf = (registry: Registry, id: string) => registry.get(id)?.peers.map((each) => each.id) ?? [];

test('a member under ever new IDs makes us write a few times a day, and what was met is known nevertheless', async () => {
  const { clock, host, registry, id } = await someClub();
  let writes = 0;
  for (let n = 0; n < 24 * 60; n++) {
    const before = host.disk.steps;
    await registry.remember(id, peer(n));
    await clock.pass(MINUTE);
    if (host.disk.steps > before) writes += 1;
    assert.equal(idsOf(registry, id)[0], peer(n).id);
  }
  assert.ok(writes <= 45, `${writes} writes in a day`);
  assert.equal(idsOf(registry, id).length, 256);
  await registry.close();
  // What was only in memory is written at the end.
  assert.deepEqual(idsOf(await host.start(), id), idsOf(registry, id));
});

test('the first of those who are met are written down at once, for each share by itself', async () => {
  const { host, registry, id } = await someClub();
  const other = await registry.create({ name: 'Other', folder: '/other' });
  for (let n = 0; n < 100; n++) await registry.remember(id, peer(n));
  await registry.remember(other.id, { ...peer(1), address: '10.0.0.1:1' });
  // As after a power cut.
  host.disk.restart(() => true);
  const again = await host.start();
  assert.equal(idsOf(again, other.id).length, 1);
  assert.ok(idsOf(again, id).length >= 10);
  await again.close();
});

test('what waits is written with the next write that is due', async () => {
  const { clock, host, registry, id } = await someClub();
  for (let n = 0; n < 100; n++) await registry.remember(id, peer(n));
  await clock.pass(2 * HOUR);
  assert.equal(idsOf(await host.start(), id).length, 100);
  await registry.close();
});

test('those who came to us do not push out those whom we know how to reach', async () => {
  const { registry, id } = await someClub();
  for (let n = 0; n < 3; n++) await registry.remember(id, { ...peer(n), address: `10.0.0.${n + 1}:1` });
  for (let n = 10; n < 600; n++) await registry.remember(id, peer(n));
  const ids = idsOf(registry, id);
  assert.equal(ids.length, 256);
  for (let n = 0; n < 3; n++) assert.ok(ids.includes(peer(n).id));
  // Of the others, those met longest ago have gone.
  assert.ok(ids.includes(peer(599).id) && !ids.includes(peer(300).id));
  await registry.remember(id, peer(400));
  assert.equal(idsOf(registry, id)[0], peer(400).id);
  await registry.close();
});

test('who was not seen for 90 days is forgotten, also on the disk', async () => {
  const { clock, host, registry, id } = await someClub();
  await registry.remember(id, peer(1));
  await clock.pass(89 * DAY);
  await registry.remember(id, peer(2));
  assert.equal(idsOf(registry, id).length, 2);
  await clock.pass(2 * DAY);
  assert.deepEqual(idsOf(registry, id), [peer(2).id]);
  await registry.close();
  assert.deepEqual(idsOf(await host.start(), id), [peer(2).id]);
});

test('a device whose clock is set only later forgets nobody for that', async () => {
  const { clock, host, registry, id } = await someClub(0n);
  await registry.remember(id, { ...peer(1), address: '10.0.0.1:1' });
  await clock.pass(100 * DAY);
  assert.deepEqual(idsOf(registry, id), [peer(1).id], 'days of a clock that was never set do not count');
  await registry.close();
  const later = virtualClock();
  const device = new TestDevice(later);
  device.disk.copyFrom(host.disk);
  const again = await device.start();
  assert.deepEqual(idsOf(again, id), [peer(1).id]);
  await later.pass(89 * DAY);
  assert.deepEqual(idsOf(again, id), [peer(1).id]);
  await later.pass(2 * DAY);
  assert.deepEqual(idsOf(again, id), []);
  await again.close();
});

test('a clock that jumps makes a device forget nobody, however often', async () => {
  const time = virtualClock();
  let apart = 0n;
  const host = new TestDevice({ ...time, now: () => time.now() + apart });
  const registry = await host.start();
  const { id } = await registry.create({ name: 'Music', folder: '/music' });
  await registry.remember(id, { ...peer(1), address: '10.0.0.1:1' });
  for (let times = 0; times < 3; times++) {
    // Beyond 2200, before 1975, and right again.
    for (const ms of [180n * 365n * BigInt(DAY), -55n * 365n * BigInt(DAY), 0n]) {
      apart = ms * 1_000_000n;
      await time.pass(2 * HOUR);
      assert.deepEqual(idsOf(registry, id), [peer(1).id]);
    }
  }
  await registry.close();
  apart = 180n * 365n * BigInt(DAY) * 1_000_000n;
  const again = await host.start();
  await time.pass(2 * HOUR);
  assert.deepEqual(idsOf(again, id), [peer(1).id], 'nor over a restart');
  await time.pass(91 * DAY);
  assert.deepEqual(idsOf(again, id), []);
  await again.close();
});

test('nothing that is met stays behind when a share is left, and a failing disk loses nothing', async () => {
  const { clock, host, registry, id } = await someClub();
  host.disk.steps = 0;
  host.disk.failure = Object.assign(new Error('no space'), { code: 'ENOSPC' });
  host.disk.cutAt = 1;
  await registry.remember(id, peer(1));
  assert.deepEqual(idsOf(registry, id), [peer(1).id]);
  host.disk.restart(() => true);
  await clock.pass(2 * HOUR);
  assert.deepEqual(idsOf(await host.start(), id), [peer(1).id]);
  const club = registry.get(id);
  await registry.leave(id);
  assert.deepEqual(club?.peers, []);
  await assert.rejects(registry.remember(id, peer(2)), { code: 'club.unknown' });
  await registry.close();
});

test('who is connected for months is not forgotten meanwhile, nor when the connection ends', async () => {
  const { clock, host, registry, id } = await someClub();
  const ended = Promise.withResolvers<void>();
  const noted = noteWhile(ended.promise, clock, () => registry.remember(id, peer(1)));
  await clock.pass(200 * DAY);
  assert.deepEqual(idsOf(registry, id), [peer(1).id]);
  // A power cut, as it were.
  assert.deepEqual(idsOf(await host.start(), id), [peer(1).id]);
  ended.resolve();
  await noted;
  await clock.pass(89 * DAY);
  assert.deepEqual(idsOf(registry, id), [peer(1).id]);
  await clock.pass(2 * DAY);
  assert.deepEqual(idsOf(registry, id), []);
  await registry.close();
});
