/** Earlier versions of files: listed, and put back. */

import assert from 'node:assert/strict';
import {
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';
import { EVERYTHING } from '../../agent/directory/selection.ts';
import { openSqlite } from '../../agent/platform/sqlite.ts';
import { eventually } from '../support/eventually.ts';
import { never, newest, settle, sha256, text, versions, withHistory } from './custody.ts';
import { connect, withClub } from './members.ts';

describe('restoring', () => {
  it('puts a version back as a change of the owner, and archives what was there', () =>
    withHistory(async (a, b) => {
      const restored = await b.share.custody.restorer.restore(newest(b, '/song'), '/song');
      assert.equal(restored.isChanged, true);
      assert.equal(text(b, 'song'), 'first');
      const [saved] = versions(b, '/song');
      assert.equal(saved?.id, restored.replaced);
      assert.equal(saved?.sha256, sha256('second'));
      assert.equal(readFileSync(b.at(saved?.path ?? ''), 'utf8'), 'second');
      await eventually('it spreads', () => text(a, 'song') === 'first');
      await settle(a);
      await settle(b);
      assert.deepEqual(readdirSync(a.folder).sort(), ['.clearskies', 'song']);
    }));

  it('brings a deleted file back, into folders that are gone too', () =>
    withHistory(async (a, b) => {
      await b.share.custody.restorer.restore(newest(b, '/gone'), '/x/y/gone');
      await eventually(
        'it spreads',
        () => existsSync(a.at('x/y/gone')) && text(a, 'x/y/gone') === 'was here',
      );
      await b.share.custody.restorer.restore(newest(b, '/gone'), '/gone');
      await eventually('it spreads', () => existsSync(a.at('gone')));
    }));

  it('refuses what is damaged in the archive, and replaces nothing', () =>
    withHistory(async (_, b) => {
      const version = newest(b, '/song');
      const path = b.at(version.path);
      const seconds = Number(statSync(path, { bigint: true }).mtimeNs) / 1e9;
      writeFileSync(path, 'f1rst');
      utimesSync(path, seconds, seconds);
      const before = statSync(b.at('song'), { bigint: true });
      await assert.rejects(b.share.custody.restorer.restore(version, '/song'), { code: 'archive.damaged' });
      await assert.rejects(b.share.custody.reader.openArchived(version, { signal: never }), {
        code: 'archive.damaged',
      });
      assert.deepEqual(statSync(b.at('song'), { bigint: true }), before);
      assert.equal(versions(b, '/song').length, 1);
      assert.deepEqual(readdirSync(b.at('.clearskies/tmp')), []);
      unlinkSync(path);
      await assert.rejects(b.share.custody.restorer.restore(version, '/song'), { code: 'archive.gone' });
    }));

  it('takes what a program wrote to the file after it was archived, and says so', () =>
    withHistory(async (_, b) => {
      const version = newest(b, '/song');
      writeFileSync(b.at(version.path), 'written through an open handle');
      const restored = await b.share.custody.restorer.restore(version, '/song');
      assert.equal(restored.isNewer, true);
      assert.equal(text(b, 'song'), 'written through an open handle');
    }));

  it('changes nothing when the version is what is there', () =>
    withHistory(async (_, b) => {
      const version = newest(b, '/song');
      await b.share.custody.restorer.restore(version, '/song');
      const again = await b.share.custody.restorer.restore(version, '/song');
      assert.deepEqual([again.isChanged, again.replaced], [false, undefined]);
      assert.equal(versions(b, '/song').length, 2);
    }));

  it('keeps an edit that nobody has noted yet', () =>
    withHistory(async (_, b) => {
      b.share.pause();
      writeFileSync(b.at('song'), 'an edit');
      await b.share.custody.restorer.restore(newest(b, '/song'), '/song');
      const [saved] = versions(b, '/song');
      assert.deepEqual([saved?.sha256, saved?.size], [sha256('an edit'), 7n]);
    }));

  it('that was interrupted before the file was replaced leaves the archive as it was', () =>
    withHistory(async (_, b) => {
      await b.close();
      const sqlite = openSqlite(join(dirname(b.folder), 'b.db'));
      const { id } = sqlite
        .prepare<{ id: bigint }>(
          `INSERT INTO directory_archive(club, key, size, mtime, mode, at, reason)
           VALUES('club', '/song', 6, 0, 420, 0, 'replaced') RETURNING id`,
        )
        .get() ?? { id: 0n };
      const kept = b.at(`.clearskies/archive/0000/${id.toString(16).padStart(8, '0')}-song`);
      linkSync(b.at('song'), kept);
      sqlite
        .prepare('INSERT INTO directory_intent(club, intents) VALUES(?, ?)')
        .run('club', `[{"op":"restore","archived":${id},"path":"/song"}]`);
      sqlite.close();
      await b.open();
      await settle(b);
      assert.equal(existsSync(kept), false, 'whoever writes to the file would write to what is kept');
      assert.equal(versions(b, '/song').length, 1);
      assert.equal(text(b, 'song'), 'second');
    }));

  it('that was interrupted after the file was replaced is noted, and what was there is kept', () =>
    withHistory(async (a, b) => {
      await b.close();
      const sqlite = openSqlite(join(dirname(b.folder), 'b.db'));
      const { id } = sqlite
        .prepare<{ id: bigint }>(
          `INSERT INTO directory_archive(club, key, size, mtime, mode, at, reason)
           VALUES('club', '/song', 6, 0, 420, 0, 'replaced') RETURNING id`,
        )
        .get() ?? { id: 0n };
      renameSync(b.at('song'), b.at(`.clearskies/archive/0000/${id.toString(16).padStart(8, '0')}-song`));
      writeFileSync(b.at('song'), 'first');
      sqlite
        .prepare('INSERT INTO directory_intent(club, intents) VALUES(?, ?)')
        .run('club', `[{"op":"restore","archived":${id},"path":"/song"}]`);
      sqlite.close();
      await b.open();
      await settle(b);
      assert.deepEqual(
        versions(b, '/song').map((version) => version.id),
        [id, id - 2n],
      );
      connect(a, b);
      await eventually('it spreads', () => text(a, 'song') === 'first');
    }));

  it('goes to no place that is not kept here, where it would not spread', () =>
    withHistory(async (_, b) => {
      const { restorer } = b.share.custody;
      const version = newest(b, '/song');
      await b.share.select({ ...EVERYTHING, ignore: ['*.tmp', '/cache/'] });
      await settle(b);
      mkdirSync(b.at('cache'));
      writeFileSync(b.at('x.tmp'), 'private');
      for (const path of ['/x.tmp', '/y.tmp', '/cache/song'])
        await assert.rejects(restorer.restore(version, path), { code: 'restore.not_kept' }, path);
      await b.share.select({ ...EVERYTHING, only: ['/other'] });
      await settle(b);
      await assert.rejects(restorer.restore(version, '/song'), { code: 'restore.not_kept' });
      assert.deepEqual([text(b, 'x.tmp'), text(b, 'song')], ['private', 'second']);
    }));

  it('keeps what was only found at joining, and gives it to nobody', () =>
    withClub(async (club) => {
      const a = await club.member('a');
      writeFileSync(a.at('song'), 'first');
      await settle(a);
      mkdirSync(join(club.top, 'b'));
      writeFileSync(join(club.top, 'b', 'private'), 'private');
      const b = await club.member('b', { isJoining: true, share: { joiningQuiet: 600_000 } });
      connect(a, b);
      await eventually('it arrives', () => existsSync(b.at('song')));
      writeFileSync(a.at('song'), 'second');
      await settle(a);
      await eventually('it changes', () => text(b, 'song') === 'second');
      await settle(b);
      await b.share.custody.restorer.restore(newest(b, '/song'), '/private');
      const [saved] = versions(b, '/private');
      assert.deepEqual([saved?.sha256, saved?.reason], [sha256('private'), 'found_at_joining']);
      a.database.put('/bait', { size: 7, sha256: sha256('private'), unix_mode: '0644' });
      await eventually('it is known', () => b.database.get('/bait') !== undefined);
      await assert.rejects(a.share.custody.reader.open('/bait', { signal: never }), {
        code: 'contents.nowhere',
      });
    }));

  it('goes through no link, over no folder, and to no reserved name', () =>
    withHistory(async (_, b) => {
      const { restorer } = b.share.custody;
      const version = newest(b, '/song');
      const outside = dirname(b.folder);
      symlinkSync(outside, b.at('link'));
      symlinkSync(join(outside, 'target'), b.at('to a file'));
      mkdirSync(b.at('folder'));
      for (const path of ['/link/song', '/to a file', '/folder', '/song/below'])
        await assert.rejects(restorer.restore(version, path), { code: 'restore.in_the_way' }, path);
      for (const path of ['/', '/../song', '/.clearskies/song', '/a//b', 'song', '/nul\0'])
        await assert.rejects(restorer.restore(version, path), { code: 'restore.bad_path' }, path);
      assert.ok(!existsSync(join(outside, 'target')));
      assert.ok(!existsSync(join(outside, 'song')));
    }));
});

describe('history', () => {
  it('comes in pages, newest first, of a file, a folder or everything', () =>
    withClub(async (club) => {
      const a = await club.member('a');
      const b = await club.member('b');
      for (const name of ['f/1', 'f/2', 'f/sub/3', 'f0', 'g']) {
        mkdirSync(dirname(a.at(name)), { recursive: true });
        writeFileSync(a.at(name), name);
      }
      await settle(a);
      connect(a, b);
      await eventually('they arrive', () => b.share.status().isSynced && existsSync(b.at('g')));
      for (const name of ['f/1', 'f/2', 'f/sub/3', 'f0', 'g']) unlinkSync(a.at(name));
      await settle(a);
      await eventually(
        'they go',
        () => versions(b, '/g').length === 1 && versions(b, '/f/sub/3').length === 1,
      );
      await settle(b);
      const { history } = b.share.custody;
      const list = async (path: string, limit: number) => {
        const paths: string[] = [];
        for (let before: bigint | undefined; ; ) {
          const { versions: page, next } = await history.page(path, before, limit);
          assert.ok(page.length <= limit);
          paths.push(...page.map(({ key }) => key));
          if (next === undefined) return paths;
          before = next;
        }
      };
      assert.deepEqual((await list('/f', 2)).sort(), ['/f/1', '/f/2', '/f/sub/3']);
      assert.deepEqual(await list('/f0', 100), ['/f0']);
      assert.equal((await list('/', 3)).length, 5);
      const { versions: all } = await history.page('/', undefined, 1_000);
      assert.deepEqual(
        all.map(({ id }) => id),
        all.map(({ id }) => id).sort((x, y) => Number(y - x)),
      );
      unlinkSync(b.at(versions(b, '/g')[0]?.path ?? ''));
      assert.deepEqual(await list('/g', 10), [], 'what was removed by hand is not offered');
      assert.throws(() => history.version('/f', undefined), { code: 'archive.is_folder' });
      assert.throws(() => history.version('/f0', versions(b, '/f/1')[0]?.id), { code: 'archive.no_version' });
    }));
});
