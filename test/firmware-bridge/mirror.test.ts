import assert from 'node:assert/strict';
import { test } from 'node:test';
import { environmentError, errorCode } from '../../agent/base/errors.ts';
import { content } from './conformance.ts';
import { Stage } from './mirrored-piano.ts';

test('what the piano has lies in the folder, byte for byte, with its time, and is told once', async () => {
  const stage = new Stage();
  stage.plug();
  for (let i = 0; i < 3; i++) await stage.piano.record();
  stage.piano.save('empty.mid', new Uint8Array());
  assert.deepEqual(await stage.pass(), []);
  stage.assertMirrored();
  assert.equal(stage.folder.paths().length, 4);
  assert.equal(stage.events.length, 4);
  assert.deepEqual(stage.mirror.totals.files, 4);
  const { saves } = stage.memory;
  assert.deepEqual(await stage.pass(), []);
  assert.equal(stage.memory.saves, saves, 'nothing new costs no write');
  assert.equal(stage.folder.open, 0);
});

test('only what is new is read, also after a restart of the agent', async () => {
  const stage = new Stage();
  const line = stage.plug();
  stage.piano.save('long.mid', content(1, 30_000));
  await stage.pass();
  const before = line.carried.toHost;
  stage.piano.save('short.mid', content(2, 100));
  await stage.pass();
  assert.ok(line.carried.toHost - before < 1_500);
  stage.restartAgent();
  const again = stage.plug();
  await stage.pass();
  assert.ok(again.carried.toHost < 1_000);
  stage.assertMirrored();
});

test('a file that is changed on the device is changed in the folder', async () => {
  const stage = new Stage();
  const { id } = stage.piano.save('a.mid', content(1, 500));
  await stage.pass();
  stage.piano.save('a.mid', content(2, 700), id);
  await stage.pass();
  stage.assertMirrored();
  assert.deepEqual(stage.folder.paths(), ['/a.mid']);
  assert.deepEqual(stage.events.at(-1), {
    kind: 'file-arrived',
    name: 'a.mid',
    path: '/a.mid',
    size: 700,
    replaced: true,
  });
});

test('a renamed file is renamed in the folder and not read again', async () => {
  const stage = new Stage();
  const { id } = stage.piano.save('a.mid', content(1, 20_000));
  await stage.pass();
  const carried = stage.line?.carried.toHost ?? 0;
  stage.piano.rename(id, 'sub/b.mid');
  await stage.pass();
  assert.deepEqual(stage.folder.paths(), ['/sub/b.mid']);
  assert.ok((stage.line?.carried.toHost ?? 0) - carried < 1_000);
});

test('files that swap their names swap their places', async () => {
  const stage = new Stage();
  const a = stage.piano.save('a.mid', content(1, 300));
  const b = stage.piano.save('b.mid', content(2, 400));
  await stage.pass();
  stage.piano.rename(a.id, 'b.mid');
  stage.piano.rename(b.id, 'a.mid');
  await stage.pass();
  stage.assertMirrored();
  assert.deepEqual(stage.folder.paths(), ['/a.mid', '/b.mid']);
});

test('a file deleted on the device stays by default, and a new one of its name comes beside it', async () => {
  const stage = new Stage();
  const { id } = stage.piano.save('a.mid', content(1, 300));
  await stage.pass();
  stage.piano.delete(id);
  await stage.pass();
  assert.deepEqual(stage.folder.bytes('/a.mid'), content(1, 300));
  stage.piano.save('a.mid', content(2, 300));
  await stage.pass();
  assert.deepEqual(stage.folder.bytes('/a.mid'), content(1, 300));
  assert.deepEqual(stage.folder.bytes('/a (2).mid'), content(2, 300));
});

test('in mirror mode a file deleted on the device is deleted, unless the owner has changed it', async () => {
  const stage = new Stage({ mode: 'mirror' });
  const a = stage.piano.save('a.mid', content(1, 300));
  const b = stage.piano.save('b.mid', content(2, 300));
  await stage.pass();
  stage.folder.put('/b.mid', content(3, 10));
  stage.piano.delete(a.id);
  stage.piano.delete(b.id);
  assert.deepEqual(await stage.pass(), []);
  assert.deepEqual(stage.folder.paths(), ['/b.mid']);
  assert.deepEqual(stage.events.at(-1), { kind: 'file-removed', path: '/a.mid' });
});

