import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { errorCode, SkylarkError } from '../../agent/base/errors.ts';
import { type ListedEntry, openShareRoot, type ShareRoot } from '../../agent/platform/files.ts';

interface Place {
  readonly root: ShareRoot;
  /** Beside the share, not in it. */
  readonly outside: string;
  at(path: string): string;
}

async function withShare(body: (place: Place) => Promise<void>): Promise<void> {
  const top = fs.mkdtempSync(join(tmpdir(), 'skylark-files-'));
  const share = join(top, 'share');
  fs.mkdirSync(share);
  const root = await openShareRoot(share);
  try {
    await body({ root, outside: top, at: (path) => join(share, path) });
  } finally {
    root.close();
    fs.rmSync(top, { recursive: true, force: true });
  }
}

const withCode = (code: string) => (thrown: unknown) => {
  assert.ok(thrown instanceof SkylarkError, String(thrown));
  assert.equal(thrown.code, code);
  return true;
};

async function listAll(root: ShareRoot, path = '/'): Promise<ListedEntry[]> {
  const entries: ListedEntry[] = [];
  for await (const batch of root.list(path)) entries.push(...batch);
  return entries;
}

async function read(root: ShareRoot, path: string): Promise<string> {
  const file = await root.openFile(path);
  try {
    const buffer = new Uint8Array(1_000);
    return Buffer.from(buffer.subarray(0, await file.read(buffer, 0n))).toString();
  } finally {
    await file.close();
  }
}

async function place(
  root: ShareRoot,
  path: string,
  content: string,
  expected: 'absent' | 'present' = 'absent',
) {
  const file = await root.openTemporary('t1', {});
  await file.write(Buffer.from(content), 0n);
  const there = expected === 'absent' ? 'absent' : await root.look(path);
  assert.ok(there !== undefined);
  try {
    return await file.commit(path, { mode: 0o644, mtimeNs: undefined, expected: there });
  } catch (thrown) {
    await file.discard();
    throw thrown;
  }
}

test('a file appears whole, with its mode and time, under every kind of name', async () => {
  await withShare(async ({ root, at }) => {
    fs.mkdirSync(at('/folder'));
    const names = [
      'plain',
      'with space',
      'new\nline',
      '🎹.mid',
      'é',
      'e\u0301',
      'x'.repeat(255),
      'ü'.repeat(127),
      '%',
      ' ',
      '-rf',
    ];
    for (const name of names) {
      const file = await root.openTemporary('label-1', {});
      await file.write(Buffer.from('lo'), 3n);
      await file.write(Buffer.from('hel'), 0n);
      const mtimeNs = 1_234_567_890_123_456_789n;
      const facts = await file.commit(`/folder/${name}`, { mode: 0o640, mtimeNs, expected: 'absent' });
      assert.equal(fs.readFileSync(at(`/folder/${name}`), 'utf8'), 'hello');
      assert.deepEqual([facts.kind, facts.size, facts.mode, facts.links], ['file', 5n, 0o640, 1]);
      const apart = facts.mtimeNs - mtimeNs;
      assert.ok(-120n <= apart && apart <= 120n, `the time is ${apart} ns off`);
      assert.deepEqual(await root.look(`/folder/${name}`), facts);
    }
    assert.equal((await listAll(root, '/folder')).length, names.length);
    assert.deepEqual(await root.listTemporaries(), []);
  });
});

test('times before 1970 and far in the future are set as far as the file system goes', async () => {
  await withShare(async ({ root, at }) => {
    fs.writeFileSync(at('/f'), '');
    for (const mtimeNs of [
      -1_500_000_000n,
      -1n,
      0n,
      1n,
      4_294_967_296_000_000_000n,
      9_000_000_000_000_000_000n,
    ]) {
      const before = await root.look('/f');
      assert.ok(before);
      const { mtimeNs: set } = await root.setAttributes('/f', { mtimeNs }, before);
      const apart = set - mtimeNs;
      assert.ok(-1_000_000n <= apart && apart <= 1_000_000n, `${mtimeNs} became ${set}`);
    }
  });
});

