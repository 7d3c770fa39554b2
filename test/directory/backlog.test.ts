import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { Backlog } from '../../agent/directory/backlog.ts';
import { PendingStore } from '../../agent/directory/pending.ts';
import { openSqlite } from '../../agent/platform/sqlite.ts';

function openStore(count: number): PendingStore {
  const store = new PendingStore(openSqlite(':memory:'), 'club');
  for (let i = 0; i < count; i++) add(store, i);
  return store;
}

function add(store: PendingStore, i: number): void {
  const hex = i.toString(16);
  store.put({ uuid: hex.padStart(32, '0'), kind: 'content', sha256: hex.padStart(64, '0'), size: 1n });
}

function drain(backlog: Backlog, limit: number): bigint[] {
  const ids: bigint[] = [];
  for (let rounds = 0; rounds < 10_000; rounds++) {
    const rows = backlog.next(limit);
    if (rows.length === 0) return ids;
    assert.ok(rows.length <= limit);
    ids.push(...rows.map(({ id }) => id));
  }
  throw new Error('the walk does not end');
}

describe('the backlog', () => {
  it('shows every row once, from any place and in any portions', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 60 }),
        fc.integer({ min: 1, max: 25 }),
        fc.double({ min: 0, max: 0.999_999, noNaN: true }),
        (count, limit, random) => {
          const ids = drain(new Backlog(openStore(count), () => random), limit);
          assert.equal(ids.length, count);
          assert.equal(new Set(ids).size, count);
        },
      ),
    );
  });

  it('begins at a random place', () => {
    const store = openStore(100);
    assert.equal(new Backlog(store, () => 0.5).next(1)[0]?.id, 51n);
    assert.equal(new Backlog(store, () => 0).next(1)[0]?.id, 1n);
  });

  it('puts what has just arrived first', () => {
    const store = openStore(1_000);
    const backlog = new Backlog(store, () => 0.5);
    backlog.next(10);
    add(store, 5_000);
    assert.equal(backlog.next(10)[0]?.id, 1_001n);
  });

  it('shows what arrives after the end, also a changed row, and a flood whole', () => {
    const store = openStore(10);
    const backlog = new Backlog(store, () => 0.3);
    assert.equal(drain(backlog, 4).length, 10);
    assert.deepEqual(drain(backlog, 4), []);
    store.put({ uuid: '0'.repeat(32), kind: 'content', sha256: 'ff'.repeat(32), size: 2n });
    assert.deepEqual(drain(backlog, 4), [11n]);
    for (let i = 100; i < 400; i++) add(store, i);
    const flood = new Set(drain(backlog, 100));
    for (let id = 12n; id < 312n; id++) assert.ok(flood.has(id), `row ${id} was not shown`);
    assert.deepEqual(drain(backlog, 4), []);
  });

  it('shows everything again after a restart, also one in the middle of a walk', () => {
    const store = openStore(20);
    const backlog = new Backlog(store, () => 0.9);
    backlog.next(5);
    backlog.restart();
    const ids = drain(backlog, 5);
    assert.equal(new Set(ids).size, 20);
    assert.equal(ids.length, 15 + 20);
  });
});
