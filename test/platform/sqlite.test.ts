import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { SkylarkError } from '../../agent/base/errors.ts';
import { openSqlite, type Sqlite } from '../../agent/platform/sqlite.ts';

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'skylark-sqlite-'));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

function memory(t: TestContext): Sqlite {
  const sqlite = openSqlite(':memory:');
  t.after(() => sqlite.close());
  sqlite.exec('CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT) STRICT');
  return sqlite;
}

function names(sqlite: Sqlite): string[] {
  return sqlite
    .prepare<{ name: string }>('SELECT name FROM item ORDER BY id')
    .all()
    .map(({ name }) => name);
}

const add = (sqlite: Sqlite, name: string) => sqlite.prepare('INSERT INTO item(name) VALUES(?)').run(name);

const code = (expected: string) => (thrown: unknown) => {
  assert.ok(thrown instanceof SkylarkError, String(thrown));
  assert.equal(thrown.code, expected);
  if (expected !== 'sqlite.failed') assert.equal(thrown.fault, 'environment');
  const isForItsOwner = ['sqlite.damaged', 'sqlite.missing', 'sqlite.foreign'].includes(expected);
  if (isForItsOwner) assert.equal(thrown.exitCode, 78);
  return true;
};

test('a new file belongs to its owner alone, with its log, and keeps what was committed', (t) => {
  const path = join(folder(t), 'records.db');
  const first = openSqlite(path);
  first.exec('CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT) STRICT');
  first.transaction(() => add(first, 'kept'));
  for (const suffix of ['', '-wal', '-shm']) assert.equal(statSync(path + suffix).mode & 0o777, 0o600);
  first.close();
  first.close();
  assert.ok(!existsSync(`${path}-wal`), 'everything is in the one file after an orderly end');
  const second = openSqlite(path, { mustExist: true });
  t.after(() => second.close());
  assert.deepEqual(names(second), ['kept']);
});

test('every commit is flushed, and nothing may corrupt the file by a setting', (t) => {
  const sqlite = openSqlite(join(folder(t), 'records.db'));
  t.after(() => sqlite.close());
  const setting = (name: string) => Object.values(sqlite.prepare(`PRAGMA ${name}`).get() as object)[0];
  assert.equal(setting('journal_mode'), 'wal');
  assert.equal(setting('synchronous'), 2n);
  assert.equal(setting('foreign_keys'), 1n);
  assert.equal(setting('mmap_size'), 0n);
  sqlite.exec('PRAGMA journal_mode = OFF');
  assert.equal(setting('journal_mode'), 'wal');
});

test('permissions that others have on the file are taken away', (t) => {
  const path = join(folder(t), 'records.db');
  openSqlite(path).close();
  chmodSync(path, 0o644);
  openSqlite(path).close();
  assert.equal(statSync(path).mode & 0o777, 0o600);
});

test('integers are exact over the whole range', (t) => {
  const sqlite = memory(t);
  for (const value of [0n, 2n ** 53n + 1n, 2n ** 63n - 1n, -(2n ** 63n)]) {
    assert.deepEqual(sqlite.prepare<{ value: bigint }>('SELECT ? AS value').get(value)?.value, value);
  }
});

test('an inner transaction that fails undoes its own changes only', (t) => {
  const sqlite = memory(t);
  const after: string[] = [];
  sqlite.transaction(() => {
    add(sqlite, 'outer');
    sqlite.afterCommit(() => after.push('outer'));
    assert.throws(
      () =>
        sqlite.transaction(() => {
          add(sqlite, 'inner');
          sqlite.afterCommit(() => after.push('inner'));
          throw new Error('changed my mind');
        }),
      /changed my mind/,
    );
    sqlite.transaction(() => {
      assert.ok(sqlite.inTransaction);
      add(sqlite, 'second');
      sqlite.afterCommit(() => after.push('second'));
    });
    assert.deepEqual(after, [], 'nothing is told before the commit');
  });
  assert.ok(!sqlite.inTransaction);
  assert.deepEqual(names(sqlite), ['outer', 'second']);
  assert.deepEqual(after, ['outer', 'second']);
});