test('what is not expected at the target is never replaced', async () => {
  await withShare(async ({ root, at }) => {
    fs.writeFileSync(at('/mine'), 'precious');
    const file = await root.openTemporary('t', {});
    await file.write(Buffer.from('theirs'), 0n);
    const commit = (expected: Parameters<typeof file.commit>[1]['expected']) =>
      file.commit('/mine', { mode: 0o644, mtimeNs: undefined, expected });
    await assert.rejects(commit('absent'), withCode('files.changed'));
    const facts = await root.look('/mine');
    assert.ok(facts);
    for (const other of [
      { ...facts, size: 9n },
      { ...facts, ino: 1n },
      { ...facts, mtimeNs: facts.mtimeNs + 1n },
      { ...facts, ctimeNs: facts.ctimeNs + 1n },
      { ...facts, kind: 'directory' as const },
    ])
      await assert.rejects(commit(other), withCode('files.changed'));
    assert.equal(fs.readFileSync(at('/mine'), 'utf8'), 'precious');
    // A refused temporary is still good for another try.
    await commit(facts);
    assert.equal(fs.readFileSync(at('/mine'), 'utf8'), 'theirs');
    await assert.rejects(
      file.commit('/mine', { mode: 0o644, mtimeNs: undefined, expected: facts }),
      withCode('files.temporary_ended'),
    );
  });
});

test('a target that has disappeared is a change too, and so is a folder or a link in its place', async () => {
  await withShare(async ({ root, at, outside }) => {
    fs.writeFileSync(join(outside, 'secret'), 'outside');
    fs.writeFileSync(at('/f'), 'old');
    const facts = await root.look('/f');
    assert.ok(facts);
    const file = await root.openTemporary('t', {});
    const refused = () =>
      assert.rejects(
        file.commit('/f', { mode: 0o644, mtimeNs: undefined, expected: facts }),
        withCode('files.changed'),
      );
    fs.rmSync(at('/f'));
    await refused();
    fs.symlinkSync(join(outside, 'secret'), at('/f'));
    await refused();
    fs.rmSync(at('/f'));
    fs.mkdirSync(at('/f'));
    await refused();
    await file.discard();
    assert.equal(fs.readFileSync(join(outside, 'secret'), 'utf8'), 'outside');
    assert.deepEqual(fs.readdirSync(at('/.clearskies/tmp')), []);
  });
});

test('an interrupted temporary is resumed with what it has', async () => {
  await withShare(async ({ root }) => {
    const first = await root.openTemporary('half', {});
    await first.write(Buffer.from('hel'), 0n);
    await first.close();
    assert.deepEqual(await root.listTemporaries(), ['half']);
    await assert.rejects(root.openTemporary('half', {}), withCode('files.exists'));
    const second = await root.openTemporary('half', { resume: true });
    assert.equal(second.resumedSize, 3n);
    const had = new Uint8Array(3);
    assert.equal(await second.read(had, 0n), 3);
    assert.equal(Buffer.from(had).toString(), 'hel');
    await second.write(Buffer.from('lo'), 3n);
    await second.commit('/f', { mode: 0o600, mtimeNs: undefined, expected: 'absent' });
    assert.equal(await read(root, '/f'), 'hello');
  });
});

test('a planted link or hard link under the name of a temporary is not written through', async () => {
  await withShare(async ({ root, at, outside }) => {
    const victim = join(outside, 'victim');
    fs.writeFileSync(victim, 'untouched');
    fs.mkdirSync(at('/.clearskies/tmp'), { recursive: true });
    fs.symlinkSync(victim, at('/.clearskies/tmp/a.!clearsky'));
    fs.linkSync(victim, at('/.clearskies/tmp/b.!clearsky'));
    await assert.rejects(root.openTemporary('a', { resume: true }), withCode('files.symlink'));
    await assert.rejects(root.openTemporary('b', { resume: true }), withCode('files.not_a_file'));
    await assert.rejects(root.openTemporary('../../x', {}), withCode('files.label_malformed'));
    assert.equal(fs.readFileSync(victim, 'utf8'), 'untouched');
  });
});

