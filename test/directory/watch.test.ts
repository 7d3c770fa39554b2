import assert from 'node:assert/strict';
import fs from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { systemClock } from '../../agent/base/clock.ts';
import { type LogEntry, Logger, silentLogger } from '../../agent/base/log.ts';
import { openTreeWatch, type TreeWatch } from '../../agent/directory/watch.ts';
import { type Folder, inRecords, onDisk, withFolder } from './folder.ts';

interface Watched {
  readonly watch: TreeWatch;
  readonly changed: Set<string>;
  readonly uncertain: Set<string>;
  lost: number;
  /** Resolves when the path was told of. */
  told(path: string): Promise<void>;
}

function watched(folder: Folder, options: { readonly limit?: number; readonly log?: Logger } = {}): Watched {
  const waiting = new Map<string, () => void>();
  const changed = new Set<string>();
  const uncertain = new Set<string>();
  const result: Watched = {
    watch: openTreeWatch({
      root: folder.root,
      log: silentLogger,
      ...options,
      onChange(path) {
        changed.add(path);
        waiting.get(path)?.();
      },
      onUncertain: (path) => void uncertain.add(path),
      onLost: () => {
        result.lost += 1;
      },
    }),
    changed,
    uncertain,
    lost: 0,
    told: (path) =>
      new Promise((resolve) => {
        if (changed.has(path)) resolve();
        else waiting.set(path, resolve);
      }),
  };
  return result;
}

test('every kind of change in a watched folder is told, by its path', async () => {
  await withFolder(async (folder) => {
    fs.mkdirSync(folder.at('/d'));
    for (const name of ['edited', 'removed', 'renamed', 'mode'])
      fs.writeFileSync(folder.at(`/d/${name}`), '');
    const { watch, changed, told } = watched(folder);
    await watch.add('/');
    await watch.add('/d');
    fs.appendFileSync(folder.at('/d/edited'), 'x');
    fs.rmSync(folder.at('/d/removed'));
    fs.renameSync(folder.at('/d/renamed'), folder.at('/new name'));
    fs.chmodSync(folder.at('/d/mode'), 0o600);
    fs.mkdirSync(folder.at('/d/new folder'));
    fs.writeFileSync(folder.at('/last ü'), '');
    await told('/last ü');
    assert.deepEqual([...changed].sort(), [
      '/d/edited',
      '/d/mode',
      '/d/new folder',
      '/d/removed',
      '/d/renamed',
      '/last ü',
      '/new name',
    ]);
    watch.close();
  });
});

test('a watch is on the folder that was walked to, not on what a link points to', async () => {
  await withFolder(async (folder) => {
    const away = join(folder.path, '..', 'away');
    fs.mkdirSync(away);
    fs.symlinkSync(away, folder.at('/link'));
    const { watch, changed, told } = watched(folder);
    await watch.add('/link');
    await watch.add('/missing');
    await watch.add('/');
    assert.deepEqual([watch.size, watch.isComplete], [1, true]);
    fs.writeFileSync(join(away, 'f'), '');
    fs.writeFileSync(folder.at('/after'), '');
    await told('/after');
    assert.deepEqual([...changed], ['/after']);
    watch.close();
  });
});

test('folders beyond the limit are missing, said once, and make room when others go', async () => {
  await withFolder(async (folder) => {
    const log: LogEntry[] = [];
    for (let i = 0; i < 6; i++) fs.mkdirSync(folder.at(`/d${i}/inner`), { recursive: true });
    const { watch } = watched(folder, { limit: 4, log: new Logger((entry) => log.push(entry)) });
    for (let i = 0; i < 3; i++) for (const inner of ['', '/inner']) await watch.add(`/d${i}${inner}`);
    assert.deepEqual([watch.size, watch.isComplete, log.length], [4, false, 1]);
    watch.remove('/d0');
    watch.remove('/d2');
    assert.deepEqual([watch.size, watch.isComplete], [2, true]);
    await watch.add('/d3');
    assert.deepEqual(
      [watch.size, watch.isComplete, watch.has('/d3'), watch.has('/d0/inner')],
      [3, true, true, false],
    );
    watch.remove('/');
    watch.close();
  });
});

test('names that are not UTF-8 make their folder uncertain', async () => {
  await withFolder(async (folder) => {
    const { watch, uncertain, changed, told } = watched(folder);
    await watch.add('/');
    fs.writeFileSync(Buffer.concat([Buffer.from(folder.at('/bad-')), Buffer.from([0xff])]), '');
    fs.writeFileSync(folder.at('/after'), '');
    await told('/after');
    assert.deepEqual([[...uncertain], [...changed]], [['/'], ['/after']]);
    watch.close();
  });
});

test('when more happens than the kernel can queue, nothing is missed', async () => {
  const queue = Number(fs.readFileSync('/proc/sys/fs/inotify/max_queued_events', 'utf8'));
  await withFolder(async (folder) => {
    fs.mkdirSync(folder.at('/d'));
    const other = watched(folder);
    await other.watch.add('/d');
    const detector = folder.detector();
    await detector.ready;
    await detector.settled();
    // Two events each, and the event loop sees none of them before the end.
    const files = queue / 2 + 500;
    for (let i = 0; i < files; i++) fs.closeSync(fs.openSync(folder.at(`/d/f${i}`), 'w'));
    fs.writeFileSync(folder.at('/d/late'), 'late');
    const start = systemClock.monotonic();
    while (folder.index.totals().files < files + 1 && systemClock.monotonic() - start < 60_000)
      await new Promise((resolve) => setTimeout(resolve, 20));
    await detector.settled();
    assert.ok(other.lost >= 1);
    assert.equal(folder.index.totals().files, files + 1);
    assert.deepEqual(inRecords(folder), onDisk(folder));
    other.watch.close();
  });
});

test('folders that are moved out, in, and about are followed without a scan', async () => {
  await withFolder(async (folder) => {
    const outside = join(folder.path, '..', 'outside');
    fs.mkdirSync(folder.at('/a/b/c'), { recursive: true });
    fs.writeFileSync(folder.at('/a/b/c/f'), 'f');
    const detector = folder.detector();
    await detector.ready;
    await detector.settled();
    const agree = async () => {
      for (let i = 0; i < 2_000; i++) {
        await detector.settled();
        if (JSON.stringify(inRecords(folder)) === JSON.stringify(onDisk(folder))) return;
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      assert.deepEqual(inRecords(folder), onDisk(folder));
    };
    fs.renameSync(folder.at('/a/b'), outside);
    await agree();
    assert.deepEqual(folder.records.keys(), ['/', '/a']);
    // What happens there is nobody's business now.
    fs.writeFileSync(join(outside, 'c', 'g'), 'outside');
    fs.renameSync(outside, folder.at('/back'));
    await agree();
    assert.deepEqual(folder.records.keys(), ['/', '/a', '/back', '/back/c', '/back/c/f', '/back/c/g']);
    fs.renameSync(folder.at('/back'), folder.at('/a/again'));
    await agree();
    fs.writeFileSync(folder.at('/a/again/c/f'), 'edited where it is now');
    fs.mkdirSync(folder.at('/back/c'), { recursive: true });
    fs.writeFileSync(folder.at('/back/c/new'), 'new under the old name');
    await agree();
    assert.deepEqual(folder.records.keys(), [
      '/',
      '/a',
      '/a/again',
      '/a/again/c',
      '/a/again/c/f',
      '/a/again/c/g',
      '/back',
      '/back/c',
      '/back/c/new',
    ]);
  });
});
