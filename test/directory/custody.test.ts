/** What an owner asks of a share: earlier versions put back, contents read, damage found and repaired. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import {
  chmodSync,
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
import type { ArchivedFile } from '../../agent/directory/archive.ts';
import { MARKS } from '../../agent/directory/index-table.ts';
import type { Contents } from '../../agent/directory/read-contents.ts';
import { EVERYTHING } from '../../agent/directory/selection.ts';
import type { VerifyResult, VerifyStep } from '../../agent/directory/verify.ts';
import { openSqlite } from '../../agent/platform/sqlite.ts';
import { eventually } from '../support/eventually.ts';
import { connect, type Member, withClub } from './members.ts';

const never = new AbortController().signal;
const sha256 = (bytes: string | Uint8Array) => createHash('sha256').update(bytes).digest('hex');
const text = (member: Member, path: string) => readFileSync(member.at(path), 'utf8');

async function settle(member: Member): Promise<void> {
  await member.share.rescan();
  await member.share.settled();
}

/** Changes a byte and nothing else, as a disk does: the times of the inode as they are known stay true. */
function rot(member: Member, path: string): void {
  const bytes = readFileSync(member.at(path));
  const before = statSync(member.at(path), { bigint: true });
  bytes[0] = (bytes[0] ?? 0) ^ 0x10;
  member.share.pause();
  writeFileSync(member.at(path), bytes);
  const seconds = Number(before.mtimeNs) / 1e9;
  utimesSync(member.at(path), seconds, seconds);
  // No program can set the time of an inode: so what is known of it is made to fit instead.
  const now = statSync(member.at(path), { bigint: true });
  const name = path.slice(path.lastIndexOf('/') + 1);
  member.sqlite
    .prepare('UPDATE directory_file SET mtime = ?, ctime = ? WHERE name = ?')
    .run(now.mtimeNs, now.ctimeNs, name);
  member.share.resume();
}

async function verify(
  member: Member,
  signal = never,
): Promise<{ steps: VerifyStep[]; result: VerifyResult }> {
  const steps: VerifyStep[] = [];
  const running = member.share.custody.verifier.verify(signal);
  for (;;) {
    const step = await running.next();
    if (step.done) return { steps, result: step.value };
    steps.push(step.value);
  }
}

const told = (steps: readonly VerifyStep[]) =>
  steps.flatMap((step) => (step.kind === 'file' ? [[step.path, step.outcome]] : []));
const problems = (member: Member) => member.share.problems().map(({ code, paths }) => [code, paths]);
const versions = (member: Member, path: string): ArchivedFile[] => [...member.share.history(path)];

function newest(member: Member, path: string): ArchivedFile {
  return member.share.custody.history.version(path, undefined);
}

async function everything(contents: Contents): Promise<Buffer> {
  const bytes = Buffer.alloc(Number(contents.size));
  for (let at = 0; at < bytes.length; ) {
    const count = await contents.read(bytes.subarray(at, at + 100_000), BigInt(at));
    assert.ok(count > 0);
    at += count;
  }
  await contents.close();
  return bytes;
}

/** Two members with what `a` had: `/song` was replaced and `/gone` deleted, which `b` has in its archive. */
async function withHistory(body: (a: Member, b: Member) => Promise<void>): Promise<void> {
  await withClub(async (club) => {
    const [a, b] = [await club.member('a'), await club.member('b')];
    writeFileSync(a.at('song'), 'first');
    writeFileSync(a.at('gone'), 'was here');
    await settle(a);
    connect(a, b);
    await eventually('they arrive', () => existsSync(b.at('song')) && existsSync(b.at('gone')));
    writeFileSync(a.at('song'), 'second');
    unlinkSync(a.at('gone'));
    await settle(a);
    await eventually('it changes', () => text(b, 'song') === 'second' && !existsSync(b.at('gone')));
    await settle(b);
    await body(a, b);
  });
}

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

