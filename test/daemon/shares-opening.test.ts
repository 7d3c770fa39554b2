/** Shares that can't be opened are tried again until they can. */

import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { systemClock } from '../../agent/base/clock.ts';
import { silentLogger } from '../../agent/base/log.ts';
import { Shares } from '../../agent/daemon/shares.ts';
import { openHashing } from '../../agent/directory/hashing.ts';
import { openSqlite } from '../../agent/platform/sqlite.ts';
import { TestDevice } from '../club/test-device.ts';
import { virtualClock } from '../support/virtual-clock.ts';

test('a share that fails to open several times opens when what was wrong is mended', async (t) => {
  const top = mkdtempSync(join(tmpdir(), 'skylark-shares-'));
  t.after(() => rmSync(top, { recursive: true, force: true }));
  const folder = join(top, 'Music');
  const obstacle = join(folder, '.clearskies');
  mkdirSync(folder);
  const registry = await new TestDevice(virtualClock()).start();
  const club = await registry.create({ name: 'Music', folder });
  writeFileSync(obstacle, 'no folder');
  const sqlite = openSqlite(':memory:');
  const hashing = openHashing();
  let tries = 0;
  const hurried = {
    now: systemClock.now,
    monotonic: systemClock.monotonic,
    after: (ms: number, callback: () => void) =>
      systemClock.after(ms / 50, () => {
        if (shares.failure(club.id) !== undefined) tries += 1;
        callback();
      }),
  };
  const shares = new Shares({
    registry,
    sqlite,
    hashing,
    rescanPeriod: 3_600_000,
    clock: hurried,
    log: silentLogger,
    onShareEvent: () => {},
    onRecords: () => {},
  });
  t.after(async () => {
    await shares.close();
    await hashing.close();
    sqlite.close();
  });
  await shares.openAll();
  assert.ok(shares.failure(club.id));
  const deadline = Date.now() + 10_000;
  const until = async (holds: () => boolean, what: string) => {
    while (!holds()) {
      assert.ok(Date.now() < deadline, what);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  };
  await until(() => tries >= 3, 'it is tried again, and again');
  rmSync(obstacle);
  await until(() => shares.get(club.id) !== undefined, 'it opens');
  assert.equal(shares.failure(club.id), undefined);
});
