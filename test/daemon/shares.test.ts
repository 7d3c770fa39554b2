/** What a share leaves behind in `records.db` when it is left, also when the program ends in the middle of that. */

import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { systemClock } from '../../agent/base/clock.ts';
import { silentLogger } from '../../agent/base/log.ts';
import type { Registry } from '../../agent/club/registry.ts';
import { Shares } from '../../agent/daemon/shares.ts';
import { openHashing } from '../../agent/directory/hashing.ts';
import { openSqlite, type Sqlite } from '../../agent/platform/sqlite.ts';
import { TestDevice } from '../club/test-device.ts';

interface Running {
  readonly registry: Registry;
  readonly shares: Shares;
  readonly sqlite: Sqlite;
  stop(): Promise<void>;
}

async function setting(t: TestContext) {
  const top = await mkdtemp(join(tmpdir(), 'skylark-shares-'));
  const device = new TestDevice(systemClock);
  const running = new Set<Running>();
  t.after(async () => {
    for (const each of running) await each.stop();
    await rm(top, { recursive: true });
  });
  const start = async (): Promise<Running> => {
    const registry = await device.start();
    const sqlite = openSqlite(join(top, 'records.db'));
    const hashing = openHashing();
    const shares = new Shares({
      registry,
      sqlite,
      hashing,
      rescanPeriod: 3_600_000,
      clock: systemClock,
      log: silentLogger,
      onShareEvent: () => {},
      onRecords: () => {},
    });
    const stop = async () => {
      if (!running.delete(each)) return;
      await shares.close();
      await registry.close();
      await hashing.close();
      sqlite.close();
    };
    const each = { registry, shares, sqlite, stop };
    running.add(each);
    return each;
  };
  const share = async ({ registry, shares, sqlite }: Running, name: string) => {
    const folder = join(top, name);
    await mkdir(folder);
    for (let i = 0; i < 20; i++) await writeFile(join(folder, `${i}.mid`), `${name} ${i}`);
    const club = await registry.create({ name, folder });
    const { share: opened } = await shares.open(club);
    // The root too is a record.
    await until(() => opened.status().files === 20 && rowsOfClub(sqlite, club.id).database_record === 21);
    return club;
  };
  return { start, share, top };
}

async function until(holds: () => boolean): Promise<void> {
  for (let i = 0; !holds(); i++) {
    assert.ok(i < 2_000, 'it did not come to that');
    await wait(10);
  }
}

interface Column {
  readonly name: string;
}

/** Rows of each club in each table that has rows of clubs, whatever tables there are. */
function rowsOfClub(sqlite: Sqlite, club: string): Record<string, number> {
  const number = (table: string) => {
    const row = sqlite.prepare<{ id: bigint }>(`SELECT id FROM ${table} WHERE club = ?`).get(club);
    return row?.id ?? -1n;
  };
  const tables = sqlite
    .prepare<{ name: string }>("SELECT name FROM sqlite_schema WHERE type = 'table'")
    .all()
    .map(({ name }) => name)
    .filter((name) => /^(database|directory)_/.test(name) && name !== 'database_forgotten');
  const counts: Record<string, number> = {};
  for (const table of tables) {
    const columns = sqlite.prepare<Column>(`SELECT name FROM pragma_table_info('${table}')`).all();
    const owner = columns.find(({ name }) => name === 'club' || name === 'share')?.name;
    if (owner === undefined) continue;
    const isByText = table === 'database_club' || (table.startsWith('directory_') && owner === 'club');
    const whose = isByText
      ? club
      : number(table.startsWith('database_') ? 'database_club' : 'directory_share');
    const row = sqlite
      .prepare<{ n: bigint }>(`SELECT count(*) AS n FROM ${table} WHERE ${owner} = ?`)
      .get(whose);
    counts[table] = Number(row?.n ?? 0n);
  }
  return counts;
}

const total = (counts: Record<string, number>) => Object.values(counts).reduce((sum, n) => sum + n, 0);

/** Rows that belong to no club that there is. */
function orphans(sqlite: Sqlite): bigint {
  const row = sqlite
    .prepare<{ n: bigint }>(
      `SELECT (SELECT count(*) FROM database_record WHERE club NOT IN (SELECT id FROM database_club))
            + (SELECT count(*) FROM directory_file WHERE share NOT IN (SELECT id FROM directory_share))
            + (SELECT count(*) FROM directory_pending WHERE share NOT IN (SELECT id FROM directory_share))
            + (SELECT count(*) FROM directory_pending_count WHERE share NOT IN (SELECT id FROM directory_share))
            + (SELECT count(*) FROM directory_setting WHERE share NOT IN (SELECT id FROM directory_share)) AS n`,
    )
    .get();
  return row?.n ?? -1n;
}

