/** A folder with files in it joins a club, and is interrupted. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { openLocalIndex } from '../../agent/directory/local-index.ts';
import { newRow } from '../../agent/directory/scan.ts';
import { openShareRoot } from '../../agent/platform/files.ts';
import { eventually } from '../support/eventually.ts';
import { connect, type Member, withClub } from './members.ts';

const QUIET = { share: { joiningQuiet: 300 }, isJoining: true };

/** Contents of all files in the folder, and of those in its archive. */
function contentsOf(member: Member): { files: string[]; archived: string[] } {
  const of = (folder: string) =>
    readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const read = (entries: ReturnType<typeof of>) =>
    entries.map(({ parentPath, name }) => readFileSync(join(parentPath, name), 'utf8'));
  const archive = member.at('.clearskies/archive');
  return {
    files: read(of(member.folder).filter(({ parentPath }) => !parentPath.includes('.clearskies'))),
    archived: existsSync(archive) ? read(of(archive)) : [],
  };
}

describe('joining', () => {
  it('goes on after a stop in the middle of the first listing: what was there before is still no change', () =>
    withClub(async (club) => {
      const a = await club.member('a');
      writeFileSync(a.at('theirs'), 'theirs');
      await a.share.rescan();
      mkdirSync(join(club.top, 'b'));
      writeFileSync(join(club.top, 'b', 'mine'), 'mine');
      const b = await club.member('b', QUIET);
      b.share.pause();
      // The listing got as far as the folder itself.
      const root = await openShareRoot(b.folder);
      openLocalIndex(b.sqlite, 'club').put(newRow('/', await root.check(), true));
      root.close();
      await b.close();
      await b.open();
      b.share.pause();
      assert.equal(b.share.status().isSynced, false, 'nothing is known of the folder yet');
      b.share.resume();
      connect(a, b);
      await eventually('the first synchronisation is over', () => !b.share.status().isJoining);
      assert.deepEqual(contentsOf(b), { files: ['theirs'], archived: ['mine'] });
      assert.equal(a.database.get('/mine'), undefined);
    }));

  it('loses nothing by stops at any moment, and notes what its owner does meanwhile', () =>
    withClub(async (club) => {
      const a = await club.member('a');
      mkdirSync(join(club.top, 'b'));
      const b0 = (name: string) => join(club.top, 'b', name);
      for (let i = 0; i < 300; i++) {
        // A third is the same, a third is in the way, a third is only here.
        if (i % 3 !== 2) writeFileSync(a.at(`f${i}`), `theirs ${i}`);
        writeFileSync(b0(`f${i}`), i % 3 === 0 ? `theirs ${i}` : `mine ${i}`);
      }
      await a.share.rescan();
      const b = await club.member('b', QUIET);
      await b.share.listed();
      const edits: string[] = [];
      let round = 0;
      for (const ms of [0, 3, 10, 30, 60, 100, 150, 200, 250, 290, 310, 330, 350]) {
        connect(a, b);
        await wait(ms);
        await b.close();
        const edit = `edited ${round}`;
        if (existsSync(b0(`f${round * 3 + 2}`))) {
          writeFileSync(b0(`f${round * 3 + 2}`), edit);
          edits.push(edit);
        }
        round += 1;
        await b.open();
      }
      connect(a, b);
      await eventually('the first synchronisation is over', () => !b.share.status().isJoining);
      await eventually('all is in step', () =>
        [a, b].every(({ share }) => share.status().isSynced && !share.status().isScanning),
      );
      await b.share.rescan();
      const [left, right] = [contentsOf(a), contentsOf(b)];
      await eventually('both show the same', () => {
        const [x, y] = [contentsOf(a), contentsOf(b)];
        return JSON.stringify(x.files.sort()) === JSON.stringify(y.files.sort());
      });
      for (let i = 0; i < 300; i++) {
        const mine = i % 3 === 0 ? `theirs ${i}` : `mine ${i}`;
        const isEdited = i % 3 === 2 && edits.includes(`edited ${(i - 2) / 3}`);
        if (!isEdited)
          assert.ok(right.files.includes(mine) || right.archived.includes(mine), `${mine} is lost`);
        if (i % 3 === 2 && !isEdited) assert.equal(left.files.includes(mine), false, `${mine} has spread`);
      }
      for (const edit of edits) assert.ok(contentsOf(a).files.includes(edit), `${edit} did not come`);
      await rm(b.at('f0'));
      await eventually('a deletion spreads as ever', () => !existsSync(a.at('f0')));
    }));

  it('gives nobody what was found, unless a member shows that it has the same', () =>
    withClub(async (club) => {
      const a = await club.member('a');
      const large = Buffer.alloc(3_000_000, 'a song that both have ');
      writeFileSync(a.at('song'), large);
      writeFileSync(a.at('small'), 'small, and with both');
      await a.share.rescan();
      const secrets = ['a diary of nobody else', 'x'.repeat(200_000)];
      mkdirSync(join(club.top, 'b'));
      writeFileSync(join(club.top, 'b', 'other name'), large);
      writeFileSync(join(club.top, 'b', 'small too'), 'small, and with both');
      for (const [i, secret] of secrets.entries()) writeFileSync(join(club.top, 'b', `secret${i}`), secret);
      // Whoever knows no more than the SHA-256 makes a record of it.
      for (const [i, secret] of secrets.entries()) {
        const sha256 = createHash('sha256').update(secret).digest('hex');
        a.database.put(`/bait${i}`, { size: secret.length, sha256, unix_mode: '0644' });
      }
      const b = await club.member('b', QUIET);
      connect(a, b);
      await eventually('what is theirs is there', () =>
        ['song', 'small'].every((name) => existsSync(b.at(name))),
      );
      assert.ok(large.equals(readFileSync(b.at('song'))));
      assert.ok(b.share.traffic().received < 200_000, `${b.share.traffic().received} bytes for samples`);
      await wait(1_000);
      assert.deepEqual(
        readdirSync(b.folder).filter((name) => name.startsWith('bait')),
        [],
      );
      for (const [i] of secrets.entries())
        await assert.rejects(
          a.share.custody.reader.open(`/bait${i}`, { signal: new AbortController().signal }),
          {
            code: 'contents.nowhere',
          },
        );
    }));

  it('works in a folder with an archive of an earlier membership, which stays', () =>
    withClub(async (club) => {
      const a = await club.member('a');
      writeFileSync(a.at('song'), 'theirs');
      await a.share.rescan();
      mkdirSync(join(club.top, 'b'));
      writeFileSync(join(club.top, 'b', 'song'), 'mine');
      const b = await club.member('b', QUIET);
      connect(a, b);
      await eventually('the first synchronisation is over', () => !b.share.status().isJoining);
      // The database is lost, or the share was left: its rows are gone, its files are not.
      await b.close();
      for (const end of ['', '-wal', '-shm']) rmSync(join(club.top, `b.db${end}`), { force: true });
      writeFileSync(b.at('song'), 'mine again');
      writeFileSync(b.at('other'), 'only here');
      await b.open();
      connect(a, b);
      await eventually('the second one is over, too', () => !b.share.status().isJoining);
      await eventually('all is in step', () => b.share.status().isSynced);
      const { files, archived } = contentsOf(b);
      assert.deepEqual(files, ['theirs']);
      assert.deepEqual(archived.sort(), ['mine', 'mine again', 'only here']);
    }));

  it('tells what is in the way of the archive, and goes on when that is gone', () =>
    withClub(async (club) => {
      const a = await club.member('a');
      writeFileSync(a.at('theirs'), 'theirs');
      await a.share.rescan();
      mkdirSync(join(club.top, 'b', '.clearskies'), { recursive: true });
      writeFileSync(join(club.top, 'b', 'mine'), 'mine');
      writeFileSync(join(club.top, 'b', '.clearskies/archive'), '');
      const b = await club.member('b', QUIET);
      connect(a, b);
      await eventually('the problem is told', () =>
        b.share.problems().some(({ code }) => code === 'files.archive_blocked'),
      );
      assert.ok(b.share.status().isJoining);
      assert.equal(readFileSync(b.at('mine'), 'utf8'), 'mine');
      rmSync(b.at('.clearskies/archive'));
      await eventually('the first synchronisation is over', () => !b.share.status().isJoining);
      assert.deepEqual(contentsOf(b), { files: ['theirs'], archived: ['mine'] });
      assert.deepEqual(b.share.problems(), []);
    }));
});
