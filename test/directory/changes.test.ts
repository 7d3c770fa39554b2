import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it } from 'node:test';
import { systemClock } from '../../agent/base/clock.ts';
import { environmentError, internalError } from '../../agent/base/errors.ts';
import { silentLogger } from '../../agent/base/log.ts';
import { Archive } from '../../agent/directory/archive.ts';
import { DiskChanges } from '../../agent/directory/changes.ts';
import { openShareRoot } from '../../agent/platform/files.ts';
import { openSqlite } from '../../agent/platform/sqlite.ts';

it('a change that the database will never take fails alone; one that it takes later is only late', async (t) => {
  const top = mkdtempSync(join(tmpdir(), 'skylark-changes-'));
  mkdirSync(join(top, 'share'));
  const sqlite = openSqlite(join(top, 'records.db'));
  const root = await openShareRoot(join(top, 'share'), { clock: systemClock });
  const stop = new AbortController();
  t.after(() => {
    stop.abort();
    root.close();
    sqlite.close();
    rmSync(top, { recursive: true });
  });
  const clock = systemClock;
  const told: Error[] = [];
  const changes = new DiskChanges({
    sqlite,
    club: 'club',
    archive: new Archive({ sqlite, club: 'club', root, clock, log: silentLogger }),
    clock,
    signal: stop.signal,
    onTrouble: (error) => told.push(error),
    hold: () => () => undefined,
  });
  const submit = (finish: () => void) =>
    changes.submit({
      paths: ['/x'],
      intent: { op: 'remove', path: '/x' },
      perform: () => Promise.resolve(),
      finish,
    });
  const done: string[] = [];
  const poisoned = internalError('sqlite.failed', 'UNIQUE constraint failed');
  const results = await Promise.allSettled([
    submit(() => {
      throw poisoned;
    }),
    submit(() => void done.push('beside it')),
  ]);
  assert.deepEqual(
    results.map(({ status }) => status),
    ['rejected', 'fulfilled'],
  );
  assert.deepEqual(told, [poisoned]);
  await submit(() => void done.push('after it'));
  let refusals = 1;
  await submit(() => {
    if (refusals-- > 0) throw environmentError('sqlite.disk_full', 'full');
    done.push('late');
  });
  assert.deepEqual(done, ['beside it', 'after it', 'late']);
  assert.equal(sqlite.prepare('SELECT * FROM directory_intent').all().length, 0);
});
