/** The database does not take anything: said while it lasts, and over by itself. */

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { silentLogger } from '../../agent/base/log.ts';
import { DatabaseTrouble } from '../../agent/daemon/database-trouble.ts';
import { openSqlite } from '../../agent/platform/sqlite.ts';
import { virtualClock } from '../support/virtual-clock.ts';

test('a refusal of the disk is kept in mind until a write works again', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'skylark-trouble-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const clock = virtualClock();
  const trouble = new DatabaseTrouble(clock, silentLogger);
  const sqlite = openSqlite(join(folder, 'records.db'), { onTrouble: (error) => trouble.met(error) });
  t.after(() => sqlite.close());
  trouble.watch(() => sqlite.tryToWrite());
  let over = 0;
  trouble.onOver(() => {
    over += 1;
  });
  sqlite.exec('CREATE TABLE note(text TEXT) STRICT');
  const code = (): string | undefined => trouble.current?.code;
  const write = () => sqlite.transaction(() => sqlite.prepare('INSERT INTO note VALUES(?)').run('x'));
  write();
  assert.equal(code(), undefined);
  sqlite.exec('PRAGMA query_only = ON');
  assert.throws(write);
  assert.equal(code(), 'sqlite.no_access');
  await clock.pass(60_000);
  assert.deepEqual([code(), over], ['sqlite.no_access', 0]);
  sqlite.exec('PRAGMA query_only = OFF');
  await clock.pass(10_000);
  assert.deepEqual([code(), over], [undefined, 1]);
  trouble.close();
});
