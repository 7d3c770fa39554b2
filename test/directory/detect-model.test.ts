/** Whatever the owner does in the folder, and whenever: in the end the records say what is on the disk. */

import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Clock, systemClock } from '../../agent/base/clock.ts';
import type { Detector } from '../../agent/directory/detect.ts';
import type { Sqlite } from '../../agent/platform/sqlite.ts';
import { type Folder, inRecords, onDisk, withFolder } from './folder.ts';
import { databaseRecords, type PlainRecords, plainRecords } from './plain-records.ts';

/**
 * Ten times as fast as time, so that waiting for quiet takes little of it, and a minute ahead of the file system, so that
 * no file is too fresh to be taken: both only make what is tested harder.
 */
const hastyClock: Clock = {
  now: () => systemClock.now() + 60_000_000_000n,
  monotonic: () => systemClock.monotonic() * 10,
  after: (ms, callback) => systemClock.after(ms / 10, callback),
};

const name = fc.constantFrom('a', 'b', 'c', 'ä e', 'x.mid');
const path = fc.array(name, { minLength: 1, maxLength: 3 }).map((names) => `/${names.join('/')}`);
const content = fc.constantFrom('', 'one', 'two', 'three', 'x'.repeat(70_000));

/** `path`, `to`, `content` and `mode` are there for the steps that need them. */
interface Step {
  readonly do: string;
  readonly path: string;
  readonly to: string;
  readonly content: string;
  readonly mode: number;
}

const OWNER = [
  'write',
  'append',
  'save',
  'mkdir',
  'remove',
  'touch',
  'link target',
  'chmod',
  'rename',
  'link',
  'copy',
];
const OTHERS = ['wait', 'scan', 'settle', 'restart', 'stop', 'pause', 'resume'];

const step: fc.Arbitrary<Step> = fc.record({
  do: fc.oneof(
    { weight: 3, arbitrary: fc.constantFrom(...OWNER) },
    { weight: 1, arbitrary: fc.constantFrom(...OTHERS) },
  ),
  path,
  to: path,
  content,
  mode: fc.constantFrom(0o644, 0o600, 0o755, 0o711),
});

const ACTIONS: Readonly<Record<string, (at: string, step: Step, folder: Folder) => void>> = {
  write: (at, step) => fs.writeFileSync(at, step.content),
  append: (at, step) => fs.appendFileSync(at, step.content),
  save(at, step) {
    fs.writeFileSync(`${at}.part`, step.content);
    fs.renameSync(`${at}.part`, at);
  },
  mkdir: (at) => fs.mkdirSync(at),
  remove: (at) => fs.rmSync(at, { recursive: true }),
  touch: (at) =>
    fs.utimesSync(at, 1_500_000_000, 1_500_000_000 + (Math.round(fs.statSync(at).mtimeMs) % 1_000)),
  'link target': (at) => fs.symlinkSync('/etc/hostname', at),
  // Folders that their owner may not enter are a subject of their own: not-permitted.test.ts.
  chmod: (at, step) => fs.chmodSync(at, fs.statSync(at).isDirectory() ? step.mode | 0o100 : step.mode),
  rename: (at, step, folder) => fs.renameSync(at, folder.at(step.to)),
  link: (at, step, folder) => fs.linkSync(at, folder.at(step.to)),
  copy: (at, step, folder) => fs.copyFileSync(at, folder.at(step.to)),
};

/** What the system refuses (no such folder, not empty, its own descendant), the owner did not do. */
function byOwner(folder: Folder, step: Step): void {
  try {
    ACTIONS[step.do]?.(folder.at(step.path), step, folder);
  } catch (thrown) {
    if (typeof (thrown as NodeJS.ErrnoException).code !== 'string') throw thrown;
  }
}

/** So that most steps meet something. */
function fill(folder: Folder): void {
  for (const path of ['/a', '/a/b', '/a/b/c', '/b', '/c']) fs.mkdirSync(folder.at(path));
  for (const path of ['/a/a', '/a/b/x.mid', '/a/b/c/a', '/a/b/c/b', '/b/x.mid', '/x.mid'])
    fs.writeFileSync(folder.at(path), path);
}

async function followsAnyOwner(
  makeRecords: (sqlite: Sqlite) => PlainRecords,
  numRuns: number,
): Promise<void> {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 40 }), async (steps) => {
      await withFolder(async (folder) => {
        fill(folder);
        const open = () => folder.detector({ clock: hastyClock });
        let detector: Detector | undefined = open();
        for (const current of steps) {
          byOwner(folder, current);
          if (current.do === 'wait') await new Promise((resolve) => setImmediate(resolve));
          else if (current.do === 'scan') void detector?.rescan();
          else if (current.do === 'settle') await detector?.settled();
          else if (current.do === 'pause') detector?.pause();
          else if (current.do === 'resume') detector?.resume();
          else if (current.do === 'stop' || current.do === 'restart') {
            await detector?.close();
            detector = current.do === 'restart' ? open() : undefined;
          }
        }
        detector ??= open();
        detector.resume();
        await detector.rescan();
        // Deleting nearly everything needs the owner's word, here as elsewhere.
        if (detector.problems().some(({ code }) => code === 'share.mass_deletion')) {
          await detector.accept();
          await detector.settled();
        }
        assert.deepEqual(inRecords(folder), onDisk(folder));
        const rows = [...folder.index.below('/')].map((row) => row.path);
        assert.deepEqual(['/', ...rows].sort(), folder.records.keys());
        for (const record of folder.records.live().values())
          assert.equal(folder.index.byUuid(record.uuid)?.path, record.key);
      }, makeRecords);
    }),
    { numRuns: Number(process.env.SKYLARK_RUNS ?? numRuns) },
  );
}

test('after any sequence of changes, at any pace, the records say what is on the disk', async () => {
  await followsAnyOwner(plainRecords, 30);
});

test('the same with the database that clubs really have', async () => {
  await followsAnyOwner(databaseRecords, 20);
});

test('what is watched arrives without any scan', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 15 }), async (steps) => {
      await withFolder(async (folder) => {
        fill(folder);
        const detector = folder.detector({ clock: hastyClock });
        await detector.ready;
        for (const current of steps) {
          byOwner(folder, current);
          if (current.do === 'wait') await new Promise((resolve) => setImmediate(resolve));
          else if (current.do === 'settle') await detector.settled();
        }
        const expected = () => JSON.stringify(onDisk(folder));
        for (let i = 0; i < 200 && JSON.stringify(inRecords(folder)) !== expected(); i++) {
          await new Promise((resolve) => setTimeout(resolve, 10));
          await detector.settled();
        }
        assert.deepEqual(inRecords(folder), onDisk(folder));
      });
    }),
    { numRuns: Number(process.env.SKYLARK_RUNS ?? 20) },
  );
});
