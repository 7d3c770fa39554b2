import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { utf8 } from '../../agent/base/bytes.ts';
import { type Json, parseJson, stringifyJson } from '../../agent/base/json.ts';
import { silentLogger } from '../../agent/base/log.ts';
import {
  type Change,
  type DatabaseRecord,
  openClubDatabase,
  type ReplicatedDatabase,
  type Version,
} from '../../agent/database/database.ts';
import { clubsWithRecords, forgetSomeOfClub } from '../../agent/database/forget.ts';
import { openSqlite, type Sqlite } from '../../agent/platform/sqlite.ts';
import { virtualClock } from '../support/virtual-clock.ts';
import { policy } from './club-simulation.ts';

const SELF = 'a'.repeat(32);
const PEER = 'b'.repeat(32);
const UUID = '1'.repeat(32);

interface Setup {
  readonly sqlite: Sqlite;
  readonly clock: ReturnType<typeof virtualClock>;
  readonly database: ReplicatedDatabase;
  reopen(self?: string): ReplicatedDatabase;
}

function setup(t: TestContext, options: { writable?: boolean; start?: bigint } = {}): Setup {
  const sqlite = openSqlite(':memory:');
  t.after(() => sqlite.close());
  const clock = virtualClock(options.start);
  let open: ReplicatedDatabase | undefined;
  const reopen = (self = SELF) => {
    open?.close();
    open = openClubDatabase({
      sqlite,
      club: 'club',
      self,
      writable: options.writable ?? true,
      conflicts: policy,
      clock,
      log: silentLogger,
    });
    return open;
  };
  t.after(() => open?.close());
  return { sqlite, clock, database: reopen(), reopen };
}

function version(fields: Partial<Version> = {}): Version {
  return {
    uuid: UUID,
    key: '/a',
    value: { v: 'theirs' },
    deleted: false,
    lastUpdatedBy: PEER,
    lastUpdatedRev: 1n,
    updateTime: '2026-01-01T00:00:00Z',
    vectorClock: new Map([[PEER, 1n]]),
    ...fields,
  };
}

const take = (database: ReplicatedDatabase, incoming: Version) =>
  database.transaction(() => database.receive(incoming, PEER, undefined));
const keys = (records: Iterable<DatabaseRecord>) => Array.from(records, ({ key }) => key);
const valueAt = (database: ReplicatedDatabase, key: string) =>
  stringifyJson(database.get(key)?.value ?? null);

test('each local change gets the next revision, a later time and a larger clock', (t) => {
  const { database } = setup(t);
  const first = database.put('/a', { v: '1' });
  const second = database.put('/a', { v: '2' });
  assert.equal(second.uuid, first.uuid);
  assert.deepEqual(
    [first, second].map(({ lastUpdatedRev }) => lastUpdatedRev),
    [1n, 2n],
  );
  assert.deepEqual(second.vectorClock, new Map([[SELF, 2n]]));
  assert.equal(first.updateTime, '2026-09-21T14:13:20Z');
  assert.equal(second.updateTime, '2026-09-21T14:13:20.000000001Z');
  assert.deepEqual(database.getByUuid(first.uuid), { ...database.get('/a') });
});

test('the same contents again are no change', (t) => {
  const { database } = setup(t);
  const first = database.put('/a', { v: '1', size: 5n });
  const again = database.put('/a', parseJson('{"size":5,"v":"1"}'));
  assert.equal(again.lastUpdatedRev, first.lastUpdatedRev);
  assert.equal(database.revision(), 1n);
});

test('a deleted record stays, and its name used again is the same record', (t) => {
  const { database } = setup(t);
  const made = database.put('/a', { v: '1' });
  const removed = database.remove(made.uuid);
  assert.ok(removed.deleted);
  assert.equal(database.get('/a'), undefined);
  assert.deepEqual(keys(database.iterate()), []);
  assert.deepEqual(keys(database.iterate({ includeDeleted: true })), ['/a']);
  assert.equal(database.remove(made.uuid).lastUpdatedRev, removed.lastUpdatedRev, 'deleted once');
  assert.equal(database.put('/a', { v: '2' }).uuid, made.uuid);
  assert.throws(() => database.remove(UUID), { code: 'database.no_record' });
});

test('renaming keeps the record and its contents', (t) => {
  const { database } = setup(t);
  const made = database.put('/a', { v: '1' });
  database.rename(made.uuid, '/b');
  assert.equal(database.get('/a'), undefined);
  assert.equal(database.get('/b')?.uuid, made.uuid);
  database.remove(made.uuid);
  assert.throws(() => database.rename(made.uuid, '/c'), { code: 'database.no_record' });
});