test('in mirror mode the loss of most files at once is held back and reported', async () => {
  const stage = new Stage({ mode: 'mirror' });
  const saved = Array.from({ length: 30 }, (_, i) => stage.piano.save(`${i}.mid`, content(i, 20)));
  await stage.pass();
  for (const { id } of saved.slice(0, 25)) stage.piano.delete(id);
  const [problem] = await stage.pass();
  assert.equal(errorCode(problem?.error), 'device.mass_deletion');
  assert.equal(stage.folder.paths().length, 30);
  // The owner agrees by deleting them.
  for (let i = 0; i < 25; i++) stage.folder.files.delete(`/${i}.mid`);
  assert.deepEqual(await stage.pass(), []);
  assert.equal(stage.folder.paths().length, 5);
});

test('what the owner has put there, changed or deleted is left alone', async () => {
  const stage = new Stage();
  stage.folder.put('/mine.mid', content(9, 50));
  const mine = stage.piano.save('mine.mid', content(1, 60));
  const edited = stage.piano.save('edited.mid', content(2, 70));
  stage.piano.save('deleted.mid', content(3, 80));
  await stage.pass();
  assert.deepEqual(stage.folder.bytes('/mine.mid'), content(9, 50));
  assert.deepEqual(stage.folder.bytes('/mine (2).mid'), content(1, 60));
  stage.folder.put('/edited.mid', content(8, 50));
  stage.folder.files.delete('/deleted.mid');
  await stage.pass();
  stage.piano.save('edited.mid', content(4, 70), edited.id);
  stage.piano.save('mine.mid', content(5, 60), mine.id);
  await stage.pass();
  assert.deepEqual(stage.folder.bytes('/edited.mid'), content(8, 50));
  assert.deepEqual(stage.folder.bytes('/edited (2).mid'), content(4, 70));
  assert.deepEqual(stage.folder.bytes('/mine (2).mid'), content(5, 60));
  assert.equal(stage.folder.bytes('/deleted.mid'), undefined);
});

test('the same content is not stored twice', async () => {
  const stage = new Stage();
  stage.folder.put('/a.mid', content(1, 60));
  stage.piano.save('a.mid', content(1, 60));
  await stage.pass();
  assert.deepEqual(stage.folder.paths(), ['/a.mid']);
  assert.equal(stage.events.length, 0);
});

test('names that would leave the folder, hide or move a cursor become plain ones', async () => {
  const stage = new Stage();
  const names = [
    '../../etc/passwd',
    '/abs.mid',
    '.hidden',
    'a\u001b[2Jb.mid',
    'c\nd.mid',
    '...',
    'x/../y.mid',
    ' ',
  ];
  for (const [i, name] of names.entries()) stage.piano.save(name, content(i, 30));
  assert.deepEqual(await stage.pass(), []);
  assert.deepEqual(
    stage.folder.paths(),
    [
      '/_./_./etc/passwd',
      '/abs.mid',
      '/_hidden',
      '/a_[2Jb.mid',
      '/c_d.mid',
      '/_..',
      '/x/_./y.mid',
      '/unnamed',
    ].sort(),
  );
});

test('names that become the same path get a number each, and keep it', async () => {
  const stage = new Stage();
  for (const [i, name] of ['a\u0001.mid', 'a\u0002.mid', 'a_.mid'].entries())
    stage.piano.save(name, content(i, 30));
  await stage.pass();
  assert.deepEqual(stage.folder.paths(), ['/a_ (2).mid', '/a_ (3).mid', '/a_.mid']);
  stage.restartAgent();
  stage.plug();
  await stage.pass();
  assert.equal(stage.folder.paths().length, 3);
});

test('a device that numbers its files anew is recognised by their contents', async () => {
  for (const without of [[], ['hash' as const]]) {
    const stage = new Stage({ piano: { without } });
    stage.piano.save('a.mid', content(1, 5_000));
    stage.piano.save('b.mid', content(2, 5_000));
    await stage.pass();
    stage.piano.renumber();
    stage.piano.save('c.mid', content(3, 100));
    await stage.pass();
    assert.deepEqual(stage.folder.paths(), ['/a.mid', '/b.mid', '/c.mid']);
    assert.equal(stage.folder.seen.length, 3);
    assert.equal(stage.mirror.totals.files, 3);
  }
});

