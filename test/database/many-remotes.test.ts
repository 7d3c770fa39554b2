/** Peer IDs cost nothing: what those who come under ever new ones make us write. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { updateBody } from '../../agent/database/messages.ts';
import { cheapSigner, type Member, recordsOf, Simulation } from './club-simulation.ts';

const MINUTE_MS = 60_000;

function count(member: Member, sql: string): number {
  return Number(member.sqlite.prepare<{ n: bigint }>(sql).get()?.n ?? -1n);
}

const changes = (member: Member) => count(member, 'SELECT total_changes() AS n');

const idOf = (n: number) => `e${n.toString(16).padStart(31, '0')}`;

test('a member that only connects, under ever new peer IDs, makes us write nothing', async (t) => {
  const simulation = new Simulation();
  t.after(() => simulation.close());
  const a = simulation.add({ id: 'a'.repeat(32), writable: true });
  const guest = simulation.add({ id: 'b'.repeat(32), writable: false });
  a.database.put('/a', { v: 'a' });
  simulation.connect(guest, a);
  await simulation.settle();
  const before = changes(a);
  for (let n = 0; n < 200; n++) {
    simulation.restart(guest, idOf(n));
    simulation.connect(guest, a);
    await simulation.deliverAll();
  }
  assert.equal(changes(a) - before, 0);
});

test('one that tells us something each time is noted within bounds, and what it tells is taken', async (t) => {
  const simulation = new Simulation();
  t.after(() => simulation.close());
  const a = simulation.add({ id: 'a'.repeat(32), writable: true });
  const guest = simulation.add({ id: 'b'.repeat(32), writable: false });
  const peers = () => count(a, 'SELECT count(*) AS n FROM database_peer');
  const tell = async (n: number, author: string) => {
    simulation.restart(guest, idOf(n));
    const link = simulation.connect(guest, a);
    await simulation.deliverAll();
    const body = updateBody({
      uuid: idOf(n),
      key: `/${n}`,
      valueText: '{"v":"x"}',
      deleted: false,
      lastUpdatedBy: author,
      lastUpdatedRev: BigInt(n + 1),
      updateTime: '2026-01-01T00:00:00Z',
      vectorClock: new Map([[author, BigInt(n + 1)]]),
    });
    link.inject(0, { body, signature: await cheapSigner(true).sign(body) });
    await simulation.deliverAll();
  };
  for (let n = 0; n < 300; n++) await tell(n, 'c'.repeat(32));
  assert.equal(recordsOf(a).length, 300);
  assert.ok(peers() <= 100, `${peers()} peers`);
  const noted = count(a, 'SELECT count(*) AS n FROM database_remote');
  assert.ok(noted <= 100 && noted > 10);
  assert.ok(count(a, 'SELECT count(*) AS n FROM database_since') <= 100);
  // Later there is room again.
  await simulation.clock.pass(10 * MINUTE_MS);
  await tell(300, 'c'.repeat(32));
  assert.equal(count(a, 'SELECT count(*) AS n FROM database_remote'), noted + 1);
});