test('a rename by someone who did not know of an edit moves the edited contents', (t) => {
  const { database } = setup(t);
  const made = database.put('/a', { v: '1' });
  take(
    database,
    version({
      uuid: made.uuid,
      vectorClock: new Map([...made.vectorClock, [PEER, 1n]]),
      updateTime: '2027-01-01T00:00:00Z',
    }),
  );
  const moved = database.rename(made.uuid, '/b', { basedOn: made.writtenClock });
  assert.equal(stringifyJson(moved.value), '{"v":"theirs"}');
  assert.deepEqual(
    moved.vectorClock,
    new Map([
      [SELF, 2n],
      [PEER, 1n],
    ]),
  );
  assert.deepEqual(moved.writtenClock, new Map([[SELF, 2n]]), 'the writer still has not seen the edit');
});

test('a rename by someone who did not know of the deletion brings the record back', (t) => {
  const { database } = setup(t);
  const made = database.put('/a', { v: '1' });
  const deletion = version({
    uuid: made.uuid,
    deleted: true,
    value: { v: '1' },
    updateTime: '2027-01-01T00:00:00Z',
    vectorClock: new Map([...made.vectorClock, [PEER, 1n]]),
  });
  take(database, deletion);
  database.rename(made.uuid, '/b', { basedOn: made.writtenClock });
  assert.equal(valueAt(database, '/b'), '{"v":"1"}');
});

test('a change based on an older version is a concurrent one: it wins, and what it displaces is kept', (t) => {
  const { database } = setup(t);
  const mine = database.put('/a', { v: 'mine' });
  const theirs = new Map([...mine.vectorClock, [PEER, 1n]]);
  take(database, version({ uuid: mine.uuid, vectorClock: theirs, updateTime: '2030-01-01T00:00:00Z' }));
  assert.equal(valueAt(database, '/a'), '{"v":"theirs"}');
  const late = database.put('/a', { v: 'late' }, { uuid: mine.uuid, basedOn: mine.writtenClock });
  assert.equal(valueAt(database, '/a'), '{"v":"late"}');
  assert.deepEqual(late.writtenClock, new Map([[SELF, 2n]]));
  assert.deepEqual(
    late.vectorClock,
    new Map([
      [SELF, 2n],
      [PEER, 1n],
    ]),
  );
  const [, copy] = database.iterate();
  assert.match(copy?.key ?? '', /^\/a\.CONFLICT\.[a-z2-7]{8}$/);
  assert.equal(stringifyJson(copy?.value ?? null), `{"v":"theirs","conflict_source":"${mine.uuid}"}`);
  // The next change by the same writer is no conflict with his own last one.
  database.put('/a', { v: 'later' }, { uuid: mine.uuid, basedOn: late.writtenClock });
  assert.equal(keys(database.iterate()).length, 2);
});

test('two writers on one device do not overwrite each other either', (t) => {
  const { database } = setup(t);
  const base = database.put('/a', { v: 'base' });
  const page = database.put('/a', { v: 'page' }, { basedOn: base.writtenClock });
  const disk = database.put('/a', { v: 'disk' }, { basedOn: base.writtenClock });
  assert.notEqual(disk.lastUpdatedBy, page.lastUpdatedBy);
  assert.equal(valueAt(database, '/a'), '{"v":"disk"}');
  assert.deepEqual(
    Array.from(database.iterate(), ({ value }) => (value as { v: Json }).v),
    ['disk', 'page'],
  );
  database.put('/a', { v: 'disk again' }, { basedOn: disk.writtenClock });
  assert.equal(keys(database.iterate()).length, 2, 'and the late one goes on without a further conflict');
});

test('somebody who knew of nothing and has the same contents makes no conflict', (t) => {
  const { database } = setup(t);
  take(database, version());
  const made = database.put('/a', { v: 'theirs' }, { basedOn: new Map() });
  assert.equal(made.uuid, UUID);
  assert.deepEqual(made.writtenClock, new Map([[PEER, 1n]]));
  assert.equal(database.revision(), 0n);
});

test('records of a read-only member are changed by others only', (t) => {
  const { database } = setup(t, { writable: false });
  for (const change of [
    () => database.put('/a', {}),
    () => database.rename(UUID, '/a'),
    () => database.remove(UUID),
  ]) {
    assert.throws(change, { code: 'database.read_only', fault: 'user' });
  }
});

test('what no other member would take is refused here', (t) => {
  const { database } = setup(t);
  assert.throws(() => database.put('x'.repeat(16_000), {}), { code: 'database.key_unusable' });
  assert.throws(() => database.put('\ud800', {}), { code: 'database.key_unusable' });
  assert.throws(() => database.put('/a', 'x'.repeat(1_047_500)), { code: 'database.value_too_large' });
  assert.equal(database.revision(), 0n);
  assert.deepEqual(keys(database.iterate()), []);
});

