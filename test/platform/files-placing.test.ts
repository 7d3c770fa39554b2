import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { errorCode } from '../../agent/base/errors.ts';
import { listAll, read, withCode, withShare } from './share-folder.ts';

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

test('killed between taking its place and losing its first name, a temporary file is no obstacle to the next', async () => {
  await withShare(async ({ root, at }) => {
    const interrupted = await root.openTemporary('label', {});
    await interrupted.write(Buffer.from('placed'), 0n);
    await interrupted.close();
    fs.linkSync(at('/.clearskies/tmp/label.!clearsky'), at('/placed'));
    const next = await root.openTemporary('label', { resume: true });
    assert.equal(next.resumedSize, 0n);
    await next.write(Buffer.from('X'), 0n);
    await next.commit('/next', { mode: 0o644, mtimeNs: undefined, expected: 'absent' });
    assert.equal(fs.readFileSync(at('/placed'), 'utf8'), 'placed');
    assert.equal(fs.readFileSync(at('/next'), 'utf8'), 'X');
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
    const fresh = await root.openTemporary('b', { resume: true });
    await fresh.write(Buffer.from('written'), 0n);
    await fresh.close();
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

test('a file finds its place on another file system inside the share', {
  skip: !canMount() && 'needs the right to mount',
}, async () => {
  await withShare(async ({ root, at }) => {
    fs.mkdirSync(at('/other'));
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', at('/other')]);
    try {
      const file = await root.openTemporary('t', {});
      await file.write(Buffer.from('across'), 0n);
      const facts = await file.commit('/other/f', {
        mode: 0o640,
        mtimeNs: 5_000_000_000n,
        expected: 'absent',
      });
      assert.deepEqual([facts.mode, facts.mtimeNs, facts.size], [0o640, 5_000_000_000n, 6n]);
      assert.equal(await read(root, '/other/f'), 'across');
      const second = await root.openTemporary('t', {});
      await second.write(Buffer.from('again'), 0n);
      const commit = (expected: 'absent' | typeof facts) =>
        second.commit('/other/f', { mode: 0o644, mtimeNs: undefined, expected });
      await assert.rejects(commit('absent'), withCode('files.changed'));
      await commit(facts);
      assert.equal(await read(root, '/other/f'), 'again');
      // Full: what was there stays, and nothing of ours is left.
      const third = await root.openTemporary('t', {});
      await third.write(new Uint8Array(2_000_000), 0n);
      await assert.rejects(
        third.commit('/other/g', { mode: 0o644, mtimeNs: undefined, expected: 'absent' }),
        withCode('files.no_space'),
      );
      await third.discard();
      assert.deepEqual([fs.readdirSync(at('/other')), await root.listTemporaries()], [['f'], []]);
      await assert.rejects(root.move('/other/f', '/f'), withCode('files.cross_device'));
    } finally {
      root.close();
      execFileSync('umount', ['-l', at('/other')]);
    }
  });
});

function canMount(): boolean {
  const top = fs.mkdtempSync(join(tmpdir(), 'skylark-mount-'));
  try {
    if (spawnSync('mount', ['-t', 'tmpfs', 'tmpfs', top]).status !== 0) return false;
    spawnSync('umount', [top]);
    return true;
  } finally {
    fs.rmSync(top, { recursive: true });
  }
}
