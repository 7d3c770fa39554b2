import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { test } from 'node:test';
import { type Json, jsonObject } from '../../agent/base/json.ts';
import { encodeEntry } from '../../agent/directory/entry.ts';
import { type Folder, inRecords, onDisk, withFolder } from './folder.ts';
import { news, opened, uuidOf } from './hasty-detector.ts';

/** The value of a record for what is at the path. */
function recordValue(
  folder: Folder,
  path: string,
  changed: { readonly mode?: number; readonly mtime?: bigint } = {},
): Json {
  const row = folder.index.byPath(path);
  assert.ok(row);
  const common = { mtime: changed.mtime ?? row.mtimeNs, mode: changed.mode ?? row.mode };
  return row.kind === 'directory'
    ? encodeEntry({ kind: 'directory', ...common })
    : encodeEntry({ kind: 'file', size: row.size, sha256: row.sha256 ?? '', ...common });
}

test('everything that can lie in a folder gets a record: empty folders, empty files, odd names', async () => {
  await withFolder(async (folder) => {
    fs.mkdirSync(folder.at('/empty folder/inner'), { recursive: true });
    for (const name of [
      '0 bytes',
      'new\nline',
      '🎹.mid',
      'x'.repeat(255),
      'é',
      'e\u0301',
      '__proto__',
      'a"b\\',
    ])
      fs.writeFileSync(folder.at(`/${name}`), name === '0 bytes' ? '' : name);
    await opened(folder);
    assert.deepEqual(inRecords(folder), onDisk(folder));
    assert.equal(folder.records.keys().length, 11);
  });
});

test('a moved file and a moved folder keep their records, and nothing is read again', async () => {
  await withFolder(async (folder) => {
    fs.mkdirSync(folder.at('/from/deep'), { recursive: true });
    fs.writeFileSync(folder.at('/from/deep/a'), 'a');
    fs.writeFileSync(folder.at('/b'), 'b');
    const detector = await opened(folder);
    const uuids = ['/from', '/from/deep', '/from/deep/a', '/b'].map((path) => uuidOf(folder, path));
    news(folder);
    fs.renameSync(folder.at('/from'), folder.at('/to'));
    fs.renameSync(folder.at('/b'), folder.at('/to/b'));
    await detector.rescan();
    assert.deepEqual(
      ['/to', '/to/deep', '/to/deep/a', '/to/b'].map((path) => uuidOf(folder, path)),
      uuids,
    );
    assert.deepEqual(news(folder), [
      'rename /b -> /to/b',
      'rename /from -> /to',
      'rename /from/deep -> /to/deep',
      'rename /from/deep/a -> /to/deep/a',
    ]);
    assert.deepEqual(inRecords(folder), onDisk(folder));
  });
});

test('a file that was copied and then deleted is a move; a copy is a new file', async () => {
  await withFolder(async (folder) => {
    fs.writeFileSync(folder.at('/a'), 'contents');
    fs.writeFileSync(folder.at('/b'), 'others');
    const detector = await opened(folder);
    const uuid = uuidOf(folder, '/a');
    news(folder);
    fs.copyFileSync(folder.at('/a'), folder.at('/moved'));
    fs.rmSync(folder.at('/a'));
    fs.copyFileSync(folder.at('/b'), folder.at('/copy'));
    await detector.rescan();
    assert.equal(uuidOf(folder, '/moved'), uuid);
    assert.deepEqual(news(folder), ['put /copy', 'put /moved', 'rename /a -> /moved']);
    assert.deepEqual(inRecords(folder), onDisk(folder));
  });
});

test('a file that is saved by way of another name keeps its record; the backup is a new one', async () => {
  await withFolder(async (folder) => {
    fs.writeFileSync(folder.at('/take'), 'one');
    const detector = await opened(folder);
    const uuid = uuidOf(folder, '/take');
    fs.renameSync(folder.at('/take'), folder.at('/take~'));
    fs.writeFileSync(folder.at('/take'), 'two');
    await detector.rescan();
    assert.equal(uuidOf(folder, '/take'), uuid);
    assert.deepEqual(inRecords(folder), onDisk(folder));
  });
});