test('iterating goes by the bytes of the keys, in pages, from any key, below any prefix', (t) => {
  const { database } = setup(t);
  const names = Array.from({ length: 600 }, (_, i) => `/folder/${String(i).padStart(4, '0')}`);
  const odd = [
    '/folder',
    '/folder!',
    '/folder/\0',
    '/folder/\u{10ffff}',
    '/folder/\uffff',
    '/folder0',
    '/é',
    '',
  ];
  database.transaction(() => {
    for (const name of [...names, ...odd]) database.put(name, { v: name });
  });
  const inOrder = [...names, ...odd].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  assert.deepEqual(keys(database.iterate()), inOrder);
  fc.assert(
    fc.property(
      fc.constantFrom('', '/', '/folder/', '/folder/00', '/folder/\u{10ffff}', '/g'),
      fc.option(fc.constantFrom(...inOrder, '/folder/0100x', '/zzz'), { nil: undefined }),
      (prefix, after) => {
        const expected = inOrder.filter(
          (name) =>
            name.startsWith(prefix) &&
            (after === undefined || Buffer.compare(Buffer.from(name), Buffer.from(after)) > 0),
        );
        const options = after === undefined ? { prefix } : { prefix, after };
        assert.deepEqual(keys(database.iterate(options)), expected);
      },
    ),
  );
});

test('records may be changed while they are iterated', (t) => {
  const { database } = setup(t);
  for (let i = 0; i < 700; i++) database.put(`/${String(i).padStart(3, '0')}`, { v: `${i}` });
  let count = 0;
  for (const { uuid } of database.iterate()) {
    count += 1;
    database.remove(uuid);
  }
  assert.equal(count, 700);
});

test('keys and values come back exactly', (t) => {
  const { database, reopen } = setup(t);
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), fc.jsonValue(), (key, plain) => {
      const value = parseJson(JSON.stringify([plain]));
      database.put(key, value);
      assert.equal(stringifyJson(database.get(key)?.value ?? null), stringifyJson(value));
      assert.equal(database.get(key)?.key, key);
    }),
  );
  const exact = '{"a":9223372036854775807,"b":1e400,"c":0.10,"__proto__":{"x":-0},"d":"\\ud800"}';
  database.put('/exact', parseJson(exact));
  assert.equal(valueAt(reopen(), '/exact'), exact);
});

test('times and clocks of others come back exactly', (t) => {
  const { database, reopen } = setup(t);
  const times = [
    '2026-01-01T00:00:00.000Z',
    '0000-01-01T00:00:00Z',
    '9999-12-31T23:59:59.999999999Z',
    '2262-04-11T23:47:16.854775807Z',
  ];
  for (const [i, updateTime] of times.entries()) {
    const vectorClock = new Map([
      [PEER, 2n ** 63n - 1n],
      ['c'.repeat(32), 0n],
      ['0'.repeat(32), 2n ** 53n + 1n],
    ]);
    take(
      database,
      version({
        uuid: `${i}`.repeat(32),
        key: `/${i}`,
        updateTime,
        vectorClock,
        lastUpdatedRev: 2n ** 63n - 1n,
      }),
    );
    const stored = reopen().get(`/${i}`);
    assert.equal(stored?.updateTime, updateTime);
    assert.deepEqual([...(stored?.vectorClock ?? [])], [...vectorClock]);
    assert.equal(stored?.lastUpdatedRev, 2n ** 63n - 1n);
  }
});

test('changes are told inside their transaction and after its commit, and not at all if it is undone', (t) => {
  const { database, sqlite } = setup(t);
  const inside: Change[] = [];
  const after: (readonly Change[])[] = [];
  database.inTransaction((change) => {
    assert.ok(sqlite.inTransaction);
    inside.push(change);
  });
  database.onCommit((changes) => {
    assert.ok(!sqlite.inTransaction);
    after.push(changes);
  });
  sqlite.transaction(() => {
    const { uuid } = database.put('/a', { v: '1' });
    assert.throws(() =>
      database.transaction(() => {
        database.put('/undone', { v: 'x' });
        throw new Error('no');
      }),
    );
    database.rename(uuid, '/b');
  });
  assert.deepEqual(
    inside.map(({ before, after: now }) => [before?.key, now.key]),
    [
      [undefined, '/a'],
      [undefined, '/undone'],
      ['/a', '/b'],
    ],
  );
  assert.deepEqual(
    after.map((changes) => changes.map(({ after: now, origin }) => [now.key, origin])),
    [
      [
        ['/a', 'local'],
        ['/b', 'local'],
      ],
    ],
  );
  take(database, version({ key: '/c' }));
  assert.deepEqual(
    after.at(-1)?.map(({ origin }) => origin),
    [{ peer: PEER }],
  );
});

