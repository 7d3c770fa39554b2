import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { silentLogger } from '../../agent/base/log.ts';
import { Dialler, type DialTarget } from '../../agent/discovery/dialler.ts';
import type { DialOutcome } from '../../agent/discovery/place-table.ts';
import type { Candidate } from '../../agent/discovery/source.ts';
import { virtualClock } from '../support/virtual-clock.ts';

const ID = 'a'.repeat(64);
const US = '5'.repeat(32);
const THEM = '9'.repeat(32);
const candidate: Candidate = {
  id: ID,
  address: { host: '10.0.0.9', port: 1000 },
  peer: THEM,
  versions: [1],
  source: 'lan',
  seenAt: 0,
};

interface StartedDial {
  readonly target: DialTarget;
  readonly signal: AbortSignal;
  readonly settle: (outcome: DialOutcome) => void;
  readonly fail: (reason: Error) => void;
}

function dialler(t: TestContext) {
  const clock = virtualClock();
  const dials: StartedDial[] = [];
  const dialler = new Dialler({
    dial: (target, signal) =>
      new Promise((resolve, reject) => {
        dials.push({ target, signal, settle: resolve, fail: reject });
        signal.addEventListener('abort', () => reject(signal.reason), { once: true });
      }),
    clock,
    log: silentLogger,
    random: () => 0.5,
  });
  t.after(() => dialler.close());
  dialler.seek([{ id: ID, peer: US, establish: [1], club: 'club', preference: 1 }]);
  return { dialler, dials, clock };
}

test('a candidate is dialled, and again at once after its session', async (t) => {
  const { dialler: each, dials, clock } = dialler(t);
  each.offer(candidate);
  await clock.pass(50);
  assert.deepEqual(dials[0]?.target, {
    id: ID,
    club: 'club',
    address: candidate.address,
    peer: THEM,
    versions: [1],
    source: 'lan',
  });
  assert.equal(each.attempts()[0]?.state, 'dialling');
  each.sessionOpened('club', THEM);
  dials[0]?.settle({ kind: 'connected', peer: THEM });
  await clock.pass(600_000);
  assert.equal(dials.length, 1);
  assert.equal(dials[0]?.signal.aborted, false);
  assert.equal(each.attempts()[0]?.state, 'connected');
  each.sessionEnded('club', THEM);
  await clock.pass(300);
  assert.equal(dials.length, 2);
});

test('a dial that throws has failed, and is tried again later', async (t) => {
  const { dialler: each, dials, clock } = dialler(t);
  each.offer(candidate);
  await clock.pass(50);
  dials[0]?.fail(new Error('no'));
  await clock.pass(100);
  assert.equal(dials.length, 1);
  const [attempt] = each.attempts();
  assert.equal(attempt?.lastOutcome, 'failed');
  assert.ok(attempt?.retryIn !== undefined && attempt.retryIn > 0);
  await clock.pass(1_500);
  assert.equal(dials.length, 2);
});

test('a dial that never ends is given up', async (t) => {
  const { dialler: each, dials, clock } = dialler(t);
  each.offer(candidate);
  await clock.pass(59_000);
  assert.equal(dials[0]?.signal.aborted, false);
  await clock.pass(2_000);
  assert.equal(dials[0]?.signal.aborted, true);
});

test('what is no longer sought is given up', async (t) => {
  const { dialler: each, dials, clock } = dialler(t);
  each.offer(candidate);
  await clock.pass(50);
  each.seek([]);
  await clock.pass(50);
  assert.equal(dials[0]?.signal.aborted, true);
});

test('closing gives up all dials and waits for them', async (t) => {
  const { dialler: each, dials, clock } = dialler(t);
  each.offer(candidate);
  await clock.pass(50);
  await each.close();
  assert.equal(dials[0]?.signal.aborted, true);
  each.offer({ ...candidate, address: { host: '10.0.0.8', port: 1 } });
  await clock.pass(10_000);
  assert.equal(dials.length, 1);
});
