/** The commands, as somebody who tries them meets them. */

import assert from 'node:assert/strict';
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { agentsFor, joined } from '../support/agents.ts';
import { eventually } from '../support/eventually.ts';

test('status tells a read-only member of its files that do not spread, and of edits that were undone', async (t) => {
  const [writer, reader] = await agentsFor(t, { name: 'writer' }, { name: 'reader' });
  assert.ok(writer && reader);
  const [source, copy] = await joined(writer, reader, { mode: 'read_only' });
  await writeFile(join(source, 'song.mid'), 'v1');
  await eventually('the reader has it', async () => (await readdir(copy)).includes('song.mid'));
  const share = async () => (await reader.status()).shares[0];
  await eventually('it is in sync', async () => (await share())?.synced === true);
  assert.deepEqual([(await share())?.beside_files, (await share())?.put_right_files], [0, 0]);
  assert.match(await reader.run('status'), /no problems/);

  await mkdir(join(copy, 'folder'));
  await writeFile(join(copy, 'folder', 'own.txt'), 'mine');
  await writeFile(join(copy, 'song.mid'), 'edited');
  await eventually('both are counted', async () => {
    const { beside_files: beside, put_right_files: putRight } = (await share()) ?? {};
    return beside === 1 && putRight === 1;
  });
  const text = await reader.run('status');
  assert.match(text, /1 edit undone, since the share is read-only here; kept in .*\/\.clearskies\/archive\n/);
  assert.match(
    text,
    /problem: 1 file in the folder is not in the share and does not spread: .*read_write\n {2}\/folder\/own\.txt\n/,
  );
  assert.deepEqual(
    (await reader.status()).problems.map(({ code }) => code),
    ['share.files_beside'],
  );

  await rm(join(copy, 'folder'), { recursive: true });
  await eventually('it is over', async () => (await reader.status()).problems.length === 0);
  const theirs = (await writer.status()).shares[0];
  assert.deepEqual([theirs?.beside_files, theirs?.put_right_files], [0, 0]);
});

test('codes are listed with the shares that they open', async (t) => {
  const [a] = await agentsFor(t, { name: 'a' });
  assert.ok(a);
  for (const name of ['Music', 'Two words']) await a.run('share', a.folder(name), '--name', name);
  assert.deepEqual(await a.command('code', '--list'), {
    exitCode: 0,
    stdout: '',
    stderr: 'there are no codes\n',
  });
  await a.code('Music');
  await a.code('Two words', '--mode', 'read_only', '--expires', 'never');
  const [first, second, ...more] = (await a.run('code', '--list')).trimEnd().split('\n');
  assert.match(first ?? '', /^Music {6}SYNC7-4\S+ {2}open {2}read_write {2}until \S+$/);
  assert.match(second ?? '', /^Two words {2}SYNC7-4\S+ {2}open {2}read_only {3}never expires$/);
  assert.deepEqual(more, []);
  assert.match(await a.run('code', a.folder('Music'), '--list'), /^SYNC7-4\S+ {2}open/);
  const { codes } = JSON.parse(await a.run('code', '--list', '--json')) as {
    codes: Record<string, unknown>[];
  };
  assert.deepEqual(
    codes.map(({ share_name, multi_use }) => [share_name, multi_use]),
    [
      ['Music', false],
      ['Two words', false],
    ],
  );
});

test('status tells on which members everything is, also of those that are away', async (t) => {
  const [desk, kitchen] = await agentsFor(t, { name: 'desk' }, { name: 'kitchen laptop' });
  assert.ok(desk && kitchen);
  const [left, right] = await joined(desk, kitchen);
  const safe = async () => (await desk.status()).shares[0]?.safe_on ?? [];
  assert.deepEqual(await safe(), []);
  await writeFile(join(left, 'song.mid'), 'v1');
  const isThere = async () => (await readdir(right)).includes('song.mid');
  await eventually('the laptop has it', async () => (await isThere()) && (await safe()).length === 1);
  const [place] = await safe();
  assert.deepEqual([place?.name, place?.connected], ['kitchen laptop', true]);
  assert.match(await desk.run('status'), /\n {2}all of it is also on kitchen laptop \(since \d\d:\d\d\)\n/);

  await kitchen.end();
  await eventually('it is away', async () => (await safe())[0]?.connected === false);
  await desk.restart();
  await eventually('the folder was looked at', async () => (await desk.status()).shares[0]?.synced === true);
  assert.deepEqual(await safe(), [{ ...place, connected: false }]);
  const told = /\n {2}all of it is also on kitchen laptop \(since \d\d:\d\d, not connected now\)\n/;
  assert.match(await desk.run('status'), told);
  await writeFile(join(left, 'song.mid'), 'v2');
  await eventually('that is nowhere else', async () => (await safe()).length === 0);
  assert.match(await desk.run('status'), /\n {2}not known to be complete on any other member\n/);
  await kitchen.start();
  await eventually('now it is', async () => (await safe()).length === 1);
});