test('contents are copied from another file of the share', async () => {
  await withShare(async ({ root, at }) => {
    fs.writeFileSync(at('/from'), 'x'.repeat(300_000));
    const source = await root.openFile('/from');
    const file = await root.openTemporary('t', {});
    await file.copyFrom(source);
    await source.close();
    await file.commit('/to', { mode: 0o600, mtimeNs: 5_000_000_000n, expected: 'absent' });
    assert.equal(fs.readFileSync(at('/to'), 'utf8'), 'x'.repeat(300_000));
    assert.equal(fs.statSync(at('/to')).mode & 0o777, 0o600);
  });
});

test('nothing is reached through a symbolic link, wherever it stands in the path', async () => {
  await withShare(async ({ root, at, outside }) => {
    fs.mkdirSync(join(outside, 'target', 'inner'), { recursive: true });
    fs.writeFileSync(join(outside, 'target', 'inner', 'f'), 'outside');
    fs.symlinkSync(join(outside, 'target'), at('/link'));
    fs.symlinkSync(join(outside, 'target', 'inner', 'f'), at('/file'));
    fs.writeFileSync(at('/own'), 'own');
    const own = await root.look('/own');
    assert.ok(own);
    assert.equal((await root.look('/link'))?.kind, 'symlink');
    assert.equal(await root.look('/link/inner/f'), undefined);
    const refusals: [string, () => Promise<unknown>][] = [
      ['files.symlink', () => root.openFile('/file')],
      ['files.absent', () => root.openFile('/link/inner/f')],
      ['files.absent', () => listAll(root, '/link')],
      ['files.absent', () => listAll(root, '/link/inner')],
      ['files.absent', () => root.makeDirectory('/link/new', 0o755)],
      ['files.exists', () => root.makeDirectory('/link', 0o755)],
      ['files.absent', () => root.removeDirectory('/link/inner')],
      ['files.absent', () => root.removeDirectory('/link')],
      ['files.absent', () => root.removeFile('/link/inner/f', own)],
      ['files.absent', () => root.move('/own', '/link/own')],
      ['files.absent', () => root.move('/link/inner/f', '/stolen')],
      ['files.exists', () => root.move('/own', '/file')],
      ['files.absent', () => root.link('/own', '/link/own', own)],
      ['files.changed', () => root.link('/file', '/again', own)],
      ['files.not_a_file', () => root.setAttributes('/file', { mode: 0o777 }, own)],
      ['files.absent', () => place(root, '/link/f', 'x')],
      ['files.changed', () => place(root, '/file', 'x')],
      ['files.absent', () => root.watch('/link', () => undefined)],
    ];
    for (const [code, attempt] of refusals) await assert.rejects(attempt, withCode(code), attempt.toString());
    assert.equal(fs.readFileSync(join(outside, 'target', 'inner', 'f'), 'utf8'), 'outside');
    assert.deepEqual(fs.readdirSync(join(outside, 'target')), ['inner']);
    assert.equal(fs.readFileSync(at('/own'), 'utf8'), 'own');
  });
});

