import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { systemClock } from '../../agent/base/clock.ts';
import { silentLogger } from '../../agent/base/log.ts';
import { openClubDatabase } from '../../agent/database/database.ts';
import { openSqlite } from '../../agent/platform/sqlite.ts';
import { mark, policy } from './club-simulation.ts';

test('killed in the middle of its work, a device has all that it committed and never reuses a revision', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'skylark-kill-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, 'records.db');
  const program = fileURLToPath(new URL('committer.ts', import.meta.url));
  const given = new Set<bigint>();
  for (let round = 0; round < 6; round++) {
    const child = spawn(process.execPath, [program, path], { stdio: ['ignore', 'pipe', 'inherit'] });
    const ended = once(child, 'exit');
    let output = '';
    for await (const piece of child.stdout.setEncoding('utf8')) {
      output += piece;
      if (output.split('\n').length > 5 + 3 * round) child.kill('SIGKILL');
    }
    await ended;
    const said = output.split('\n').slice(0, -1);
    for (const line of said) {
      const revision = BigInt(line.split(' ')[1]!);
      assert.ok(!given.has(revision), `revision ${revision} was given out twice`);
      given.add(revision);
    }
    const [uuid, revision, pid, count] = said.at(-1)!.split(' ');
    const sqlite = openSqlite(path);
    const database = openClubDatabase({
      sqlite,
      club: 'club',
      self: 'a'.repeat(32),
      writable: true,
      conflicts: policy,
      clock: systemClock,
      log: silentLogger,
    });
    const latest = database.get('/latest');
    assert.ok(latest !== undefined);
    assert.equal(latest.uuid, uuid);
    assert.ok(latest.lastUpdatedRev >= BigInt(revision!), 'what was said to be committed is there');
    const [writer, last] = mark(latest.value)!.split(' ');
    assert.equal(writer, pid);
    assert.ok(Number(last) >= Number(count));
    // Both changes of a transaction, or none.
    assert.equal(mark(database.get(`/${Number(last) % 7}`)?.value), `${writer} ${last}`);
    assert.equal(database.revision(), latest.lastUpdatedRev);
    database.close();
    sqlite.close();
  }
});