test('what a callback asks for after the commit comes after all others of that commit', (t) => {
  const sqlite = memory(t);
  const order: string[] = [];
  sqlite.transaction(() => {
    sqlite.afterCommit(() => {
      sqlite.afterCommit(() => order.push('last'));
      sqlite.transaction(() => sqlite.afterCommit(() => order.push('transaction of its own')));
    });
    sqlite.afterCommit(() => order.push('second'));
  });
  sqlite.afterCommit(() => order.push('at once'));
  assert.deepEqual(order, ['transaction of its own', 'second', 'last', 'at once']);
});

test('a transaction that fails leaves nothing, and the next one works', (t) => {
  const sqlite = memory(t);
  const told: string[] = [];
  assert.throws(() =>
    sqlite.transaction(() => {
      add(sqlite, 'lost');
      sqlite.afterCommit(() => told.push('lost'));
      throw new Error('no');
    }),
  );
  sqlite.transaction(() => add(sqlite, 'next'));
  assert.deepEqual(names(sqlite), ['next']);
  assert.deepEqual(told, []);
});

test('asynchronous work is refused, since other statements would get into its transaction', (t) => {
  const sqlite = memory(t);
  assert.throws(
    () => sqlite.transaction(async () => add(sqlite, 'later')),
    (thrown) => thrown instanceof SkylarkError && thrown.code === 'sqlite.asynchronous_work',
  );
  assert.deepEqual(names(sqlite), []);
});

test('when SQLite itself gives a transaction up, nothing that follows in it is written', (t) => {
  const sqlite = memory(t);
  // The conflict clause ROLLBACK ends the whole transaction, as a full disk does.
  assert.throws(
    () =>
      sqlite.transaction(() => {
        add(sqlite, 'first');
        assert.throws(() =>
          sqlite.transaction(() => sqlite.exec("INSERT OR ROLLBACK INTO item(id, name) VALUES(1, 'again')")),
        );
        add(sqlite, 'must not be written by itself');
      }),
    code('sqlite.failed'),
  );
  assert.deepEqual(names(sqlite), []);
  sqlite.transaction(() => add(sqlite, 'next'));
  assert.deepEqual(names(sqlite), ['next']);
});

test('a full disk is told as such, and what was committed stays', (t) => {
  const sqlite = memory(t);
  add(sqlite, 'before');
  sqlite.exec('PRAGMA max_page_count = 8');
  assert.throws(
    () =>
      sqlite.transaction(() => {
        for (;;) add(sqlite, 'x'.repeat(1000));
      }),
    code('sqlite.disk_full'),
  );
  assert.deepEqual(names(sqlite), ['before']);
});

test('a statement may be iterated several times at once, and used meanwhile', (t) => {
  const sqlite = memory(t);
  for (const name of ['a', 'b', 'c']) add(sqlite, name);
  const all = sqlite.prepare<{ name: string }>('SELECT name FROM item ORDER BY id');
  const pairs: string[] = [];
  for (const outer of all.iterate()) {
    for (const inner of all.iterate()) {
      pairs.push(outer.name + inner.name + (all.get()?.name ?? ''));
      if (inner.name === 'b') break;
    }
  }
  assert.deepEqual(pairs, ['aaa', 'aba', 'baa', 'bba', 'caa', 'cba']);
});

test('each component migrates forward by itself, once', (t) => {
  const path = join(folder(t), 'records.db');
  const steps = [
    'CREATE TABLE a(x INTEGER) STRICT',
    (db: Sqlite) => db.exec('ALTER TABLE a ADD COLUMN y INTEGER; INSERT INTO a VALUES(1, 2)'),
  ];
  const first = openSqlite(path);
  first.migrate('one', steps.slice(0, 1));
  first.migrate('two', ['CREATE TABLE b(x INTEGER) STRICT']);
  first.close();
  const second = openSqlite(path);
  t.after(() => second.close());
  second.migrate('one', steps);
  second.migrate('one', steps);
  assert.deepEqual({ ...second.prepare('SELECT * FROM a').get() }, { x: 1n, y: 2n });
  assert.throws(() => second.migrate('one', steps.slice(0, 1)), code('sqlite.newer_schema'));
  const failing = ['CREATE TABLE c(x INTEGER) STRICT', 'CREATE TABLE nonsense('];
  assert.throws(() => second.migrate('three', failing), code('sqlite.failed'));
  second.migrate('three', failing.slice(0, 1));
});

