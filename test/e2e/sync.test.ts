/** Two and three real agents on loopback: what users do with a shared folder. */

import assert from 'node:assert/strict';
import {
  chmod,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { agentsFor, joined } from '../support/agents.ts';
import { eventually } from '../support/eventually.ts';
import { sameTree, treeOf } from '../support/folder-tree.ts';

const ODD_NAMES = [
  'with spaces.txt',
  'emoji 🎹🎶.mid',
  'new\nline.txt',
  `${'x'.repeat(251)}.txt`,
  'é composed',
  'e\u0301 decomposed',
  '-rf',
  'quote"\'`$(true).sh',
  'tab\there',
  'right-to-left \u202Etxt.exe',
  '~tilde',
  'back\\slash',
];

test('both ways: create, edit, rename, delete, folders, empty files, odd names, modes and times', async (t) => {
  const [a, b] = await agentsFor(t, { name: 'a' }, { name: 'b' });
  assert.ok(a && b);
  const [left, right] = await joined(a, b);
  const same = (what: string) => eventually(what, () => sameTree(left, right, { times: true }));

  await mkdir(join(left, 'deep/er/still'), { recursive: true });
  await mkdir(join(left, 'empty folder'));
  await writeFile(join(left, 'deep/er/still/song.mid'), Buffer.alloc(300_000, 'MThd'));
  await writeFile(join(left, 'zero'), '');
  await writeFile(join(left, 'run.sh'), '#!/bin/sh\n');
  await chmod(join(left, 'run.sh'), 0o750);
  await utimes(join(left, 'run.sh'), 1_000_000_000, 1_000_000_000.5);
  for (const name of ODD_NAMES) await writeFile(join(left, name), `content of ${name}`);
  await same('what was created on the left is on the right');
  assert.equal((await treeOf(right)).length, 7 + ODD_NAMES.length);

  await writeFile(join(right, 'from the right'), 'hello');
  await writeFile(join(right, 'zero'), 'not any more');
  await same('an edit on the right is on the left');
  assert.equal(await readFile(join(left, 'zero'), 'utf8'), 'not any more');

  await rename(join(left, 'deep/er'), join(left, 'shallow'));
  await rename(join(right, 'zero'), join(right, 'one'));
  await chmod(join(right, 'from the right'), 0o600);
  await same('renames on both sides meet');
  assert.deepEqual(await readdir(join(right, 'shallow')), ['still']);

  await rm(join(left, 'shallow'), { recursive: true });
  await rm(join(right, 'empty folder'), { recursive: true });
  for (const name of ODD_NAMES) await rm(join(right, name));
  await same('deletions on both sides meet');
  await eventually('the deleted are gone', async () => (await treeOf(left)).length === 4);

  const status = await a.status();
  assert.deepEqual(status.problems, []);
  assert.equal(status.shares[0]!.files, 3);
  assert.equal(status.peers.filter(({ connected }) => connected).length, 1);
});

test('edits made while the other one is off meet when it is back; a file edited on both sides is kept twice', async (t) => {
  const [a, b] = await agentsFor(t, { name: 'a' }, { name: 'b' });
  assert.ok(a && b);
  const [left, right] = await joined(a, b);
  await writeFile(join(left, 'both.txt'), 'first');
  await writeFile(join(left, 'kept.txt'), 'kept');
  await eventually('first sync', () => sameTree(left, right));

  await b.end();
  await writeFile(join(left, 'both.txt'), 'written on the left');
  await writeFile(join(left, 'new on the left.txt'), 'l');
  await eventually('the left has noticed', async () => (await a.status()).shares[0]!.files === 3);
  await a.end();
  await writeFile(join(right, 'both.txt'), 'written on the right');
  await rm(join(right, 'kept.txt'));
  await a.start();
  await b.start();
  await eventually('both hold the same again', () => sameTree(left, right));
  await eventually('the deletion came through', async () => !(await readdir(left)).includes('kept.txt'));
  // Both may have the winner for a moment before either has put the copy into its place.
  let copy = '';
  await eventually('both have the copy of the loser', async () => {
    const names = await readdir(left);
    copy = names.find((name) => /^both\.CONFLICT\.[0-9A-Za-z]{8}\.txt$/.test(name)) ?? '';
    return copy !== '' && (await sameTree(left, right));
  });
  const contents = [await readFile(join(left, 'both.txt'), 'utf8'), await readFile(join(left, copy), 'utf8')];
  assert.deepEqual(contents.sort(), ['written on the left', 'written on the right']);
});

test('a chain of three converges, whoever writes', async (t) => {
  const [a, b, c] = await agentsFor(t, { name: 'a' }, { name: 'b' }, { name: 'c' });
  assert.ok(a && b && c);
  const [first, second] = await joined(a, b);
  const [, third] = await joined(b, c);
  await writeFile(join(first, 'from a'), 'a');
  await writeFile(join(third, 'from c'), 'c');
  await mkdir(join(second, 'from b'));
  await writeFile(join(second, 'from b', 'file'), Buffer.alloc(2_000_000, 7));
  const all = async () => (await sameTree(first, second)) && (await sameTree(second, third));
  await eventually('all three hold all', async () => (await all()) && (await treeOf(first)).length === 4);
  await rm(join(third, 'from a'));
  await eventually(
    'the deletion went through the chain',
    async () => (await all()) && (await treeOf(first)).length === 3,
  );
});

test('a read-only member gets everything, its own edits never spread, and it passes signed updates on', async (t) => {
  const [writer, reader, second] = await agentsFor(
    t,
    { name: 'writer' },
    { name: 'reader' },
    { name: 'second' },
  );
  assert.ok(writer && reader && second);
  const [source, copy] = await joined(writer, reader, { mode: 'read_only' });
  await writeFile(join(source, 'song.mid'), 'v1');
  await eventually('the reader has it', () => sameTree(source, copy));

  await writeFile(join(copy, 'song.mid'), 'vandalised');
  await writeFile(join(copy, 'own.txt'), 'mine');
  await writeFile(join(source, 'after.txt'), 'after');
  // Between the archive and the restored version there is a moment without the file.
  await eventually(
    'the edited file is put right',
    async () => (await readFile(join(copy, 'song.mid'), 'utf8').catch(() => '')) === 'v1',
  );
  await eventually('a later file arrives', async () => (await readdir(copy)).includes('after.txt'));
  assert.equal(await readFile(join(source, 'song.mid'), 'utf8'), 'v1');
  assert.ok(!(await readdir(source)).includes('own.txt'));

  // A read-only member may give read-only access; the writer is off from here on.
  await writer.end();
  const [, relayed] = await joined(reader, second, { mode: 'read_only' });
  await eventually('the second reader has it from the first', async () => {
    const names = await readdir(relayed);
    return names.includes('song.mid') && names.includes('after.txt');
  });
  assert.equal(await readFile(join(relayed, 'song.mid'), 'utf8'), 'v1');
  assert.ok(!(await readdir(relayed)).includes('own.txt'));
  const refused = await reader.command('code', 'Music', '--mode', 'read_write');
  assert.notEqual(refused.exitCode, 0);
  assert.match(refused.stderr, /read.only/);
});

test('symbolic links and special files are left alone, and nothing is written through them', async (t) => {
  const [a, b] = await agentsFor(t, { name: 'a' }, { name: 'b' });
  assert.ok(a && b);
  const [left, right] = await joined(a, b);
  const outside = b.folder('outside');
  await mkdir(outside);
  await symlink(outside, join(right, 'music'));
  await mkdir(join(left, 'music'));
  await writeFile(join(left, 'music', 'song.mid'), 'x');
  await writeFile(join(left, 'other.mid'), 'y');
  await eventually('what can be placed is', async () => (await readdir(right)).includes('other.mid'));
  assert.deepEqual(await readdir(outside), []);
});

test('joining with a folder that has files erases nothing', async (t) => {
  const [a, b] = await agentsFor(t, { name: 'a' }, { name: 'b' });
  assert.ok(a && b);
  const from = a.folder('Music');
  const to = b.folder('Music');
  await mkdir(from);
  await mkdir(to);
  await writeFile(join(from, 'same.mid'), Buffer.alloc(50_000, 3));
  await writeFile(join(to, 'same.mid'), Buffer.alloc(50_000, 3));
  await writeFile(join(to, 'only here.txt'), 'precious');
  const [left, right] = await joined(a, b);
  await eventually('the share is there', () => sameTree(left, right));
  assert.deepEqual(
    await readdir(left),
    (await readdir(left)).filter((name) => name !== 'only here.txt'),
  );
  const kept = await findContent(right, 'precious');
  assert.ok(kept !== undefined, 'the file that was there before is in the archive');
});

async function findContent(folder: string, content: string): Promise<string | undefined> {
  for (const entry of await readdir(folder, { withFileTypes: true, recursive: true })) {
    const path = join(entry.parentPath, entry.name);
    if (
      entry.isFile() &&
      (await stat(path)).size === content.length &&
      (await readFile(path, 'utf8')) === content
    )
      return path;
  }
  return undefined;
}

test('pausing holds everything back, resuming lets it go; leaving keeps the files', async (t) => {
  const [a, b] = await agentsFor(t, { name: 'a' }, { name: 'b' });
  assert.ok(a && b);
  const [left, right] = await joined(a, b);
  await writeFile(join(left, 'one'), '1');
  await eventually('the first arrives', () => sameTree(left, right));
  await b.run('pause');
  await writeFile(join(left, 'two'), '2');
  await eventually('the writer has noticed', async () => (await a.status()).shares[0]!.files === 2);
  assert.deepEqual(await readdir(right).then((names) => names.filter((name) => !name.startsWith('.'))), [
    'one',
  ]);
  await b.run('resume');
  await eventually('the second arrives', () => sameTree(left, right));
  assert.match(await b.run('ls', 'Music'), /two/);
  await b.run('leave', 'Music');
  await rm(join(right, 'one'));
  await writeFile(join(left, 'three'), '3');
  await eventually('the writer has noticed', async () => (await a.status()).shares[0]!.files === 3);
  assert.equal(await readFile(join(right, 'two'), 'utf8'), '2');
  assert.ok((await readdir(left)).includes('one'), 'what is done in a left folder stays there');
});

test('a mass deletion is held and told, until the owner says that it is meant', async (t) => {
  const [a, b] = await agentsFor(t, { name: 'a' }, { name: 'b' });
  assert.ok(a && b);
  const [left, right] = await joined(a, b);
  for (let i = 0; i < 30; i++) await writeFile(join(left, `file ${i}`), String(i));
  await eventually(
    'all are there',
    async () => (await sameTree(left, right)) && (await treeOf(right)).length === 30,
  );
  for (let i = 0; i < 29; i++) await rm(join(left, `file ${i}`));
  await eventually('it is told', async () =>
    (await a.status()).problems.some(({ code }) => code === 'share.mass_deletion'),
  );
  assert.equal((await treeOf(right)).length, 30, 'nothing is deleted elsewhere');
  await a.run('resume', 'Music');
  await eventually('now it goes through', async () => (await treeOf(right)).length === 1);
  assert.deepEqual((await a.status()).problems, []);
});