test('mode and time are changes of their own, and members of a value that we do not know are kept', async () => {
  await withFolder(async (folder) => {
    fs.writeFileSync(folder.at('/f'), 'f');
    const detector = await opened(folder);
    const precise = 1_600_000_000_123_456_789n;
    fs.utimesSync(folder.at('/f'), 1_600_000_000, Number(precise) / 1e9);
    await detector.rescan();
    // Another peer adds something and knows the time more exactly than our disk.
    const value = jsonObject([
      ...Object.entries(recordValue(folder, '/f', { mtime: precise }) as object),
      ['.org.notes', { stars: 5 }],
    ]);
    const theirs = folder.records.receive('/f', value, { uuid: uuidOf(folder, '/f') });
    const row = folder.index.byPath('/f');
    assert.ok(row);
    folder.index.put({ ...row, clock: theirs.vectorClock });
    news(folder);
    fs.chmodSync(folder.at('/f'), 0o600);
    await detector.rescan();
    assert.deepEqual(news(folder), ['put /f']);
    const now = folder.records.get('/f')?.value as Record<string, Json>;
    assert.deepEqual(now['.org.notes'], { stars: 5 });
    assert.equal(now.unix_mode, '0600');
    assert.equal(now.mtime, '2020-09-13T12:26:40.123456789Z');
  });
});

test('links, pipes and unreadable names are reported and nothing else; a file that becomes a link is gone', async () => {
  await withFolder(async (folder) => {
    fs.writeFileSync(folder.at('/f'), 'f');
    fs.symlinkSync('/etc/passwd', folder.at('/link'));
    fs.symlinkSync('/etc', folder.at('/folder link'));
    execFileSync('mkfifo', [folder.at('/pipe')]);
    fs.writeFileSync(Buffer.concat([Buffer.from(folder.at('/bad-')), Buffer.from([0xff])]), '');
    fs.writeFileSync(folder.at('/clears~1'), 'refused name');
    const detector = await opened(folder);
    assert.deepEqual(folder.records.keys(), ['/', '/f']);
    const problems = Object.fromEntries(
      detector.problems().map(({ code, count, stops }) => [code, [count, stops]]),
    );
    assert.deepEqual(problems, {
      'path.symlink': [2, 'files'],
      'path.special': [1, 'files'],
      'path.not_unicode': [1, 'files'],
    });
    fs.rmSync(folder.at('/f'));
    fs.symlinkSync('/etc/passwd', folder.at('/f'));
    await detector.rescan();
    assert.deepEqual(folder.records.keys(), ['/']);
    fs.rmSync(folder.at('/link'));
    await detector.rescan();
    assert.equal(detector.problems().find(({ code }) => code === 'path.symlink')?.count, 2);
  });
});

test('a read-only member reports what its owner changed, and changes no record', async () => {
  await withFolder(async (folder) => {
    for (const name of ['edited', 'deleted', 'touched', 'same'])
      fs.writeFileSync(folder.at(`/${name}`), name);
    await (await opened(folder)).close();
    folder.records.writable = false;
    news(folder);
    const detector = await opened(folder);
    fs.writeFileSync(folder.at('/edited'), 'mine');
    fs.rmSync(folder.at('/deleted'));
    fs.utimesSync(folder.at('/touched'), 1, 1);
    fs.writeFileSync(folder.at('/new'), 'mine');
    fs.mkdirSync(folder.at('/new folder'));
    await detector.rescan();
    await detector.rescan();
    assert.deepEqual(news(folder), []);
    const told = new Map(folder.deviations.map(({ row, now }) => [row.path, now?.size]));
    assert.deepEqual([...told].sort(), [
      ['/deleted', undefined],
      ['/edited', 4n],
    ]);
    assert.equal(folder.index.byPath('/new')?.uuid, undefined);
    // Put right, it is no deviation any more.
    folder.deviations.length = 0;
    const before = folder.index.byPath('/edited');
    const now = await folder.root.look('/edited');
    assert.ok(before && now);
    folder.index.put({ ...before, ...now, kind: 'file', mode: now.mode & 0o777 });
    await detector.rescan();
    assert.deepEqual(
      folder.deviations.map(({ row }) => row.path),
      ['/deleted'],
    );
  });
});

test('what disk and record agree on already is no edit, whoever came first', async () => {
  await withFolder(async (folder) => {
    for (const name of ['a', 'b', 'c']) fs.writeFileSync(folder.at(`/${name}`), `same ${name}`);
    await (await opened(folder)).close();
    const [values, a] = [
      ['/a', '/b', '/c'].map((path) => recordValue(folder, path)),
      folder.index.byPath('/a'),
    ];
    assert.ok(a);
    // As after a crash between placing and noting: the records are ahead, the index has forgotten.
    folder.index.remove('/a');
    folder.index.put({ ...a, path: '/b', sha256: '1'.repeat(64), uuid: uuidOf(folder, '/b'), ino: 1n });
    folder.records.receive('/a', values[0]!, { uuid: uuidOf(folder, '/a') });
    folder.records.receive('/b', values[1]!, { uuid: uuidOf(folder, '/b') });
    news(folder);
    await opened(folder);
    assert.deepEqual(news(folder), []);
    for (const path of ['/a', '/b']) {
      assert.equal(folder.index.byPath(path)?.uuid, uuidOf(folder, path));
      assert.deepEqual(folder.index.byPath(path)?.clock, folder.records.get(path)?.vectorClock);
    }
  });
});