test('a folder that is swapped for a link during a thousand placings never leads outside', async () => {
  await withShare(async ({ root, at, outside }) => {
    const away = join(outside, 'away');
    fs.mkdirSync(away);
    fs.mkdirSync(at('/folder'));
    let isDone = false;
    const swap = async (): Promise<void> => {
      while (!isDone) {
        fs.renameSync(at('/folder'), at('/hidden'));
        fs.symlinkSync(away, at('/folder'));
        await new Promise((resolve) => setImmediate(resolve));
        fs.rmSync(at('/folder'));
        fs.renameSync(at('/hidden'), at('/folder'));
        await new Promise((resolve) => setImmediate(resolve));
      }
    };
    let [placed, refused] = [0, 0];
    const work = async (lane: number): Promise<void> => {
      for (let i = 0; i < 125; i++) {
        const label = `${lane}-${i}`;
        const file = await root.openTemporary(label, {});
        await file.write(Buffer.from('x'), 0n);
        try {
          await file.commit(`/folder/${label}`, { mode: 0o644, mtimeNs: undefined, expected: 'absent' });
          placed += 1;
        } catch (thrown) {
          assert.equal(errorCode(thrown), 'files.absent');
          refused += 1;
          await file.discard();
        }
      }
    };
    const swapping = swap();
    await Promise.all(Array.from({ length: 8 }, (_, lane) => work(lane)));
    isDone = true;
    await swapping;
    assert.deepEqual(fs.readdirSync(away), []);
    assert.equal(fs.readdirSync(at('/folder')).length, placed);
    assert.ok(placed > 0 && refused > 0, `${placed} placed, ${refused} refused`);
  });
});

test('FIFOs, sockets and devices are listed as such, never opened, never blocking', async () => {
  await withShare(async ({ root, at }) => {
    execFileSync('mkfifo', [at('/pipe')]);
    const server = createServer().listen(at('/socket'));
    await new Promise((resolve) => server.once('listening', resolve));
    const isRoot = process.getuid?.() === 0;
    if (isRoot) execFileSync('mknod', [at('/null'), 'c', '1', '3']);
    // A writer waits on the pipe: opening it for reading, even for a moment, would let it go on and die.
    const writer = fs.promises.open(at('/pipe'), fs.constants.O_WRONLY);
    try {
      const kinds = (await listAll(root)).map((entry) => ('facts' in entry ? entry.facts?.kind : undefined));
      assert.deepEqual(
        kinds,
        Array.from({ length: isRoot ? 3 : 2 }, () => 'special'),
      );
      for (const name of ['/pipe', '/socket', ...(isRoot ? ['/null'] : [])]) {
        await assert.rejects(root.openFile(name), withCode('files.not_a_file'));
        const facts = await root.look(name);
        assert.ok(facts);
        await assert.rejects(place(root, name, 'x'), withCode('files.changed'));
        await assert.rejects(place(root, name, 'x', 'present'), withCode('files.changed'));
        await assert.rejects(root.setAttributes(name, { mode: 0o777 }, facts), withCode('files.not_a_file'));
      }
      let isOpen = false;
      void writer.then(() => {
        isOpen = true;
      });
      await new Promise((resolve) => setImmediate(resolve));
      assert.equal(isOpen, false, 'somebody opened the pipe');
    } finally {
      // Lets the waiting thread go.
      const reader = fs.openSync(at('/pipe'), fs.constants.O_RDONLY | fs.constants.O_NONBLOCK);
      await (await writer).close();
      fs.closeSync(reader);
      server.close();
    }
  });
});

test('names that are not UTF-8 are reported and not mangled; our own are not shown', async () => {
  await withShare(async ({ root, at }) => {
    fs.writeFileSync(Buffer.concat([Buffer.from(`${at('/')}/bad-`), Buffer.from([0xff, 0xfe])]), '');
    fs.writeFileSync(at('/good-ü'), '');
    fs.writeFileSync(at('/rest.!clearsky'), '');
    fs.mkdirSync(at('/sub/.clearskies'), { recursive: true });
    await place(root, '/placed', 'x');
    const entries = await listAll(root);
    assert.deepEqual(entries.map((entry) => entry.name ?? entry).sort(), [
      { name: undefined, shown: 'bad-\ufffd\ufffd' },
      'good-ü',
      'placed',
      'sub',
    ]);
    assert.deepEqual(await listAll(root, '/sub'), []);
  });
});