test('a listener that fails inside the transaction undoes the change, revision included', (t) => {
  const { database } = setup(t);
  const stop = database.inTransaction(() => {
    throw new Error('the disk is full');
  });
  assert.throws(() => database.put('/a', { v: '1' }), /the disk is full/);
  assert.equal(database.get('/a'), undefined);
  stop();
  assert.equal(database.put('/a', { v: '1' }).lastUpdatedRev, 1n);
});

test('revisions go on after a restart, and under another peer ID', (t) => {
  const { database, reopen } = setup(t);
  database.put('/a', { v: '1' });
  assert.equal(reopen().put('/a', { v: '2' }).lastUpdatedRev, 2n);
  const other = reopen(PEER).put('/a', { v: '3' });
  assert.equal(other.lastUpdatedRev, 3n);
  assert.equal(other.lastUpdatedBy, PEER);
});

test('two new records of one key: after a while the later one keeps it, the other becomes a copy', async (t) => {
  const { database, clock } = setup(t);
  const changes: Change[] = [];
  database.onCommit((committed) => changes.push(...committed));
  const mine = database.put('/a', { v: 'mine' });
  take(database, version({ updateTime: '2030-01-01T00:00:00Z' }));
  assert.ok(database.isContested('/a'), 'not at once: the other one may be on its way elsewhere');
  assert.equal(keys(database.iterate()).length, 1, 'only one is shown');
  await clock.pass(1_001);
  assert.ok(!database.isContested('/a'));
  assert.equal(valueAt(database, '/a'), '{"v":"theirs"}');
  assert.equal(database.getByUuid(mine.uuid)?.deleted, true);
  assert.deepEqual(
    Array.from(database.iterate(), ({ value }) => (value as { v: Json }).v),
    ['theirs', 'mine'],
  );
  assert.deepEqual(
    changes.slice(2).map(({ after, origin }) => [after.deleted, origin]),
    [
      [false, 'merge'],
      [true, 'merge'],
    ],
    'the copy comes before the record goes',
  );
});

test('two records of one key with equal contents become one, without a copy', async (t) => {
  const { database, clock } = setup(t);
  database.put('/a', { v: 'theirs' });
  take(database, version({ updateTime: '2030-01-01T00:00:00Z' }));
  await clock.pass(1_001);
  assert.deepEqual(keys(database.iterate()), ['/a']);
  assert.equal(database.get('/a')?.uuid, UUID);
});

test('names that change hands are no conflict while the rest of the change is on its way', async (t) => {
  const { database, clock } = setup(t);
  const a = '2'.repeat(32);
  const b = '3'.repeat(32);
  take(database, version({ uuid: a, key: '/a', value: { v: 'A' } }));
  take(database, version({ uuid: b, key: '/b', value: { v: 'B' }, lastUpdatedRev: 2n }));
  const swapped = { vectorClock: new Map([[PEER, 2n]]), updateTime: '2026-02-01T00:00:00Z' };
  take(database, version({ uuid: a, key: '/b', value: { v: 'A' }, lastUpdatedRev: 3n, ...swapped }));
  await clock.pass(900);
  take(database, version({ uuid: 'e'.repeat(32), key: '/other', lastUpdatedRev: 4n }));
  await clock.pass(900);
  take(database, version({ uuid: b, key: '/a', value: { v: 'B' }, lastUpdatedRev: 5n, ...swapped }));
  await clock.pass(60_000);
  assert.equal(database.revision(), 0n, 'nothing was decided');
  assert.deepEqual(keys(database.iterate()), ['/a', '/b', '/other']);
  assert.equal(database.get('/a')?.uuid, b);
});

test('a peer that never stops sending can not put a decision off for ever', async (t) => {
  const { database, clock } = setup(t);
  database.put('/a', { v: 'mine' });
  take(database, version());
  for (let i = 2; i < 100; i++) {
    take(database, version({ uuid: 'e'.repeat(32), key: '/other', lastUpdatedRev: BigInt(i) }));
    await clock.pass(500);
  }
  assert.ok(!database.isContested('/a'));
});

test('a decision that was not made before the end is made after the next start', async (t) => {
  const { database, clock, reopen } = setup(t);
  database.put('/a', { v: 'mine' });
  take(database, version());
  const later = reopen();
  assert.ok(later.isContested('/a'));
  await clock.pass(1_001);
  assert.ok(!later.isContested('/a'));
  assert.equal(keys(later.iterate()).length, 2);
});

