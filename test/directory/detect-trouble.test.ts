/** What the detector does when something is wrong with the folder, or with what is below it. */

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { environmentError } from '../../agent/base/errors.ts';
import { Logger } from '../../agent/base/log.ts';
import type { Hashing } from '../../agent/directory/hashing.ts';
import { openShareRoot } from '../../agent/platform/files.ts';
import { inRecords, onDisk, withFolder } from './folder.ts';
import { fill, hasty, news, opened } from './hasty-detector.ts';

test('when most of a share disappears, nothing is deleted until it is back or the owner says so', async () => {
  await withFolder(async (folder) => {
    fill(folder, 30);
    const detector = await opened(folder);
    news(folder);
    for (let i = 0; i < 25; i++) fs.renameSync(folder.at(`/f${i}`), join(folder.path, '..', `f${i}`));
    await detector.rescan();
    assert.deepEqual(news(folder), []);
    const [problem] = detector.problems();
    assert.deepEqual(
      [problem?.code, problem?.stops, problem?.count],
      ['share.mass_deletion', 'deletions', 25],
    );
    // Other work goes on.
    fs.writeFileSync(folder.at('/f29'), 'edited');
    await detector.rescan();
    assert.deepEqual(news(folder), ['put /f29']);
    // Back again: nothing has happened, but for the one that really is gone.
    for (let i = 1; i < 25; i++) fs.renameSync(join(folder.path, '..', `f${i}`), folder.at(`/f${i}`));
    await detector.rescan();
    assert.deepEqual([news(folder), detector.problems()], [['remove /f0'], []]);
    for (let i = 1; i < 26; i++) fs.rmSync(folder.at(`/f${i}`));
    await detector.rescan();
    assert.deepEqual(news(folder), []);
    await detector.accept();
    await detector.settled();
    assert.equal(news(folder).length, 25);
    assert.deepEqual(detector.problems(), []);
    assert.deepEqual(inRecords(folder), onDisk(folder));
  });
});

test('when all that had disappeared is back, the deletions are no longer held', async () => {
  await withFolder(async (folder) => {
    fs.mkdirSync(folder.at('/d'));
    for (let i = 0; i < 30; i++) fs.writeFileSync(folder.at(`/d/f${i}`), `file ${i}`);
    const detector = await opened(folder);
    const away = join(folder.path, '..', 'away');
    const isHeld = () => detector.problems().length > 0;
    for (const isScanned of [true, false]) {
      fs.renameSync(folder.at('/d'), away);
      await detector.rescan();
      assert.ok(isHeld());
      fs.renameSync(away, folder.at('/d'));
      if (isScanned) await detector.rescan();
      for (let i = 0; i < 200 && isHeld(); i++) await new Promise((resolve) => setTimeout(resolve, 10));
      assert.deepEqual(detector.problems(), []);
    }
    assert.deepEqual(inRecords(folder), onDisk(folder));
  });
});

test('while files are put back, or new ones come, nothing of what is still missed is deleted', async () => {
  await withFolder(async (folder) => {
    fill(folder, 100);
    let detector = await opened(folder);
    const away = (i: number) => join(folder.path, '..', `f${i}`);
    for (let i = 0; i < 60; i++) fs.renameSync(folder.at(`/f${i}`), away(i));
    await detector.rescan();
    news(folder);
    const removed = async () => {
      await new Promise((resolve) => setTimeout(resolve, 300));
      await detector.settled();
      return news(folder).filter((change) => change.startsWith('remove'));
    };
    for (let i = 0; i < 15; i++) fs.renameSync(away(i), folder.at(`/f${i}`));
    assert.deepEqual(await removed(), []);
    for (let i = 0; i < 80; i++) fs.writeFileSync(folder.at(`/new ${i}`), `new ${i}`);
    assert.deepEqual(await removed(), []);
    await detector.rescan();
    assert.deepEqual(await removed(), [], 'also after a scan');
    for (let i = 15; i < 45; i++) fs.renameSync(away(i), folder.at(`/f${i}`));
    await detector.rescan();
    assert.deepEqual(await removed(), [], 'also when few are left that were many');
    await detector.close();
    detector = await opened(folder);
    assert.deepEqual(await removed(), [], 'also after a restart');
    assert.equal(detector.problems()[0]?.code, 'share.mass_deletion');
    for (let i = 45; i < 57; i++) fs.renameSync(away(i), folder.at(`/f${i}`));
    await detector.rescan();
    assert.deepEqual(await removed(), ['remove /f57', 'remove /f58', 'remove /f59']);
    assert.deepEqual(detector.problems(), []);
  });
});

