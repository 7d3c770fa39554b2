/** The disk of `records.db` is full. */

import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { environmentError } from '../../agent/base/errors.ts';
import { eventually } from '../support/eventually.ts';
import { connect, type Member, withClub } from './members.ts';

/** From here on the database can't grow. */
function fill({ sqlite }: Member): void {
  const [row] = sqlite.prepare<{ page_count: bigint }>('PRAGMA page_count').all();
  sqlite.exec(`PRAGMA max_page_count = ${row?.page_count ?? 1n}`);
}

function makeRoom({ sqlite }: Member): void {
  sqlite.exec('PRAGMA max_page_count = 1000000');
}

const isFull = ({ share }: Member) =>
  share.problems().some(({ code, remedy }) => code === 'sqlite.disk_full' && remedy !== undefined);

/** Enough that it can't fit into what is left of any page. */
const FILES = 400;

function liveFiles({ database }: Member): number {
  let count = 0;
  for (const { key } of database.iterate({})) if (key !== '/' && key !== '/folder') count += 1;
  return count;
}

async function writeFiles(member: Member): Promise<void> {
  mkdirSync(member.at('folder'));
  for (let i = 0; i < FILES; i++)
    await writeFile(member.at(`folder/${i} ${'x'.repeat(100)}`), `contents ${i}`);
}

describe('when the database is full', () => {
  it("what the owner does is told as not noted, and noted when there is room, without anybody's help", () =>
    withClub(async (club) => {
      const a = await club.member('a');
      await a.share.settled();
      fill(a);
      await writeFiles(a);
      await eventually('it is told', () => isFull(a));
      assert.equal(a.share.status().isSynced, false);
      makeRoom(a);
      await eventually('all is noted', () => liveFiles(a) === FILES);
      await eventually('it is over', () => a.share.status().isSynced && a.share.problems().length === 0);
      // Deletions too.
      fill(a);
      await rm(a.at('folder'), { recursive: true });
      await a.share.accept();
      await eventually('it is told, or fitted', () => isFull(a) || liveFiles(a) === 0);
      makeRoom(a);
      await eventually('all is deleted', () => liveFiles(a) === 0);
    }));

  it('what its owner does while only a deletion is refused is noted with it', () =>
    withClub(async (club) => {
      const a = await club.member('a');
      await writeFile(a.at('deleted'), 'soon');
      await eventually('it is noted', () => a.database.get('/deleted') !== undefined);
      await a.share.settled();
      // The writing of deletions alone fails, as when just that transaction needs another page.
      const { remove } = a.database;
      let isFullNow = true;
      a.database.remove = (...given) => {
        if (isFullNow) throw environmentError('sqlite.disk_full', 'full', { remedy: 'make room' });
        return remove.apply(a.database, given);
      };
      await rm(a.at('deleted'));
      await eventually('it is told', () => isFull(a));
      await writeFile(a.at('new'), 'meanwhile');
      isFullNow = false;
      await eventually('both are noted', () => !a.database.get('/deleted') && !!a.database.get('/new'));
    }));

  it('a scan that could not be noted is repeated', () =>
    withClub(async (club) => {
      const a = await club.member('a');
      await a.share.settled();
      a.share.pause();
      await writeFiles(a);
      fill(a);
      a.share.resume();
      void a.share.rescan();
      await eventually('it is told', () => isFull(a));
      makeRoom(a);
      await eventually('all is noted', () => liveFiles(a) === FILES);
      await eventually('it is over', () => a.share.status().isSynced);
    }));

  it('what arrives is placed when there is room, and nothing of it is taken for a change', () =>
    withClub(async (club) => {
      const a = await club.member('a');
      const b = await club.member('b');
      await writeFiles(a);
      await a.share.rescan();
      b.share.pause();
      connect(a, b);
      await eventually('the records are there', () => liveFiles(b) === FILES);
      fill(b);
      b.share.resume();
      await eventually('it is told', () => isFull(b));
      makeRoom(b);
      await eventually('all is placed', () => b.share.status().isSynced);
      assert.equal(readdirSync(b.at('folder')).length, FILES);
      await eventually('it is over', () => b.share.problems().length === 0);
      await b.share.rescan();
      for (const { key, lastUpdatedBy } of b.database.iterate({ prefix: '/folder' }))
        assert.equal(lastUpdatedBy, a.self, key);
    }));

  it('the share can be closed, and goes on after it', () =>
    withClub(async (club) => {
      const a = await club.member('a');
      const b = await club.member('b');
      await writeFiles(a);
      await writeFile(a.at('large'), Buffer.alloc(3_000_000, 'large'));
      await a.share.rescan();
      b.share.pause();
      connect(a, b);
      await eventually('the records are there', () => liveFiles(b) === FILES + 1);
      fill(b);
      b.share.resume();
      await eventually('it is told', () => isFull(b));
      await b.close();
      await b.open();
      connect(a, b);
      await eventually('all is placed', () => b.share.status().isSynced);
      assert.equal(existsSync(b.at('large')), true);
    }));
});