test('a file found under a record of the same contents takes the record; its own mode and time are not spread', async () => {
  await withFolder(async (folder) => {
    fs.writeFileSync(folder.at('/f'), 'f');
    await (await opened(folder)).close();
    const uuid = uuidOf(folder, '/f');
    folder.records.receive('/f', recordValue(folder, '/f', { mode: 0o600, mtime: 1n }), { uuid });
    folder.index.erase();
    news(folder);
    await opened(folder);
    assert.deepEqual(news(folder), []);
    const row = folder.index.byPath('/f');
    assert.deepEqual([row?.uuid, row?.clock], [uuid, new Map()]);
  });
});

test('an edit is based on the version that lay on the disk, not on what has arrived since', async () => {
  await withFolder(async (folder) => {
    fs.writeFileSync(folder.at('/f'), 'first');
    const detector = await opened(folder);
    const uuid = uuidOf(folder, '/f');
    const before = folder.index.byPath('/f')?.clock;
    folder.records.receive(
      '/f',
      encodeEntry({ kind: 'file', size: 1n, sha256: 'ab'.repeat(32), mtime: 1n, mode: 0o644 }),
      { uuid },
    );
    const asked: unknown[] = [];
    const { put } = folder.records;
    folder.records.put = (key, value, options) => {
      asked.push(options);
      return put.call(folder.records, key, value, options);
    };
    fs.writeFileSync(folder.at('/f'), 'second');
    await detector.rescan();
    assert.deepEqual(asked, [{ uuid, basedOn: before }]);
  });
});

test('while a path is held nothing is noted about it, and after its release what is on the disk counts', async () => {
  await withFolder(async (folder) => {
    fs.mkdirSync(folder.at('/d'));
    fs.writeFileSync(folder.at('/d/placed'), 'old');
    fs.writeFileSync(folder.at('/d/deleted'), 'old');
    const detector = await opened(folder);
    news(folder);
    const release = detector.hold(['/d']);
    fs.writeFileSync(folder.at('/d/placed'), 'placed by us');
    fs.writeFileSync(folder.at('/d/edited'), 'by the owner');
    fs.rmSync(folder.at('/d/deleted'));
    void detector.rescan();
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setTimeout(resolve, 5));
    assert.deepEqual(news(folder), []);
    const [row, facts] = [folder.index.byPath('/d/placed'), await folder.root.look('/d/placed')];
    assert.ok(row && facts);
    folder.index.put({ ...row, ...facts, kind: 'file', mode: facts.mode & 0o777, sha256: 'cd'.repeat(32) });
    release();
    release();
    await detector.settled();
    assert.deepEqual(news(folder), ['put /d/edited', 'remove /d/deleted']);
    assert.equal(folder.index.byPath('/d/placed')?.sha256, 'cd'.repeat(32));
  });
});

test("on joining, what lies in the folder is nobody's change, but what its owner does then is", async () => {
  await withFolder(async (folder) => {
    for (const name of ['kept', 'edited', 'claimed']) fs.writeFileSync(folder.at(`/${name}`), name);
    fs.mkdirSync(folder.at('/folder'));
    const detector = await opened(folder, { isJoining: true });
    assert.deepEqual(news(folder), []);
    const found = [...folder.index.found()].map(({ path, sha256 }) => [path, sha256?.length]);
    assert.deepEqual(found.sort(), [
      ['/', undefined],
      ['/claimed', 64],
      ['/edited', 64],
      ['/folder', undefined],
      ['/kept', 64],
    ]);
    fs.appendFileSync(folder.at('/edited'), '!');
    fs.writeFileSync(folder.at('/new'), 'new');
    await detector.rescan();
    assert.deepEqual(news(folder), ['put /edited', 'put /new']);
    await detector.close();
    // After a restart in the middle of it, too.
    fs.writeFileSync(folder.at('/newer'), 'newer');
    const again = await opened(folder, { isJoining: true });
    assert.deepEqual(news(folder), ['put /newer']);
    again.endJoining();
    await again.rescan();
    assert.deepEqual([...folder.index.found()].map(({ path }) => path).sort(), [
      '/',
      '/claimed',
      '/folder',
      '/kept',
    ]);
  });
});
