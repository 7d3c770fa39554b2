/** What shows that another device goes by our peer ID, and what a hostile member can make of that. */

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { getUpdates, updateBody } from '../../agent/database/messages.ts';
import { encode } from '../../agent/wire/message.ts';
import { cheapSigner, type Link, type Member, recordsOf, Simulation } from './club-simulation.ts';

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;

function simulate(t: TestContext, ...writable: readonly boolean[]): [Simulation, ...Member[]] {
  const simulation = new Simulation();
  t.after(() => simulation.close());
  const members = writable.map((each, i) => simulation.add({ id: `${i}`.repeat(32), writable: each }));
  return [simulation, ...members];
}

/** An update by `author` that it may never have made. */
function forged(author: string, revision: bigint, key = '/forged'): Uint8Array {
  return updateBody({
    uuid: revision.toString(16).padStart(32, 'f'),
    key,
    valueText: '{"v":"x"}',
    deleted: false,
    lastUpdatedBy: author,
    lastUpdatedRev: revision,
    updateTime: '2026-01-01T00:00:00Z',
    vectorClock: new Map([[author, revision]]),
  });
}

function asksFor(link: Link, side: 0 | 1, since: ReadonlyMap<string, bigint>): void {
  link.inject(side, { json: encode(getUpdates, { since }) });
}

function same(...members: readonly Member[]): void {
  for (const member of members) assert.deepEqual(recordsOf(member), recordsOf(members[0]!));
}

test('what a read-only member says without a signature of the club is no sign of a copy', async (t) => {
  const [simulation, a, guest] = simulate(t, true, false);
  a!.database.put('/a', { v: 'a' });
  const link = simulation.connect(guest!, a!);
  await simulation.settle();
  link.inject(0, { body: forged(a!.id, 9n) });
  link.inject(0, { body: forged(a!.id, 10n), signature: 'AAAA' });
  asksFor(link, 0, new Map([[a!.id, 11n]]));
  await simulation.settle();
  assert.deepEqual(a!.restored, []);
  assert.equal(a!.database.revision(), 1n);
  assert.equal(recordsOf(a!).length, 1);
});

test('a signed update that a read-only member relays is a sign', async (t) => {
  const [simulation, a, guest] = simulate(t, true, false);
  const link = simulation.connect(guest!, a!);
  await simulation.settle();
  const body = forged(a!.id, 9n);
  link.inject(0, { body, signature: await cheapSigner(true).sign(body) });
  await simulation.settle();
  assert.deepEqual(a!.restored, [9n]);
});

test('a device that may only read gives out no revisions, and needs no new peer ID', async (t) => {
  const [simulation, a, guest] = simulate(t, true, false);
  const link = simulation.connect(a!, guest!);
  await simulation.settle();
  const body = forged(guest!.id, 9n);
  link.inject(0, { body, signature: await cheapSigner(true).sign(body) });
  asksFor(link, 0, new Map([[guest!.id, 11n]]));
  await simulation.settle();
  assert.deepEqual(guest!.restored, []);
});

test('whoever claims to know more of our changes than there are is sent all of them', async (t) => {
  for (const writable of [true, false]) {
    const [simulation, a, other] = simulate(t, true, writable);
    a!.database.put('/a', { v: 'a' });
    a!.mints = false;
    const link = simulation.connect(other!, a!);
    await simulation.settle();
    const before = link.sent[1].length;
    asksFor(link, 0, new Map([[a!.id, 1n]]));
    await simulation.settle();
    assert.equal(link.sent[1].length, before);
    asksFor(link, 0, new Map([[a!.id, 100n]]));
    await simulation.settle();
    assert.equal(link.sent[1].length, before + 1);
    same(a!, other!);
  }
});

test('without a new peer ID, no revision is used twice and what was lost comes back, also after a restart', async (t) => {
  const [simulation, a, b] = simulate(t, true, true);
  for (let i = 0; i < 5; i++) a!.database.put(`/${i}`, { v: `${i}` });
  simulation.connect(a!, b!);
  await simulation.settle();
  simulation.disconnect(a!);
  const restored = simulation.add({ id: a!.id, writable: true });
  restored.mints = false;
  // Before it is told, it goes on from where it was put back to.
  restored.database.put('/offline', { v: 'offline' });
  const link = simulation.connect(restored, b!);
  // The very first word of the peer tells; nothing else has arrived when the connection breaks.
  while (restored.restored.length === 0) await link.deliver(1);
  simulation.disconnect(restored);
  assert.deepEqual(restored.restored, [5n]);
  assert.equal(restored.database.put('/next', { v: 'next' }).lastUpdatedRev, 6n);
  restored.restart();
  simulation.connect(restored, b!);
  await simulation.settle();
  same(restored, b!);
  assert.equal(recordsOf(b!).length, 7);
});

test('when no new peer ID was to be had it is asked for again, ever more seldom, and little is written', async (t) => {
  const [simulation, a, b] = simulate(t, true, true);
  a!.mints = false;
  const link = simulation.connect(b!, a!);
  await simulation.settle();
  const changes = () => a!.sqlite.prepare<{ n: bigint }>('SELECT total_changes() AS n').get()?.n ?? 0n;
  let before = changes();
  for (let minute = 0; minute < 24 * 60; minute++) {
    asksFor(
      link,
      0,
      new Map([
        [b!.id, 0n],
        [a!.id, a!.database.revision() + 1n],
      ]),
    );
    await simulation.deliverAll();
    await simulation.clock.pass(MINUTE_MS);
  }
  assert.ok(a!.restored.length >= 24 && a!.restored.length <= 40, `${a!.restored.length} in a day`);
  assert.ok(changes() - before <= 100n, `${changes() - before} rows changed`);
  // One that is out of reach costs no revisions at all.
  before = a!.database.revision();
  for (let day = 0; day < 3; day++) {
    asksFor(link, 0, new Map([[a!.id, 2n ** 63n - 1n]]));
    await simulation.deliverAll();
    await simulation.clock.pass(DAY_MS);
  }
  assert.equal(a!.database.revision(), before);
  assert.ok(a!.warnings.length < 60);
  // As soon as one is to be had, it is the last time.
  a!.mints = true;
  const told = a!.restored.length;
  for (let day = 0; day < 3; day++) {
    asksFor(link, 0, new Map([[a!.id, 2n ** 63n - 1n]]));
    await simulation.deliverAll();
    await simulation.clock.pass(DAY_MS);
  }
  assert.equal(a!.restored.length, told + 1);
});