describe('reading a file', () => {
  it('comes from the folder, and from a member while it is not here, verified', () =>
    withClub(async (club) => {
      const [a, b] = [await club.member('a'), await club.member('b')];
      const large = Buffer.alloc(9_000_001, 'large ');
      writeFileSync(a.at('here'), 'here');
      await settle(a);
      const connection = connect(a, b);
      await eventually('it arrives', () => existsSync(b.at('here')));
      await settle(b);
      const { reader } = b.share.custody;
      const here = await reader.open('/here', { signal: never });
      assert.equal(here.from, 'folder');
      assert.equal((await everything(here)).toString(), 'here');

      b.share.pause();
      writeFileSync(a.at('large'), large);
      await settle(a);
      await eventually('it is known', () => b.database.get('/large') !== undefined);
      let heard = 0;
      const fetched = await reader.open('/large', {
        signal: never,
        heard: (bytes) => {
          heard += bytes;
        },
      });
      assert.deepEqual([fetched.from, fetched.size, heard], ['member', 9_000_001n, 9_000_001]);
      assert.ok(large.equals(await everything(fetched)));
      assert.deepEqual(readdirSync(b.at('.clearskies/tmp')), []);

      await connection.cut();
      await assert.rejects(reader.open('/large', { signal: never }), {
        code: 'contents.nowhere',
        exitCode: 75,
        message: '/large is not here, and no member is connected',
      });
      await assert.rejects(reader.open('/', { signal: never }), { code: 'file.is_folder' });
      await assert.rejects(reader.open('/none', { signal: never }), { code: 'file.unknown' });
    }));

  it('that changes while it comes is read as it is then, and one that is deleted is told to be', () =>
    withClub(async (club) => {
      const a = await club.member('a');
      const b = await club.member('b', { share: { rules: { ...EVERYTHING, isShallow: true } } });
      for (const name of ['song', 'gone']) writeFileSync(a.at(name), Buffer.alloc(20_000_000, name));
      await settle(a);
      connect(a, b);
      await eventually('they are known', () => b.database.get('/song') !== undefined);
      await eventually('they are known', () => b.database.get('/gone') !== undefined);
      const { reader } = b.share.custody;
      let isChanged = false;
      const heard = () => {
        if (!isChanged) writeFileSync(a.at('song'), 'second');
        isChanged = true;
      };
      const contents = await reader.open('/song', { signal: never, heard });
      assert.equal((await everything(contents)).toString(), 'second');
      await assert.rejects(
        reader.open('/gone', {
          signal: never,
          heard: () => existsSync(a.at('gone')) && unlinkSync(a.at('gone')),
        }),
        { code: 'file.unknown' },
      );
      assert.deepEqual(readdirSync(b.at('.clearskies/tmp')), []);
    }));

  it('is not fooled by a damaged file, here or with a member', () =>
    withClub(async (club) => {
      const [a, b, c] = [await club.member('a'), await club.member('b'), await club.member('c')];
      writeFileSync(a.at('song'), 'a song');
      await settle(a);
      const [first, second] = [connect(a, b), connect(a, c)];
      await eventually('it arrives', () => existsSync(b.at('song')) && existsSync(c.at('song')));
      for (const member of [a, b, c]) await settle(member);
      await Promise.all([first.cut(), second.cut()]);
      for (const member of [a, b]) rot(member, 'song');
      const between = connect(b, a);
      const { reader } = b.share.custody;
      await assert.rejects(reader.open('/song', { signal: never }), {
        message: '/song is not here, and no member that is connected has it',
      });
      connect(b, c);
      const contents = await reader.open('/song', { signal: never });
      assert.equal(contents.from, 'member');
      assert.equal((await everything(contents)).toString(), 'a song');
      await between.cut();
    }));

  it('ends when it is given up, and leaves nothing behind', () =>
    withClub(async (club) => {
      const [a, b] = [await club.member('a'), await club.member('b')];
      b.share.pause();
      writeFileSync(a.at('large'), Buffer.alloc(20_000_000, 'x'));
      await settle(a);
      connect(a, b);
      await eventually('it is known', () => b.database.get('/large') !== undefined);
      const left = new AbortController();
      const opening = b.share.custody.reader.open('/large', {
        signal: left.signal,
        heard: () => left.abort(new Error('enough')),
      });
      await assert.rejects(opening, /enough/);
      assert.deepEqual(readdirSync(b.at('.clearskies/tmp')), []);
      b.share.resume();
      await eventually('it arrives all the same', () => existsSync(b.at('large')), 30_000);
    }));
});

