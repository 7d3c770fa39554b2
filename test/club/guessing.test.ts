import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { hostGroup, openGuessLimiter } from '../../agent/club/guessing.ts';
import { virtualClock } from '../support/virtual-clock.ts';

const MINUTE = 60_000;

test('20 failures within an hour silence an ID for an hour, whoever fails', async () => {
  const clock = virtualClock();
  const limiter = openGuessLimiter(clock);
  for (let i = 0; i < 19; i++) limiter.failed('id', `10.0.0.${i}`);
  assert.equal(limiter.isIdSilenced('id'), false);
  limiter.failed('id', '10.0.1.1');
  assert.equal(limiter.isIdSilenced('id'), true);
  assert.equal(limiter.isIdSilenced('other'), false);
  await clock.pass(59 * MINUTE);
  // What comes during the silence does not prolong it.
  for (let i = 0; i < 40; i++) limiter.failed('id', `10.0.2.${i}`);
  assert.equal(limiter.isIdSilenced('id'), true);
  await clock.pass(MINUTE + 1);
  assert.equal(limiter.isIdSilenced('id'), false);
});

test('60 failures within an hour silence an address, whatever IDs it tries', () => {
  const limiter = openGuessLimiter(virtualClock());
  for (let i = 0; i < 60; i++) {
    assert.equal(limiter.isHostSilenced('192.168.1.9'), false);
    limiter.failed(`id ${i}`, '192.168.1.9');
  }
  assert.equal(limiter.isHostSilenced('192.168.1.9'), true);
  assert.equal(limiter.isHostSilenced('192.168.1.10'), false);
});

test('failures older than an hour do not count', async () => {
  const clock = virtualClock();
  const limiter = openGuessLimiter(clock, { forId: 3 });
  for (let i = 0; i < 10; i++) {
    limiter.failed('id', 'host');
    await clock.pass(31 * MINUTE);
    assert.equal(limiter.isIdSilenced('id'), false);
  }
  limiter.failed('id', 'host');
  limiter.failed('id', 'host');
  assert.equal(limiter.isIdSilenced('id'), true);
});

test('in no hour are there more failures than the limit, however they are spread', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 0, max: 20 * MINUTE }), { maxLength: 40 }),
      async (pauses) => {
        const clock = virtualClock();
        const limiter = openGuessLimiter(clock, { forId: 4 });
        const tried: number[] = [];
        for (const pause of pauses) {
          await clock.pass(pause);
          if (limiter.isIdSilenced('id')) continue;
          limiter.failed('id', 'host');
          const now = clock.monotonic();
          tried.push(now);
          assert.ok(tried.filter((time) => time > now - 60 * MINUTE).length <= 4);
        }
      },
    ),
    { numRuns: 50 },
  );
});

test('a flood of IDs and addresses neither grows without bound nor frees who is silenced', () => {
  const clock = virtualClock();
  const limiter = openGuessLimiter(clock, { forId: 5, fromAddress: 5, remembered: 64 });
  for (let i = 0; i < 5; i++) limiter.failed('target', '10.0.0.1');
  for (let i = 0; i < 3; i++) limiter.failed('half', '10.0.0.2');
  for (let i = 0; i < 50_000; i++)
    limiter.failed(`flood ${i}`, `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}x`);
  assert.equal(limiter.isIdSilenced('target'), true);
  assert.equal(limiter.isHostSilenced('10.0.0.1'), true);
  limiter.failed('half', '10.0.0.3');
  limiter.failed('half', '10.0.0.3');
  assert.equal(limiter.isIdSilenced('half'), true);
});

test('IPv6 addresses of one /64 are one address, in every spelling', () => {
  const network = hostGroup('2001:db8:1:2::1');
  for (const host of [
    '2001:db8:1:2:ffff:ffff:ffff:ffff',
    '2001:0db8:0001:0002:0:0:0:9',
    '2001:DB8:1:2::',
    '[2001:db8:1:2::7]',
  ]) {
    assert.equal(hostGroup(host), network);
  }
  assert.notEqual(hostGroup('2001:db8:1:3::1'), network);
  assert.equal(hostGroup('::1'), hostGroup('0:0:0:0:0:0:0:2'));
  assert.equal(hostGroup('fe80::1%eth0'), hostGroup('fe80::1'));
  assert.notEqual(hostGroup('fe80::1'), hostGroup('fe80::2'));
  assert.equal(hostGroup('::ffff:10.0.0.1'), '10.0.0.1');
  assert.notEqual(hostGroup('10.0.0.1'), hostGroup('10.0.0.2'));
});