test('changes that the database does not take are noted when it does, without another scan', async () => {
  await withFolder(async (folder) => {
    fill(folder, 2);
    const refused: string[] = [];
    const log = new Logger(({ level, message }) => void (level === 'warn' && refused.push(message)));
    const detector = await opened(folder, { log });
    news(folder);
    folder.sqlite.exec('PRAGMA query_only = ON');
    fs.writeFileSync(folder.at('/f0'), 'edited');
    for (const end = Date.now() + 20_000; refused.length === 0; ) {
      assert.ok(Date.now() < end, 'it is told');
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    assert.deepEqual(news(folder), []);
    folder.sqlite.exec('PRAGMA query_only = OFF');
    for (const end = Date.now() + 20_000; folder.records.history.length === 0; ) {
      assert.ok(Date.now() < end, 'it is noted');
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    await detector.settled();
    assert.deepEqual(news(folder), ['put /f0']);
    assert.deepEqual(refused, ['changes can not be noted']);
  });
});

test('a folder that we made anew in place of another is watched', async () => {
  await withFolder(async (folder) => {
    fs.mkdirSync(folder.at('/d'));
    const detector = await opened(folder);
    news(folder);
    const release = detector.hold(['/d']);
    const row = folder.index.byPath('/d');
    assert.ok(row);
    // Kept, so that its number is not given to the next one.
    fs.renameSync(folder.at('/d'), join(folder.path, '..', 'old'));
    fs.mkdirSync(folder.at('/d'));
    const facts = await folder.root.look('/d');
    assert.ok(facts);
    const { ino, mtimeNs, ctimeNs } = facts;
    folder.index.put({ ...row, ino, mtimeNs, ctimeNs });
    release();
    await detector.settled();
    fs.writeFileSync(folder.at('/d/new'), 'new');
    const deadline = Date.now() + 5_000;
    while (folder.records.get('/d/new') === undefined) {
      assert.ok(Date.now() < deadline, 'what happens in it is noticed');
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  });
});

test('a mass deletion is one although it comes in small parts, and a large move is none', async () => {
  await withFolder(async (folder) => {
    fs.mkdirSync(folder.at('/d'));
    for (let i = 0; i < 40; i++) fs.writeFileSync(folder.at(`/d/f${i}`), `file ${i}`);
    const detector = await opened(folder);
    fs.renameSync(folder.at('/d'), folder.at('/e'));
    await detector.rescan();
    assert.deepEqual(detector.problems(), []);
    assert.equal(news(folder).filter((line) => line.startsWith('rename')).length, 41);
    for (let i = 0; i < 40; i += 5) {
      for (let j = i; j < i + 5; j++) fs.rmSync(folder.at(`/e/f${j}`));
      await detector.rescan();
    }
    assert.deepEqual(
      detector.problems().map(({ code }) => code),
      ['share.mass_deletion'],
    );
    assert.equal(folder.index.totals().files, 20);
  });
});

test('a missing root, a missing or foreign marker hold everything, and it goes on by itself', async () => {
  await withFolder(async (folder) => {
    fill(folder, 3);
    const detector = await opened(folder);
    news(folder);
    const away = join(folder.path, '..', 'away');
    const expectHeld = async (code: string) => {
      await detector.rescan();
      assert.deepEqual(
        detector.problems().map((problem) => [problem.code, problem.stops]),
        [[code, 'everything']],
      );
      assert.equal(detector.isHeld, true);
      assert.deepEqual(news(folder), []);
    };
    fs.renameSync(folder.path, away);
    await expectHeld('share.root_missing');
    // An empty mount point.
    fs.mkdirSync(folder.path);
    await expectHeld('share.marker_missing');
    assert.deepEqual(fs.readdirSync(folder.path), []);
    fs.rmdirSync(folder.path);
    fs.renameSync(away, folder.path);
    fs.writeFileSync(folder.at('/f0'), 'edited while it was away');
    await detector.rescan();
    await detector.settled();
    assert.deepEqual([detector.problems(), news(folder)], [[], ['put /f0']]);
    const marker = fs.readFileSync(folder.at('/.clearskies/share'));
    fs.rmSync(folder.at('/.clearskies/share'));
    fs.rmSync(folder.at('/f1'));
    await expectHeld('share.marker_missing');
    fs.writeFileSync(folder.at('/.clearskies/share'), `{"share":"${'0'.repeat(32)}"}`);
    await expectHeld('share.marker_foreign');
    fs.writeFileSync(folder.at('/.clearskies/share'), 'damaged');
    await expectHeld('share.marker_missing');
    fs.writeFileSync(folder.at('/.clearskies/share'), marker);
    await detector.rescan();
    await detector.settled();
    assert.deepEqual([detector.problems(), news(folder)], [[], ['remove /f1']]);
  });
});

test('the owner can accept a folder whose marker is lost', async () => {
  await withFolder(async (folder) => {
    fill(folder, 3);
    const detector = await opened(folder);
    fs.rmSync(folder.at('/.clearskies'), { recursive: true });
    await detector.rescan();
    assert.equal(detector.isHeld, true);
    await detector.accept();
    assert.equal(detector.isHeld, false);
    await detector.settled();
    assert.deepEqual(inRecords(folder), onDisk(folder));
    assert.ok(fs.existsSync(folder.at('/.clearskies/share')));
  });
});

test('the same medium, mounted again, is recognised by its marker', async () => {
  await withFolder(async (folder) => {
    fill(folder, 3);
    const detector = await opened(folder);
    news(folder);
    // Another inode with the same contents.
    const copy = join(folder.path, '..', 'copy');
    fs.cpSync(folder.path, copy, { recursive: true, preserveTimestamps: true });
    fs.renameSync(folder.path, join(folder.path, '..', 'old'));
    fs.renameSync(copy, folder.path);
    await detector.rescan();
    await detector.settled();
    assert.deepEqual(detector.problems(), []);
    fs.writeFileSync(folder.at('/new'), 'new');
    await detector.rescan();
    assert.deepEqual(
      news(folder).filter((line) => !line.startsWith('put /f')),
      ['put /new'],
    );
    assert.deepEqual(inRecords(folder), onDisk(folder));
  });
});

test('a paused share notes nothing, and catches up', async () => {
  await withFolder(async (folder) => {
    fill(folder, 3);
    const detector = await opened(folder);
    news(folder);
    detector.pause();
    fs.writeFileSync(folder.at('/f0'), 'edited');
    fs.rmSync(folder.at('/f1'));
    fs.writeFileSync(folder.at('/new'), 'new');
    await detector.rescan();
    assert.deepEqual(news(folder), []);
    detector.resume();
    await detector.settled();
    assert.deepEqual(news(folder), ['put /f0', 'put /new', 'remove /f1']);
  });
});

test('folders that can not be watched are found by scans', async () => {
  await withFolder(async (folder) => {
    for (let i = 0; i < 5; i++) fs.mkdirSync(folder.at(`/d${i}`));
    const detector = await opened(folder, { watchLimit: 2 });
    for (let i = 0; i < 5; i++) fs.writeFileSync(folder.at(`/d${i}/f`), `${i}`);
    await detector.rescan();
    assert.deepEqual(inRecords(folder), onDisk(folder));
  });
});

test('a change that can not be noted does not keep others from being noted', async () => {
  await withFolder(async (folder) => {
    const { put } = folder.records;
    folder.records.put = (key, value, options) => {
      if (key === '/poison') throw new Error('not this one');
      return put.call(folder.records, key, value, options);
    };
    for (const name of ['a', 'poison', 'z']) fs.writeFileSync(folder.at(`/${name}`), name);
    await opened(folder);
    assert.deepEqual(folder.records.keys(), ['/', '/a', '/z']);
  });
});

test('closing in the middle of everything leaves a folder that the next start completes', async () => {
  await withFolder(async (folder) => {
    fill(folder, 300);
    for (let i = 0; i < 6; i++) {
      const detector = folder.detector({ clock: hasty });
      await new Promise((resolve) => setTimeout(resolve, i * 3));
      await detector.close();
    }
    await opened(folder);
    assert.deepEqual(inRecords(folder), onDisk(folder));
    assert.equal(folder.records.history.length, 301);
  });
});

test('a file that the disk does not give is left out, neither changed nor deleted, and tried again, without a scan', async () => {
  await withFolder(async (folder) => {
    fs.writeFileSync(folder.at('/good'), 'good');
    fs.writeFileSync(folder.at('/bad'), 'bad');
    await (await opened(folder)).close();
    fs.appendFileSync(folder.at('/bad'), '!');
    fs.writeFileSync(folder.at('/new bad'), 'new');
    news(folder);
    let isBroken = true;
    const hashing: Hashing = {
      hash: (root, path, size, signal) =>
        isBroken && path.includes('bad')
          ? Promise.resolve({ state: 'failed', code: 'files.io', message: 'the disk reports an error' })
          : folder.hashing.hash(root, path, size, signal),
      close: async () => undefined,
    };
    const detector = await opened(folder, { hashing });
    assert.deepEqual(news(folder), []);
    assert.deepEqual(
      detector.problems().map(({ code, count, paths }) => [code, count, [...paths].sort()]),
      [['files.io', 2, ['/bad', '/new bad']]],
    );
    assert.equal(detector.progress().toExamine.files, 0);
    isBroken = false;
    const over = new Promise<void>((resolve) => {
      detector.onProblem((problems) => problems.length === 0 && resolve());
    });
    await over;
    await detector.settled();
    assert.deepEqual(news(folder), ['put /bad', 'put /new bad']);
    assert.deepEqual(detector.problems(), []);
  });
});

test('a folder that the disk does not give is listed again without a full scan', async () => {
  await withFolder(async (folder) => {
    fs.mkdirSync(folder.at('/d'));
    const { list } = folder.root;
    let failures = 2;
    // Only the system can fail so.
    folder.root.list = async function* (path: string) {
      if (path === '/d' && failures-- > 0) throw environmentError('files.io', 'the disk reports an error');
      yield* list.call(this, path);
    };
    fs.writeFileSync(folder.at('/d/f'), 'f');
    const detector = folder.detector({ clock: hasty });
    await detector.ready;
    assert.equal(detector.problems()[0]?.code, 'files.io');
    for (let i = 0; i < 2_000 && folder.records.get('/d/f') === undefined; i++)
      await new Promise((resolve) => setTimeout(resolve, 10));
    assert.deepEqual(inRecords(folder), onDisk(folder));
    assert.deepEqual(detector.problems(), []);
  });
});

test('what lay beside a read-only share joins it once we may write', async () => {
  await withFolder(async (folder) => {
    folder.records.writable = false;
    fs.writeFileSync(folder.at('/own'), 'own');
    await (await opened(folder)).close();
    assert.deepEqual(news(folder), []);
    folder.records.writable = true;
    await opened(folder);
    assert.deepEqual(news(folder), ['put /', 'put /own']);
    assert.deepEqual(inRecords(folder), onDisk(folder));
  });
});

test('the mode of the root, and a folder that was away for a moment, are followed without a scan', async () => {
  await withFolder(async (folder) => {
    fs.mkdirSync(folder.at('/d/e'), { recursive: true });
    const detector = await opened(folder);
    const agree = async () => {
      for (let i = 0; i < 4_000; i++) {
        await detector.settled();
        if (JSON.stringify(inRecords(folder)) === JSON.stringify(onDisk(folder))) return;
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      assert.deepEqual(inRecords(folder), onDisk(folder));
    };
    fs.chmodSync(folder.path, 0o700);
    await agree();
    const outside = join(folder.path, '..', 'outside');
    for (const pause of [0, 12, 25, 50, 100]) {
      fs.renameSync(folder.at('/d'), outside);
      await new Promise((resolve) => setTimeout(resolve, pause));
      fs.renameSync(outside, folder.at('/d'));
      await new Promise((resolve) => setTimeout(resolve, 30));
      fs.writeFileSync(folder.at(`/d/e/after ${pause}`), 'x');
      await agree();
    }
  });
});

test('a folder on a read-only medium is shared without a marker', {
  skip: !canMount() && 'needs the right to mount',
}, async () => {
  await withFolder(async (folder) => {
    fs.writeFileSync(folder.at('/f'), 'f');
    execFileSync('mount', ['--bind', folder.path, folder.path]);
    execFileSync('mount', ['-o', 'remount,bind,ro', folder.path]);
    try {
      const root = await openShareRoot(folder.path);
      const detector = await opened(folder, { root });
      assert.deepEqual([folder.records.keys(), detector.problems()], [['/', '/f'], []]);
      await detector.close();
      root.close();
      await new Promise((resolve) => setTimeout(resolve, 20));
    } finally {
      execFileSync('umount', ['-l', folder.path]);
    }
  });
});

function canMount(): boolean {
  const top = fs.mkdtempSync(join(tmpdir(), 'skylark-mount-'));
  try {
    if (spawnSync('mount', ['--bind', top, top]).status !== 0) return false;
    spawnSync('umount', [top]);
    return true;
  } finally {
    fs.rmSync(top, { recursive: true });
  }
}
