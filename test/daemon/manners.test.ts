import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadConfiguration } from '../../agent/config/load.ts';
import { mannersSettings, openMonthStore } from '../../agent/daemon/manners.ts';
import { configurationJson } from '../../agent/daemon/stored-options.ts';
import { openSqlite } from '../../agent/platform/sqlite.ts';

test('the count of a month is in the database, and what was not durable is not there', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'skylark-month-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'records.db');
  const first = openSqlite(path);
  const store = openMonthStore(first);
  assert.equal(store.load(), undefined);
  store.save({ month: '2026-11', upload: 1n, download: 9_007_199_254_740_993n });
  store.save({ month: '2026-12', upload: 2n, download: 9_007_199_254_740_993n });
  first.exec('PRAGMA query_only = ON');
  assert.throws(() => store.save({ month: '2027-01', upload: 0n, download: 0n }), {
    code: 'sqlite.no_access',
  });
  first.close();
  const second = openSqlite(path);
  t.after(() => second.close());
  const count = { month: '2026-12', upload: 2n, download: 9_007_199_254_740_993n };
  assert.deepEqual(openMonthStore(second).load(), count);
});

test('a disk that refuses at the start stops nothing, and is asked again', (t) => {
  const sqlite = openSqlite(':memory:');
  t.after(() => sqlite.close());
  sqlite.exec('PRAGMA query_only = ON');
  const store = openMonthStore(sqlite);
  assert.throws(() => store.load(), { code: 'sqlite.no_access' });
  sqlite.exec('PRAGMA query_only = OFF');
  assert.equal(store.load(), undefined);
  store.save({ month: '2026-11', upload: 1n, download: 2n });
  assert.equal(store.load()?.month, '2026-11');
});

test('what a newer program has written is left alone', (t) => {
  const sqlite = openSqlite(':memory:');
  t.after(() => sqlite.close());
  sqlite.migrate('manners', ['SELECT 1', 'SELECT 1']);
  assert.throws(() => openMonthStore(sqlite), { code: 'sqlite.newer_schema' });
});

test('the options become settings; by default only a metered network is given way to', () => {
  assert.deepEqual(mannersSettings(loadConfiguration({})), {
    rate: { upload: undefined, download: undefined },
    month: { upload: undefined, download: undefined },
    quietHours: [],
    onBattery: 'sync',
    onMetered: 'pause',
  });
  const text = `[manners]
upload_rate = "500kB"
download_rate = "2MB"
monthly_upload = "20GB"
monthly_download = "0kB"
quiet_hours = "22:00-07:00, 12:00-13:00"
on_battery = "pause"
on_metered = "sync"`;
  assert.deepEqual(mannersSettings(loadConfiguration({ files: [{ path: 'x', text }] })), {
    rate: { upload: 500_000n, download: 2_000_000n },
    month: { upload: 20_000_000_000n, download: 0n },
    quietHours: [
      { from: 1_320, to: 420 },
      { from: 720, to: 780 },
    ],
    onBattery: 'pause',
    onMetered: 'sync',
  });
});

test('rates that nobody could wait for are refused', () => {
  for (const setting of ['manners.upload_rate=9kB', 'manners.download_rate=0kB', 'manners.quiet_hours=22-7'])
    assert.throws(() => loadConfiguration({ settings: [setting] }), { code: 'config.wrong_value' });
});

test('sizes that were set are told as they are, and told apart', () => {
  const json = (setting: string) =>
    configurationJson(loadConfiguration({ settings: [setting] })).get('manners.monthly_upload');
  assert.equal(json('manners.monthly_upload=1GB'), 1_000_000_000n);
  assert.notDeepEqual(json('manners.monthly_upload=1GB'), json('manners.monthly_upload=2GB'));
});