test('without tombstones, and without `since`, deletions are noticed all the same', async () => {
  for (const without of [['tombstones' as const], ['since' as const, 'tombstones' as const]]) {
    const stage = new Stage({ mode: 'mirror', piano: { without } });
    const { id } = stage.piano.save('a.mid', content(1, 50));
    stage.piano.save('b.mid', content(2, 50));
    await stage.pass();
    stage.piano.delete(id);
    await stage.pass();
    assert.deepEqual(stage.folder.paths(), ['/b.mid']);
  }
});

test('a recording that is still going on is left until it is finished', async () => {
  const stage = new Stage();
  const { id } = stage.piano.save('a.mid', content(1, 50), undefined, { open: true });
  await stage.pass();
  assert.deepEqual(stage.folder.paths(), []);
  stage.piano.save('a.mid', content(1, 90), id);
  await stage.pass();
  stage.assertMirrored();
});

test('a crash between placing and remembering leaves no second copy', async () => {
  for (let failAt = 1; failAt <= 6; failAt++) {
    const stage = new Stage();
    stage.memory.failAt = failAt;
    const pass = async () => {
      const { saves } = stage.memory;
      await stage.pass().catch(() => {});
      if (stage.memory.saves < failAt || saves >= failAt) return;
      stage.memory.failAt = Number.POSITIVE_INFINITY;
      stage.restartAgent();
      stage.plug();
      await stage.settle();
    };
    const { id } = stage.piano.save('a.mid', content(1, 50));
    await pass();
    stage.piano.save('a.mid', content(2, 60), id);
    await pass();
    stage.piano.rename(id, 'b.mid');
    await pass();
    await stage.settle();
    assert.deepEqual(stage.folder.paths(), ['/b.mid'], `crash at save ${failAt}`);
    stage.assertMirrored();
  }
});

test('one file that fails does not keep the others, and is tried again', async () => {
  const stage = new Stage();
  stage.piano.save('a.mid', content(1, 50));
  stage.piano.save('b.mid', content(2, 50));
  stage.folder.failNext = { step: 'commit', error: environmentError('files.not_permitted', 'no') };
  const problems = await stage.pass();
  assert.deepEqual(
    problems.map(({ name }) => name),
    ['a.mid'],
  );
  assert.deepEqual(stage.folder.paths(), ['/b.mid']);
  assert.deepEqual(await stage.pass(), []);
  stage.assertMirrored();
  assert.equal(stage.folder.open, 0);
});

test('a file for which there is no room waits, the others come', async () => {
  const stage = new Stage();
  stage.piano.save('a.mid', content(1, 5_000));
  stage.piano.save('b.mid', content(2, 50));
  stage.folder.failNext = { step: 'write', error: environmentError('files.no_space', 'full') };
  const [problem] = await stage.pass();
  assert.equal(errorCode(problem?.error), 'files.no_space');
  assert.equal(stage.folder.open, 0);
  assert.deepEqual(stage.folder.paths(), ['/b.mid']);
  await stage.settle();
  stage.assertMirrored();
});

test('a share that is gone ends the pass, and the next one goes on', async () => {
  const stage = new Stage();
  stage.piano.save('a.mid', content(1, 5_000));
  stage.folder.failNext = { step: 'begin', error: environmentError('share.root_missing', 'gone') };
  await assert.rejects(stage.pass(), { code: 'share.root_missing' });
  await stage.settle();
  stage.assertMirrored();
});

test('another device on the same line has its own memory', async () => {
  const stage = new Stage();
  stage.piano.save('a.mid', content(1, 50));
  await stage.pass();
  const other = new Stage({ piano: { seed: 99 } });
  other.piano.save('a.mid', content(2, 50));
  other.mirror = stage.mirror;
  await other.pass();
  assert.deepEqual(stage.folder.bytes('/a.mid'), content(1, 50));
  assert.deepEqual(stage.folder.bytes('/a (2).mid'), content(2, 50));
});