test('a large folder is listed in batches, each name once', async () => {
  await withShare(async ({ root, at }) => {
    for (let i = 0; i < 1_500; i++) fs.writeFileSync(at(`/f${i}`), '');
    const names = new Set<string>();
    let batches = 0;
    for await (const batch of root.list('/')) {
      batches += 1;
      assert.ok(batch.length <= 256);
      for (const { name } of batch) names.add(name ?? '');
    }
    assert.equal(names.size, 1_500);
    assert.ok(batches >= 6);
  });
});

test('folders are made with their mode whatever the umask, and removed only when empty', async () => {
  await withShare(async ({ root, at }) => {
    const before = process.umask(0o077);
    try {
      assert.equal((await root.makeDirectory('/d', 0o755)).mode, 0o755);
    } finally {
      process.umask(before);
    }
    assert.equal((await root.makeDirectory('/d', 0o700)).mode, 0o755, 'an existing folder is left as it is');
    fs.writeFileSync(at('/d/f'), '');
    await assert.rejects(root.removeDirectory('/d'), withCode('files.not_empty'));
    await assert.rejects(root.makeDirectory('/d/f', 0o755), withCode('files.exists'));
    fs.rmSync(at('/d/f'));
    await root.removeDirectory('/d');
    assert.equal(await root.look('/d'), undefined);
    await assert.rejects(root.removeDirectory('/d'), withCode('files.absent'));
  });
});

test('files are removed and moved only as expected, and a move never replaces anything', async () => {
  await withShare(async ({ root, at }) => {
    fs.writeFileSync(at('/a'), 'a');
    fs.writeFileSync(at('/b'), 'b');
    fs.mkdirSync(at('/d'));
    fs.mkdirSync(at('/empty'));
    const a = await root.look('/a');
    assert.ok(a);
    await assert.rejects(root.removeFile('/b', a), withCode('files.changed'));
    await assert.rejects(root.move('/a', '/b'), withCode('files.exists'));
    await assert.rejects(root.move('/d', '/empty'), withCode('files.exists'));
    await assert.rejects(root.move('/b', '/c', a), withCode('files.changed'));
    const moved = await root.move('/a', '/d/a', a);
    assert.deepEqual([moved.ino, moved.links, moved.mtimeNs], [a.ino, 1, a.mtimeNs]);
    assert.equal(await root.look('/a'), undefined);
    await root.move('/d', '/e');
    assert.equal(await read(root, '/e/a'), 'a');
    // An interrupted move has left both names.
    fs.linkSync(at('/e/a'), at('/again'));
    await root.move('/e/a', '/again');
    assert.deepEqual(fs.readdirSync(at('/e')), []);
    const b = await root.look('/b');
    assert.ok(b);
    await root.removeFile('/b', b);
    assert.equal(await root.look('/b'), undefined);
  });
});

test('a file keeps its contents under a second name when the first is replaced', async () => {
  await withShare(async ({ root, at }) => {
    fs.writeFileSync(at('/f'), 'old');
    const facts = await root.look('/f');
    assert.ok(facts);
    const linked = await root.link('/f', '/kept', facts);
    assert.equal(linked.links, 2);
    const file = await root.openTemporary('t', {});
    await file.write(Buffer.from('new'), 0n);
    await file.commit('/f', { mode: 0o644, mtimeNs: undefined, expected: linked });
    assert.deepEqual([await read(root, '/f'), await read(root, '/kept')], ['new', 'old']);
  });
});

test('unsafe names are refused at the last door', async () => {
  await withShare(async ({ root }) => {
    for (const path of ['/..', '/.', '/a\0b', '', '//', '/\ud800'])
      await assert.rejects(root.look(path), withCode('files.name_unsafe'), JSON.stringify(path));
    for (const path of ['/../x', '/a/../b', '/./x', '//x'])
      await assert.rejects(root.openFile(path), (thrown) => {
        assert.match(errorCode(thrown) ?? '', /^files\.(name_unsafe|absent)$/);
        return true;
      });
  });
});