/** Rows as they would be had the share been in use for long: in every table. */
function fill(sqlite: Sqlite, club: string): void {
  for (let i = 0; i < 1_200; i++) {
    sqlite
      .prepare(
        `INSERT INTO directory_pending(share, uuid, kind, rank, size)
         SELECT id, ?, 2, 0, 0 FROM directory_share WHERE club = ?`,
      )
      .run(new Uint8Array([i & 255, i >> 8]), club);
    sqlite.prepare("INSERT INTO directory_refusal VALUES(?, ?, 'p', 1, 1)").run(club, `s${i}`);
    sqlite
      .prepare("INSERT INTO directory_partial VALUES(?, ?, 1, '[]')")
      .run(club, new Uint8Array([i & 255, i >> 8]));
    sqlite
      .prepare(
        "INSERT INTO directory_archive(club, key, size, mtime, mode, at, reason) VALUES(?, '/a', 1, 1, 1, 1, 'x')",
      )
      .run(club);
  }
  sqlite.prepare("INSERT INTO directory_intent(club, intents) VALUES(?, '[]')").run(club);
}

test('a share that is left leaves no row behind, and the others keep theirs', async (t) => {
  const { start, share } = await setting(t);
  const running = await start();
  await running.shares.openAll();
  const gone = await share(running, 'gone');
  const kept = await share(running, 'kept');
  const { sqlite } = running;
  running.sqlite.transaction(() => {
    fill(sqlite, gone.id);
    fill(sqlite, kept.id);
  });
  const before = rowsOfClub(sqlite, kept.id);
  assert.ok(Object.keys(before).length >= 12, 'all tables are looked at');
  await running.registry.leave(gone.id);
  await until(() => total(rowsOfClub(sqlite, gone.id)) === 0);
  assert.deepEqual(rowsOfClub(sqlite, kept.id), before);
  assert.equal(orphans(sqlite), 0n);
  assert.equal(running.shares.get(kept.id)?.share.status().files, 20);
});

test('what was left behind by a crash while leaving is removed after the next start', async (t) => {
  const { start, share } = await setting(t);
  const first = await start();
  const gone = await share(first, 'gone');
  const kept = await share(first, 'kept');
  first.sqlite.transaction(() => fill(first.sqlite, gone.id));
  await first.stop();
  // The keys are gone, durably; then the power is cut.
  const { registry, stop } = await start();
  await registry.leave(gone.id);
  await stop();
  const again = await start();
  const before = rowsOfClub(again.sqlite, kept.id);
  await again.shares.openAll();
  await until(() => total(rowsOfClub(again.sqlite, gone.id)) === 0);
  assert.equal(orphans(again.sqlite), 0n);
  assert.equal(rowsOfClub(again.sqlite, kept.id).database_record, before.database_record);
});

test('stopping in the middle of it is quick, and what remains is removed the next time', async (t) => {
  const { start, share } = await setting(t);
  const first = await start();
  const gone = await share(first, 'gone');
  first.sqlite.transaction(() => {
    for (let n = 0; n < 10; n++)
      for (let i = 0; i < 1_000; i++)
        first.sqlite
          .prepare("INSERT INTO directory_refusal VALUES(?, ?, 'p', 1, 1)")
          .run(gone.id, `${n} ${i}`);
  });
  await first.registry.leave(gone.id);
  await first.stop();
  const again = await start();
  const left = rowsOfClub(again.sqlite, gone.id);
  assert.ok(total(left) > 0, 'it goes in steps');
  await again.shares.openAll();
  await until(() => total(rowsOfClub(again.sqlite, gone.id)) === 0);
});

test('a device whose records were lost takes a new peer ID where others know its changes', async (t) => {
  const { start, share, top } = await setting(t);
  const first = await start();
  const met = await share(first, 'met');
  const alone = await share(first, 'alone');
  await first.registry.remember(met.id, { id: 'b'.repeat(32), software: 'test' });
  await first.stop();
  const ids = [met.peer, alone.peer];
  const second = await start();
  await second.shares.openAll();
  assert.deepEqual(
    second.registry.list().map(({ peer }) => peer),
    ids,
    'not as long as the records are there',
  );
  await second.stop();
  for (const suffix of ['', '-wal', '-shm']) await rm(join(top, `records.db${suffix}`), { force: true });
  const third = await start();
  await third.shares.openAll();
  assert.notEqual(third.registry.get(met.id)?.peer, ids[0]);
  assert.equal(third.registry.get(alone.id)?.peer, ids[1]);
  assert.equal(third.shares.get(met.id)?.database.self, third.registry.get(met.id)?.peer);
});
