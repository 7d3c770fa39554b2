import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { errorCode } from '../../agent/base/errors.ts';
import { nodeAsNobody } from '../support/nobody.ts';
import { listAll, place, read, withCode, withShare } from './share-folder.ts';

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
  skip:
    nodeAsNobody(['--version']) === undefined && 'needs setpriv and root, to become somebody without rights',
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
    const result = nodeAsNobody(['--input-type=module', '--eval', program]);
    const expected = Array.from({ length: 4 }, () => 'files.not_permitted').join(' ');
    assert.equal(result?.stdout.trim(), expected, result?.stderr);
    fs.chmodSync(at('/locked'), 0o755);
  });
});