test('a root that is gone or another one is noticed, and can be accepted', async () => {
  await withShare(async ({ root, at, outside }) => {
    fs.writeFileSync(at('/f'), 'first');
    fs.renameSync(root.path, join(outside, 'elsewhere'));
    await assert.rejects(root.look('/f'), withCode('share.root_missing'));
    fs.mkdirSync(root.path);
    fs.writeFileSync(at('/f'), 'second');
    await assert.rejects(root.look('/f'), withCode('share.root_replaced'));
    await assert.rejects(place(root, '/new', 'x'), withCode('share.root_replaced'));
    assert.deepEqual(fs.readdirSync(root.path), ['f']);
    root.acceptReplacement();
    assert.equal(await read(root, '/f'), 'second');
  });
});

test('a moved folder is not mistaken for the one that has taken its name', async () => {
  await withShare(async ({ root, at }) => {
    fs.mkdirSync(at('/a/b'), { recursive: true });
    await place(root, '/a/b/first', '1');
    fs.renameSync(at('/a'), at('/old'));
    fs.mkdirSync(at('/a/b'), { recursive: true });
    await place(root, '/a/b/second', '2');
    assert.deepEqual([fs.readdirSync(at('/old/b')), fs.readdirSync(at('/a/b'))], [['first'], ['second']]);
  });
});

test('handles are let go of, so that a medium can be unmounted', async () => {
  await withShare(async ({ root, at }) => {
    for (let i = 0; i < 200; i++) {
      fs.mkdirSync(at(`/d${i}`));
      await root.look(`/d${i}/x`);
    }
    const open = () =>
      fs.readdirSync('/proc/self/fd').filter((fd) => {
        try {
          return fs.readlinkSync(`/proc/self/fd/${fd}`).startsWith(root.path);
        } catch {
          return false;
        }
      }).length;
    assert.ok(open() <= 50, `${open()} handles are open`);
    root.close();
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(open(), 0);
  });
});

test('folders that may not be read are an error, not empty', {
  skip: !canBecomeNobody() && 'needs setpriv and root, to become somebody without rights',
}, async () => {
  await withShare(async ({ root, at, outside }) => {
    fs.mkdirSync(at('/locked'));
    fs.writeFileSync(at('/locked/f'), '');
    fs.writeFileSync(at('/secret'), '');
    fs.chmodSync(at('/locked'), 0);
    fs.chmodSync(at('/secret'), 0);
    fs.chmodSync(outside, 0o755);
    const program = `
      import { openShareRoot } from ${JSON.stringify(new URL('../../agent/platform/files.ts', import.meta.url).href)};
      const root = await openShareRoot(${JSON.stringify(root.path)});
      const codes = [];
      const attempt = (work) => work().then(() => codes.push('worked'), (thrown) => codes.push(thrown.code));
      await attempt(async () => { for await (const batch of root.list('/locked')) codes.push(batch.length); });
      await attempt(() => root.look('/locked/f'));
      await attempt(() => root.openFile('/secret'));
      await attempt(() => root.makeDirectory('/new', 0o755));
      console.log(codes.join(' '));`;
    const { stdout, stderr } = spawnSync(
      'setpriv',
      [
        '--reuid=65534',
        '--regid=65534',
        '--clear-groups',
        process.execPath,
        '--input-type=module',
        '--eval',
        program,
      ],
      { encoding: 'utf8', timeout: 20_000 },
    );
    assert.equal(stdout.trim(), Array.from({ length: 4 }, () => 'files.not_permitted').join(' '), stderr);
    fs.chmodSync(at('/locked'), 0o755);
  });
});

function canBecomeNobody(): boolean {
  if (process.getuid?.() !== 0) return false;
  // Also needs to be able to read this checkout.
  const check = spawnSync('setpriv', [
    '--reuid=65534',
    '--regid=65534',
    '--clear-groups',
    process.execPath,
    '--version',
  ]);
  return check.status === 0;
}