test('a read-only member shows the winner of a key and leaves the decision to others', async (t) => {
  const { database, clock } = setup(t, { writable: false });
  take(database, version({ value: { v: 'early' } }));
  take(database, version({ uuid: '2'.repeat(32), lastUpdatedRev: 2n, updateTime: '2027-01-01T00:00:00Z' }));
  await clock.pass(60_000);
  assert.equal(valueAt(database, '/a'), '{"v":"theirs"}');
  assert.deepEqual(keys(database.iterate()), ['/a']);
  assert.deepEqual(keys(database.iterate({ includeDeleted: true })), ['/a', '/a']);
  assert.ok(!database.isContested('/a'));
  // Enough of them to fill pages with one key.
  for (let i = 0; i < 300; i++) {
    take(database, version({ uuid: i.toString(16).padStart(32, '0'), lastUpdatedRev: BigInt(i + 3) }));
  }
  assert.deepEqual(keys(database.iterate()), ['/a']);
});

test('a record with clocks and a time from a hostile member can still be changed by everybody', (t) => {
  const max = 2n ** 63n - 1n;
  const full = Array.from({ length: 4_096 }, (_, i) => [i.toString(16).padStart(32, '0'), max - 1n] as const);
  for (const vectorClock of [
    new Map([
      [SELF, max],
      [PEER, max],
    ]),
    new Map(full),
  ]) {
    const { database } = setup(t);
    take(
      database,
      version({ updateTime: '9999-12-31T23:59:59.999999999Z', vectorClock, lastUpdatedRev: max }),
    );
    const changed = database.put('/a', { v: 'changed' });
    assert.equal(valueAt(database, '/a'), '{"v":"changed"}');
    assert.ok(changed.vectorClock.size <= 4_096);
    database.remove(changed.uuid);
    assert.equal(database.get('/a'), undefined);
    assert.deepEqual(keys(database.iterate()), [], 'and no conflict copy is made of it');
  }
});

test('clubs in one file do not see each other, and a club can be forgotten', (t) => {
  const { database, sqlite, clock } = setup(t);
  const other = openClubDatabase({
    sqlite,
    club: 'other',
    self: PEER,
    writable: true,
    conflicts: policy,
    clock,
    log: silentLogger,
  });
  database.put('/a', { v: 'here' });
  other.put('/a', { v: 'there' });
  assert.equal(valueAt(other, '/a'), '{"v":"there"}');
  assert.equal(other.revision(), 1n);
  other.close();
  other.since.advance({ id: PEER, level: 'read_write' }, PEER, 3n);
  other.since.setRefreshed({ id: PEER, level: 'read_write' }, 1n);
  let steps = 1;
  while (forgetSomeOfClub(sqlite, 'other', 1)) steps += 1;
  assert.equal(steps, 4, 'a record, two rows about a remote, and the club itself');
  assert.equal(forgetSomeOfClub(sqlite, 'never heard of', 1), false);
  assert.deepEqual([...clubsWithRecords(sqlite)].includes('other'), false);
  assert.equal(valueAt(database, '/a'), '{"v":"here"}');
  assert.throws(() => other.put('/a', { v: 'x' }), { code: 'database.forgotten' });
  // An old copy of the state file brings the keys and the peer ID back.
  const again = openClubDatabase({
    sqlite,
    club: 'other',
    self: PEER,
    writable: true,
    conflicts: policy,
    clock,
    log: silentLogger,
  });
  assert.equal(again.put('/a', { v: 'again' }).lastUpdatedRev, 2n);
  again.close();
});

test('signed bodies are kept byte for byte, also those that we would have written otherwise', (t) => {
  const { database } = setup(t, { writable: false });
  const text = `{ "type":"database.update", "unknown":1, "key":"/a" }`;
  const signed = { body: utf8(text), signature: 'QUJD' };
  const applied = database.transaction(() => database.receive(version(), PEER, signed));
  const [item] = database.feed.bySequence(applied.sequence - 1, { items: 9, size: 9 }).items;
  assert.deepEqual(item?.body && Buffer.from(item.body).toString(), text);
  assert.equal(item?.signature, 'QUJD');
  const odd = database.transaction(() =>
    database.receive(version({ uuid: '2'.repeat(32) }), PEER, { ...signed, signature: 'QUJ D' }),
  );
  const [second] = database.feed.bySequence(odd.sequence - 1, { items: 9, size: 9 }).items;
  assert.equal(second?.signature, 'QUJ D');
});
