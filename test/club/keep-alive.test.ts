import assert from 'node:assert/strict';
import { test } from 'node:test';
import { peerError, type SkylarkError } from '../../agent/base/errors.ts';
import { MeteredStream } from '../../agent/club/meter.ts';
import { memoryStreamPair } from '../support/memory-stream.ts';
import { virtualClock } from '../support/virtual-clock.ts';

import { PING_BYTES, ping, recorder, SECOND, say, sessionOver, setting } from './session-setting.ts';

test('pings go out every half timeout, the first at once, also while an extension is slow', async () => {
  const database = recorder('database', () => new Promise(() => {}));
  const { raw, running, session, clock } = setting([database]);
  const times: number[] = [];
  const hearing = (async () => {
    for (let json = await raw.hear(); json !== null; json = await raw.hear()) {
      assert.equal(json.type, 'core.ping');
      assert.equal(json.timeout, 60);
      times.push(clock.monotonic() / SECOND);
    }
  })();
  await raw.say(say('database.slow'));
  await clock.pass(100 * SECOND);
  assert.deepEqual(times, [0, 30, 60, 90]);
  // We were not listening, so the silence is not the peer's fault.
  await clock.pass(3_600 * SECOND);
  assert.equal(session.signal.aborted, false);
  session.close(peerError('test.over', 'over'));
  await clock.run(running.ended);
  await hearing;
});

test('two sessions keep each other alive for hours, also with different timeouts', async () => {
  for (const [left, right, pings] of [
    [60, 60, 240],
    [60, 600, 24],
    [10, 3_600, 4],
  ] as const) {
    const clock = virtualClock();
    const [a, b] = memoryStreamPair();
    const [one, two] = [
      sessionOver(a, clock, [], { timeout: left }),
      sessionOver(b, clock, [], { timeout: right }),
    ];
    await clock.pass(7_200 * SECOND);
    for (const { running, meter } of [one, two]) {
      assert.equal(running.session.signal.aborted, false);
      assert.ok(Math.abs(meter.sent.total / PING_BYTES - pings) <= pings / 10 + 2, String(meter.sent.total));
      running.session.close(undefined);
    }
    await clock.run(Promise.all([one.running.ended, two.running.ended]));
  }
});

test('pings of the peer do not put ours off', async () => {
  const { raw, session, clock, running } = setting();
  const times: number[] = [];
  const hearing = (async () => {
    while ((await raw.hear()) !== null) times.push(clock.monotonic() / SECOND);
  })();
  for (let i = 0; i < 50; i++) {
    await raw.say(ping(60));
    await clock.pass(7 * SECOND);
  }
  assert.deepEqual(times, [0, 30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 330]);
  session.close(undefined);
  await clock.run(running.ended);
  await hearing;
});

test('a peer from which nothing comes for 1.5 timeouts is given up; any byte counts', async () => {
  const { raw, running, session, clock, entries } = setting();
  await clock.pass(89 * SECOND);
  // Not even a whole message.
  await raw.say('m1');
  await clock.pass(89 * SECOND);
  assert.equal(session.signal.aborted, false);
  await clock.pass(2 * SECOND);
  const reason = await clock.run(running.ended);
  assert.equal((reason as SkylarkError).code, 'session.silent');
  assert.equal((reason as SkylarkError).fault, 'environment');
  assert.equal(entries.length, 1);
  await raw.hearAll();
  assert.ok(raw.failure !== undefined, 'the connection is gone');
});

test('the larger timeout holds for both, between 10 and 3600 seconds, however absurd the peer', async () => {
  for (const [theirs, limit] of [
    ['120', 180],
    ['5', 90],
    ['0', 90],
    ['3600', 5_400],
    ['9223372036854775807', 5_400],
  ] as const) {
    const { raw, session, clock } = setting();
    await raw.say(ping(theirs));
    await clock.pass((limit - 1) * SECOND);
    assert.equal(session.signal.aborted, false, theirs);
    await clock.pass(2 * SECOND);
    assert.equal(session.signal.aborted, true, theirs);
  }
  for (const theirs of ['-1', '1.5', '"60"', '9223372036854775808', 'null']) {
    const { raw, running, clock } = setting();
    await raw.say(ping(theirs));
    assert.equal(((await clock.run(running.ended)) as SkylarkError).code, 'schema.mismatch');
  }
});

test('our own timeout is announced, within the limits', async () => {
  for (const [timeout, announced] of [
    [1, 10],
    [300, 300],
    [1e9, 3_600],
  ] as const) {
    const { raw, session } = setting([], { timeout });
    assert.equal((await raw.hear())?.timeout, announced);
    session.close(undefined);
  }
});

test('while a peer does not read, pings do not pile up', async () => {
  const { raw, session, clock, running } = setting([], { capacity: 1 });
  // It sends, so that it is not given up, but reads nothing.
  for (let i = 0; i < 100; i++) {
    await raw.say(ping(60));
    await clock.pass(30 * SECOND);
  }
  assert.equal(session.signal.aborted, false);
  // Now it reads all that was waiting.
  let pings = 0;
  const hearing = (async () => {
    while ((await raw.hear()) !== null) pings += 1;
  })();
  await clock.pass(1);
  assert.ok(pings <= 2, String(pings));
  session.close(undefined);
  await clock.run(running.ended);
  await hearing;
});

test('rates fade, totals stay', async () => {
  const clock = virtualClock();
  const [a, b] = memoryStreamPair();
  const meter = new MeteredStream(b, clock);
  await meter.write(new Uint8Array(50_000));
  await a.write(new Uint8Array(10));
  await meter.read();
  assert.equal(meter.sent.total, 50_000);
  assert.equal(meter.received.total, 10);
  assert.ok(Math.abs(meter.sent.rate - 10_000) < 1);
  await clock.pass(60_000);
  assert.ok(meter.sent.rate < 1);
  assert.equal(meter.sent.total, 50_000);
  // A steady stream shows its rate.
  for (let i = 0; i < 600; i++) {
    await meter.write(new Uint8Array(100));
    await a.read();
    await clock.pass(100);
  }
  assert.ok(Math.abs(meter.sent.rate - 1_000) < 50, String(meter.sent.rate));
});
