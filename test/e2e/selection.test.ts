/** Keeping a part of a share, as somebody does it on the command line. */

import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { agentsFor, joined } from '../support/agents.ts';
import { eventually } from '../support/eventually.ts';

async function filesIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile() && !entry.parentPath.includes('.clearskies'))
    .map(({ parentPath, name }) => join(parentPath, name).slice(folder.length))
    .sort();
}

test('a part of a share is joined, and more of it is kept later, over a restart', async (t) => {
  const [a, b] = await agentsFor(t, { name: 'a' }, { name: 'b' });
  assert.ok(a && b);
  const source = a.folder('Music');
  await mkdir(join(source, 'albums', '2026'), { recursive: true });
  for (const path of ['albums/2026/one.mid', 'albums/2026/x.tmp', 'albums/old.mid', 'top.mid'])
    await writeFile(join(source, path), path);
  await a.run('share', source, '--name', 'Music');
  const copy = b.folder('Copy');
  await b.run(
    'join',
    await a.code('Music'),
    copy,
    '--peer',
    a.listen,
    '--only',
    'albums/2026/',
    '--ignore',
    '*.tmp',
  );
  const share = async () => (await b.status()).shares[0];
  await eventually(
    'its part is in step',
    async () => (await share())?.synced === true && (await filesIn(copy)).length > 0,
  );
  assert.deepEqual(await filesIn(copy), ['/albums/2026/one.mid']);
  assert.deepEqual((await share())?.selection, {
    direction: 'both',
    shallow: false,
    only: ['/albums/2026'],
    ignore: ['*.tmp'],
  });
  const text = await b.run('status');
  assert.match(text, /keeps only \/albums\/2026\n {2}ignores \*\.tmp\n {2}3 files \(.*\) not kept here\n/);

  const changed = await b.run('set', 'Copy', '--everything', '--json');
  assert.deepEqual(JSON.parse(changed), { direction: 'both', shallow: false, only: [], ignore: ['*.tmp'] });
  await eventually('all but the ignored is here', async () => (await filesIn(copy)).length === 3);
  await b.restart();
  assert.equal(await b.run('set', 'Copy'), 'Copy: ignores *.tmp\n');
  const { exitCode, stderr } = await b.command('set', 'Copy', '--unignore', 'nothing');
  assert.equal(exitCode, 64);
  assert.match(stderr, /nothing is not among the patterns of this share/);
  await b.run('set', 'Copy', '--unignore', '*.tmp');
  await eventually('everything is here', async () => (await filesIn(copy)).length === 4);
  assert.equal(await b.run('set', 'Copy'), 'Copy: everything is kept here, in both directions\n');
});

test('a share that only sends does nothing that others do', async (t) => {
  const [a, b] = await agentsFor(t, { name: 'a' }, { name: 'b' });
  assert.ok(a && b);
  const [source, copy] = await joined(a, b, {});
  await writeFile(join(source, 'song.mid'), 'song');
  await eventually('it is there', async () => (await filesIn(copy)).length === 1);
  await a.run('set', source, '--direction', 'send');
  await rm(join(copy, 'song.mid'));
  await writeFile(join(copy, 'other.mid'), 'other');
  await eventually('it is known', async () => (await a.status()).shares[0]?.unwanted_files === 2);
  assert.deepEqual(await filesIn(source), ['/song.mid']);
  assert.match(await a.run('status'), /in sync; .*\n {2}only sends: .*\n {2}2 files \(.*\) not kept here\n/);
});

test('a device that may only read can not join to send, and its code stays good', async (t) => {
  const [a, b] = await agentsFor(t, { name: 'a' }, { name: 'b' });
  assert.ok(a && b);
  const source = a.folder('Music');
  await mkdir(source, { recursive: true });
  await writeFile(join(source, 'song.mid'), 'song');
  await a.run('share', source, '--name', 'Music');
  const code = await a.code('Music', '--mode', 'read_only');
  const copy = b.folder('Copy');
  const asked = ['join', code, copy, '--peer', a.listen];
  const { exitCode, stderr } = await b.command(...asked, '--direction', 'send', '--timeout', '8');
  assert.equal(exitCode, 77, stderr);
  assert.match(stderr, /this device can only receive it/);
  assert.deepEqual((await b.status()).shares, []);
  await b.run(...asked);
  await eventually('it is there', async () => (await filesIn(copy)).length === 1);
});

test('a shallow copy lists what it does not have', async (t) => {
  const [a, b] = await agentsFor(t, { name: 'a' }, { name: 'b' });
  assert.ok(a && b);
  const source = a.folder('Music');
  await mkdir(source, { recursive: true });
  await writeFile(join(source, 'song.mid'), 'song');
  await a.run('share', source, '--name', 'Music');
  const copy = b.folder('Copy');
  await b.run('join', await a.code('Music'), copy, '--peer', a.listen, '--shallow');
  await eventually('it is listed', async () => (await b.run('ls', 'Copy')).includes('song.mid'));
  assert.match(await b.run('ls', 'Copy'), /not here +\/song\.mid/);
  await eventually('it is in step', async () => (await b.status()).shares[0]?.synced === true);
  assert.deepEqual(await filesIn(copy), []);
  await b.run('get', 'Copy', '/song.mid', '-o', b.folder('song.mid'));
  assert.equal(await readFile(b.folder('song.mid'), 'utf8'), 'song');
  assert.deepEqual(await filesIn(copy), [], 'it is in the cache only');
  assert.match(
    await b.run('status'),
    /shallow: .*\n {2}1 file \(4 bytes\) not kept here, 4 bytes of that in the cache\n/,
  );
  await b.run('set', 'Copy', '--full');
  await eventually('it is here', async () => (await filesIn(copy)).length === 1);
});
