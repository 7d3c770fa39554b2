/** Damage by the disk: found, told, repaired, and never spread. */

import assert from 'node:assert/strict';
import {
  chmodSync,
  existsSync,
  readFileSync,
  renameSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { describe, it } from 'node:test';
import { MARKS } from '../../agent/directory/index-table.ts';
import type { VerifyResult } from '../../agent/directory/verify.ts';
import { eventually } from '../support/eventually.ts';
import { never, newest, problems, rot, settle, sha256, text, told, verify, versions } from './custody.ts';
import { connect, withClub } from './members.ts';

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
