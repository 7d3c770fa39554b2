/** A medium that is not there yet when the agent starts, as after a power cut: what the cut left half done keeps until it is. */

import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, rename, rm, rmdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { test } from 'node:test';
import { systemClock } from '../../agent/base/clock.ts';
import { silentLogger } from '../../agent/base/log.ts';
import { Archive } from '../../agent/directory/archive.ts';
import { encodeIntents } from '../../agent/directory/intents.ts';
import { openLocalIndex } from '../../agent/directory/local-index.ts';
import { openShareRoot } from '../../agent/platform/files.ts';
import { eventually } from '../support/eventually.ts';
import { sameTree } from '../support/folder-tree.ts';
import { connect, type Member, withClub } from './members.ts';

/** As a power cut leaves it between the removal of a file and its being noted. */
async function cutWhileRemoving(member: Member, path: string): Promise<void> {
  const { sqlite } = member;
  const root = await openShareRoot(member.folder);
  const archive = new Archive({ sqlite, club: 'club', root, clock: systemClock, log: silentLogger });
  const row = openLocalIndex(sqlite, 'club').byPath(path);
  assert.ok(row !== undefined && row.kind === 'file');
  const { sha256, size, mtimeNs: mtime, mode } = row;
  const kept = archive.reserve({ key: path, sha256, size, mtime, mode, reason: 'deleted' });
  const noted = [{ intent: { op: 'remove', path } as const, archived: kept.id }];
  sqlite
    .prepare('INSERT INTO directory_intent(club, intents) VALUES(?, ?)')
    .run('club', encodeIntents(noted));
  await mkdir(dirname(member.at(kept.path)), { recursive: true });
  await rename(member.at(path), member.at(kept.path));
  root.close();
}

for (const place of ['an empty mount point', 'nothing'])
  test(`what was half done is finished on the right medium, after ${place} was in its place`, () =>
    withClub(async (club) => {
      const [a, b] = [await club.member('a'), await club.member('b')];
      for (const name of ['song', 'other']) await writeFile(a.at(name), name);
      const connection = connect(a, b);
      await eventually('both have them', () => sameTree(a.folder, b.folder));
      await eventually('b is in step', () => b.share.status().isSynced);
      await connection.cut();
      const away = `${b.folder}.away`;
      await b.close((member) => cutWhileRemoving(member, '/song'));
      await rename(b.folder, away);
      if (place !== 'nothing') await mkdir(b.folder);
      await b.open();
      const code = place === 'nothing' ? 'share.root_missing' : 'share.marker_missing';
      await eventually('it is told', () => b.share.problems().some((problem) => problem.code === code));
      if (place !== 'nothing') {
        assert.deepEqual(await readdir(b.folder), [], 'nothing is written there');
        await rmdir(b.folder);
      }
      await rename(away, b.folder);
      await eventually('it is well again', () => b.share.problems().length === 0, 40_000);
      await eventually(
        'the file, whose record lives, is back from the archive',
        async () => (await readFile(b.at('song'), 'utf8').catch(() => '')) === 'song',
      );
      assert.equal([...b.share.history('/song')].length, 1, 'the archive still has it');
      connect(a, b);
      await eventually('they are in step', () => b.share.status().isSynced && a.share.status().isSynced);
      assert.equal(await readFile(a.at('song'), 'utf8'), 'song', 'it did not count as a deletion');
    }));

test('what is waiting when a folder is as it should be again is done at once', () =>
  withClub(async (club) => {
    const [a, b] = [await club.member('a'), await club.member('b')];
    for (const name of ['gone', 'stays']) await writeFile(a.at(name), name);
    connect(a, b);
    await eventually('both have them', async () => (await readdir(b.folder)).includes('gone'));
    await eventually('all rests', () => [a, b].every(({ share }) => share.status().isSynced));
    const [marker, aside] = [b.at('.clearskies/share'), `${b.folder} marker`];
    await rename(marker, aside);
    await eventually('it is told', () => b.share.problems().length > 0);
    await rm(a.at('gone'));
    await eventually('the deletion is known', () => b.database.get('/gone') === undefined);
    assert.deepEqual((await readdir(b.folder)).sort(), ['.clearskies', 'gone', 'stays']);
    await rename(aside, marker);
    await eventually('it is done', async () => !(await readdir(b.folder)).includes('gone'), 20_000);
  }));