test('a damaged, emptied, foreign or missing file is an error and never a new beginning', (t) => {
  const path = join(folder(t), 'records.db');
  const sqlite = openSqlite(path);
  sqlite.exec('CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT) STRICT');
  sqlite.transaction(() => {
    for (let i = 0; i < 2000; i++) add(sqlite, `name ${i}`.repeat(5));
  });
  sqlite.close();
  const good = readFileSync(path);

  writeFileSync(path, 'this is a text file, and a long one, so that it could have a header');
  assert.throws(() => openSqlite(path), code('sqlite.damaged'));
  writeFileSync(
    path,
    Uint8Array.from(good, () => 0),
  );
  assert.throws(() => openSqlite(path), code('sqlite.damaged'));
  truncateSync(path, 0);
  assert.throws(() => openSqlite(path), code('sqlite.damaged'));
  assert.equal(statSync(path).size, 0, 'it was left as it is');

  rmSync(path);
  assert.throws(() => openSqlite(path, { mustExist: true }), code('sqlite.missing'));
  writeFileSync(`${path}-wal`, 'left over');
  assert.throws(() => openSqlite(path), code('sqlite.missing'));
  rmSync(`${path}-wal`);

  new DatabaseSync(path).exec('CREATE TABLE theirs(x)');
  assert.throws(() => openSqlite(path), code('sqlite.foreign'));

  // Pages in the middle are only read when needed, unless the last program did not end properly.
  writeFileSync(
    path,
    Uint8Array.from(good, (byte, i) => (i > 8192 && i < 40_000 ? 0xaa : byte)),
  );
  const damagedSilently = openSqlite(path);
  assert.throws(() => names(damagedSilently), code('sqlite.damaged'));
  damagedSilently.close();
  writeFileSync(`${path}-wal`, new Uint8Array(32));
  assert.throws(() => openSqlite(path), code('sqlite.damaged'));
  assert.throws(() => openSqlite('/proc/nowhere/records.db'), code('sqlite.no_access'));
});

test('a program killed while it creates the file leaves nothing that is in the way', (t) => {
  const path = join(folder(t), 'records.db');
  writeFileSync(`${path}.new`, 'half');
  writeFileSync(`${path}.new-wal`, 'half');
  openSqlite(path).close();
  assert.ok(existsSync(path) && !existsSync(`${path}.new`) && !existsSync(`${path}.new-wal`));
});

test('what was said to be committed survives SIGKILL, and numbers go on where they were', async (t) => {
  const path = join(folder(t), 'records.db');
  const writer = fileURLToPath(new URL('sqlite-writer.ts', import.meta.url));
  let last = 0n;
  for (let round = 0; round < 4; round++) {
    const child = spawn(process.execPath, [writer, path], { stdio: ['ignore', 'pipe', 'inherit'] });
    const ended = once(child, 'exit');
    let output = '';
    for await (const piece of child.stdout.setEncoding('utf8')) {
      output += piece;
      if (output.split('\n').length > 20 + round) child.kill('SIGKILL');
    }
    await ended;
    const said = output.split('\n').slice(0, -1).map(BigInt);
    assert.ok(said[0]! > last, `${said[0]} was given out twice`);
    last = said.at(-1)!;
    const sqlite = openSqlite(path);
    const { count, greatest } = sqlite
      .prepare<{ count: bigint; greatest: bigint }>(
        'SELECT count(*) AS count, max(value) AS greatest FROM number',
      )
      .get()!;
    assert.equal(count, greatest, 'no number is missing');
    assert.ok(greatest >= last);
    sqlite.close();
  }
});
