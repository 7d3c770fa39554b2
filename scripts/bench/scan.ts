/**
 * What keeping a folder in view costs: first scan with hashing, rescans of unchanged files, time to notice one change,
 * memory. `node scripts/bench/scan.ts [FILES...]` (default 1000 10000 100000), 4 KiB files, 100 to a folder, on the
 * file system of the temporary folder (TMPDIR). One JSON line for each size.
 */

import { once } from 'node:events';
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { systemClock } from '../../agent/base/clock.ts';
import { silentLogger } from '../../agent/base/log.ts';
import { openDetector } from '../../agent/directory/detect.ts';
import { openHashing } from '../../agent/directory/hashing.ts';
import { openLocalIndex } from '../../agent/directory/local-index.ts';
import { openShareRoot } from '../../agent/platform/files.ts';
import { openSqlite } from '../../agent/platform/sqlite.ts';
import { databaseRecords } from '../../test/directory/plain-records.ts';
import { median } from './measuring.ts';

const FOLDER_FILES = 100;
const RESCANS = 5;
const EDITS = 10;

const sizes = process.argv.slice(2).map(Number);
for (const files of sizes.length > 0 ? sizes : [1_000, 10_000, 100_000]) await measure(files);

async function measure(files: number): Promise<void> {
  const top = fs.mkdtempSync(join(tmpdir(), 'skylark-bench-'));
  const share = join(top, 'share');
  try {
    await fill(share, files);
    fs.mkdirSync(join(top, 'state'));
    const sqlite = openSqlite(join(top, 'state', 'records.db'));
    const records = databaseRecords(sqlite);
    const root = await openShareRoot(share);
    const hashing = openHashing();
    const index = openLocalIndex(sqlite, 'bench');
    const before = memory();
    const lag = watchLag();
    const start = performance.now();
    const firstCpu = cpuTime();
    const detector = openDetector({
      root,
      index,
      records,
      hashing,
      clock: systemClock,
      log: silentLogger,
      onDeviation: () => undefined,
    });
    await detector.ready;
    const listed = performance.now() - start;
    await detector.settled();
    const first = performance.now() - start;
    const firstLag = lag();
    const firstCpuMs = firstCpu();
    const rescanCpu = cpuTime();
    const rescans: number[] = [];
    const rescanLag = watchLag();
    for (let i = 0; i < RESCANS; i++) {
      const from = performance.now();
      await detector.rescan();
      rescans.push(performance.now() - from);
    }
    const lagOfRescans = rescanLag();
    const rescanCpuMs = rescanCpu() / RESCANS;
    const edits: number[] = [];
    for (let i = 0; i < EDITS; i++) {
      const before = records.changes;
      const from = performance.now();
      fs.writeFileSync(join(share, `d${i}`, `f${i * FOLDER_FILES}`), `edit ${i} of ${from}`);
      while (records.changes === before) await new Promise((resolve) => setTimeout(resolve, 1));
      edits.push(performance.now() - from);
    }
    const after = memory();
    await detector.close();
    await hashing.close();
    root.close();
    sqlite.close();
    console.log(
      JSON.stringify({
        files,
        first_listing_ms: Math.round(listed),
        first_scan_ms: Math.round(first),
        first_scan_cpu_ms: Math.round(firstCpuMs),
        first_scan_longest_block_ms: firstLag,
        rescan_ms: Math.round(median(rescans)),
        rescan_cpu_ms: Math.round(rescanCpuMs),
        rescan_longest_block_ms: lagOfRescans,
        notice_ms: Math.round(median(edits)),
        memory_before_mb: before,
        memory_after_mb: after,
        database_mb: round(fs.statSync(join(top, 'state', 'records.db')).size / 1e6),
      }),
    );
  } finally {
    fs.rmSync(top, { recursive: true });
  }
}

/** In a thread, so that its garbage is not measured. */
async function fill(share: string, files: number): Promise<void> {
  const text = `
    const fs = require('node:fs');
    const { share, files, each } = require('node:worker_threads').workerData;
    const content = Buffer.alloc(4096);
    fs.mkdirSync(share);
    for (let i = 0; i < files; i++) {
      const folder = share + '/d' + Math.floor(i / each);
      if (i % each === 0) fs.mkdirSync(folder);
      content.writeUInt32LE(i, 0);
      fs.writeFileSync(folder + '/f' + i, content);
    }`;
  const worker = new Worker(text, { eval: true, workerData: { share, files, each: FOLDER_FILES } });
  await once(worker, 'exit');
  // What is only just written would be too fresh to be read at once.
  await new Promise((resolve) => setTimeout(resolve, 200));
}

/** Milliseconds that the event loop was held up at most, from now until the returned function is called. */
function watchLag(): () => number {
  let longest = 0;
  let last = performance.now();
  const timer = setInterval(() => {
    const now = performance.now();
    longest = Math.max(longest, now - last - 1);
    last = now;
  }, 1);
  return () => {
    clearInterval(timer);
    return Math.round(longest);
  };
}

/** Milliseconds of processor time that all threads use from now until the returned function is called. */
function cpuTime(): () => number {
  const start = process.cpuUsage();
  return () => {
    const { user, system } = process.cpuUsage(start);
    return (user + system) / 1_000;
  };
}

function memory(): number {
  globalThis.gc?.();
  return round(process.memoryUsage.rss() / 1e6);
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