describe('verifying', () => {
  it('finds nothing where nothing is wrong, and says how much was read', () =>
    withClub(async (club) => {
      const a = await club.member('a');
      for (let i = 0; i < 300; i++) writeFileSync(a.at(`file ${i}`), `contents ${i}`);
      await settle(a);
      const { steps, result } = await verify(a);
      assert.deepEqual(told(steps), []);
      const { files, totalFiles, bytes, totalBytes, ...others } = result;
      assert.deepEqual([files, totalFiles, bytes], [300, 300, totalBytes]);
      assert.deepEqual(others, { damaged: 0, repaired: 0, changed: 0, unreadable: 0, missing: 0, unread: 0 });
    }));

  it('says what it could not compare with anything yet', () =>
    withClub(async (club) => {
      const a = await club.member('a');
      writeFileSync(a.at('new'), 'new');
      await settle(a);
      a.share.pause();
      // As a scan leaves what is new.
      a.sqlite
        .prepare(
          "UPDATE directory_file SET sha256 = NULL, uuid = NULL, clock = NULL, mark = ? WHERE name = 'new'",
        )
        .run(MARKS.indexOf('examine'));
      const { result } = await verify(a);
      assert.deepEqual([result.files, result.unread], [0, 1]);
    }));

  it('repairs from a member, keeps what was found, and changes no version', () =>
    withClub(async (club) => {
      const [a, b] = [await club.member('a'), await club.member('b')];
      writeFileSync(a.at('song'), 'a song');
      await settle(a);
      connect(a, b);
      await eventually('it arrives', () => existsSync(b.at('song')));
      await settle(b);
      const before = b.database.get('/song');
      rot(b, 'song');
      await settle(b);
      assert.equal(text(b, 'song'), 'q song');
      const { steps, result } = await verify(b);
      assert.deepEqual(told(steps), [['/song', 'repaired']]);
      assert.deepEqual([result.damaged, result.repaired], [1, 1]);
      assert.equal(text(b, 'song'), 'a song');
      const [kept] = versions(b, '/song');
      assert.deepEqual([kept?.reason, kept?.sha256], ['damaged', sha256('q song')]);
      assert.equal(readFileSync(b.at(kept?.path ?? ''), 'utf8'), 'q song');
      assert.throws(() => newest(b, '/song'), { code: 'archive.only_damaged' });
      await settle(b);
      assert.deepEqual(b.database.get('/song'), before);
      assert.equal(text(a, 'song'), 'a song');
      assert.deepEqual(problems(b), []);
    }));

  it('repairs from another copy that is here, without any member', () =>
    withClub(async (club) => {
      const a = await club.member('a');
      writeFileSync(a.at('one'), 'the same');
      writeFileSync(a.at('two'), 'the same');
      await settle(a);
      rot(a, 'one');
      assert.deepEqual(told((await verify(a)).steps), [['/one', 'repaired']]);
      assert.equal(text(a, 'one'), 'the same');
    }));

  it('leaves in place what nobody has, tells it, gives it to nobody, and repairs it when somebody has it', () =>
    withClub(async (club) => {
      const [a, b] = [await club.member('a'), await club.member('b')];
      writeFileSync(a.at('song'), 'a song');
      await settle(a);
      const connection = connect(a, b);
      await eventually('it arrives', () => existsSync(b.at('song')));
      await settle(b);
      await connection.cut();
      rot(a, 'song');
      const { steps, result } = await verify(a);
      assert.deepEqual(told(steps), [['/song', 'damaged']]);
      assert.deepEqual([result.damaged, result.repaired], [1, 0]);
      assert.equal(text(a, 'song'), 'q song');
      assert.deepEqual(problems(a), [['share.damaged', ['/song']]]);
      const event = a.events.findLast(({ kind }) => kind === 'problems');
      assert.equal(event?.kind === 'problems' && event.problems[0]?.code, 'share.damaged');
      // Also after a restart, and under another name.
      await a.close();
      await a.open();
      await settle(a);
      assert.deepEqual(problems(a), [['share.damaged', ['/song']]]);
      const c = await club.member('c');
      connect(a, c);
      await eventually('it is known', () => c.database.get('/song') !== undefined);
      await assert.rejects(c.share.custody.reader.open('/song', { signal: never }), {
        code: 'contents.nowhere',
      });
      connect(a, b);
      assert.deepEqual(told((await verify(a)).steps), [['/song', 'repaired']]);
      assert.deepEqual(problems(a), []);
      await eventually('it arrives', () => existsSync(c.at('song')) && text(c, 'song') === 'a song', 30_000);
    }));

  it('is not needed for what is known: it is put right when a member has it, or when it is as it was', () =>
    withClub(async (club) => {
      const [a, b] = [await club.member('a'), await club.member('b')];
      for (const name of ['song', 'other']) writeFileSync(a.at(name), name);
      await settle(a);
      const connection = connect(a, b);
      await eventually('they arrive', () => existsSync(b.at('song')) && existsSync(b.at('other')));
      await settle(b);
      await connection.cut();
      for (const name of ['song', 'other']) rot(a, name);
      assert.equal((await verify(a)).result.damaged, 2);
      const { verifier, damages } = a.share.custody;
      await verifier.mend(never);
      assert.equal(damages.rows().length, 2);
      rot(a, 'other');
      await verifier.mend(never);
      assert.deepEqual(problems(a), [['share.damaged', ['/song']]]);
      connect(a, b);
      await verifier.mend(never);
      assert.deepEqual([problems(a), text(a, 'song'), text(a, 'other')], [[], 'song', 'other']);
    }));

  it('does not let a new mode or name make damage a change', () =>
    withClub(async (club) => {
      const a = await club.member('a');
      writeFileSync(a.at('song'), 'a song');
      await settle(a);
      rot(a, 'song');
      await verify(a);
      utimesSync(a.at('song'), 1_000_000, 1_000_000);
      await settle(a);
      const value = JSON.stringify(a.database.get('/song')?.value, (_, v) =>
        typeof v === 'bigint' ? `${v}` : v,
      );
      assert.match(value, new RegExp(sha256('a song')));
      assert.match(value, /1970-01-12/);
      assert.deepEqual(problems(a), [['share.damaged', ['/song']]]);
      chmodSync(a.at('song'), 0o600);
      await settle(a);
      renameSync(a.at('song'), a.at('renamed'));
      await settle(a);
      assert.equal(a.share.ls('/renamed').next().value?.sha256, sha256('a song'));
      assert.deepEqual(problems(a), [['share.damaged', ['/renamed']]]);
      // Its owner's own repair is one.
      writeFileSync(a.at('renamed'), 'a song');
      await settle(a);
      assert.deepEqual(problems(a), []);
    }));

  it('leaves an edit with the old time to the detector: it is no damage', () =>
    withClub(async (club) => {
      const a = await club.member('a');
      writeFileSync(a.at('song'), 'a song');
      await settle(a);
      const { mtime } = statSync(a.at('song'));
      a.share.pause();
      writeFileSync(a.at('song'), 'A song');
      utimesSync(a.at('song'), mtime, mtime);
      const { result } = await verify(a);
      assert.deepEqual([result.damaged, result.changed], [0, 1]);
      a.share.resume();
      await settle(a);
      assert.equal(a.share.ls('/song').next().value?.sha256, sha256('A song'));
    }));

  it('runs once at a time, and ends when it is left or given up', () =>
    withClub(async (club) => {
      const a = await club.member('a');
      writeFileSync(a.at('one'), 'one');
      writeFileSync(a.at('two'), 'two');
      await settle(a);
      rot(a, 'one');
      const running = a.share.custody.verifier.verify(never);
      assert.equal((await running.next()).done, false);
      await assert.rejects(verify(a), { code: 'verify.running' });
      await running.return({} as VerifyResult);
      await assert.rejects(verify(a, AbortSignal.abort(new Error('enough'))), /enough/);
      assert.equal((await verify(a)).result.files, 2);
    }));
});
