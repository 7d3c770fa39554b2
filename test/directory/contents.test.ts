/** Contents that are hard to come by: records that say a wrong size, contents that are gone, contents in an archive. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { appendFile, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { eventually } from '../support/eventually.ts';
import { connect, type Member, withClub } from './members.ts';

const sha256Of = (contents: string | Uint8Array) => createHash('sha256').update(contents).digest('hex');

function announce(member: Member, key: string, contents: Uint8Array, size: number, more = {}): void {
  member.database.put(key, { size, sha256: sha256Of(contents), unix_mode: '0644', ...more });
}

describe('a record that gives known contents a wrong size', () => {
  for (const [name, length] of [
    ['small', 5_000],
    ['large', 300_000],
  ] as const)
    for (const wrong of [length - 1, length + 1, 3, 50_000_000])
      it(`hurts no other record: ${name} contents, ${wrong} bytes`, () =>
        withClub(async (club) => {
          const a = await club.member('a');
          const contents = Buffer.alloc(length, `${name} ${wrong}`);
          // It comes first, so it is tried first.
          announce(a, '/bad', contents, wrong);
          await writeFile(a.at('good'), contents);
          await a.share.rescan();
          const b = await club.member('b');
          connect(a, b);
          await eventually('the good one comes', () => existsSync(b.at('good')));
          assert.deepEqual(await readFile(b.at('good')), contents);
          await eventually('and the other one gets the same', () => b.share.status().isSynced);
        }));
});

describe('a conflict copy whose contents nobody has any more', () => {
  it('is told as missing, does not keep the share from being in step, and comes if it turns up', () =>
    withClub(async (club) => {
      const share = { missingAfter: 300 };
      const a = await club.member('a', { share });
      const b = await club.member('b', { share });
      const contents = Buffer.from('what the loser wrote');
      announce(a, '/foo.CONFLICT.abcdefgh.txt', contents, contents.length, {
        conflict_source: 'f'.repeat(32),
      });
      connect(a, b);
      for (const { share } of [a, b]) {
        await eventually('it is missing', () =>
          share.problems().some(({ code, count, remedy }) => {
            return code === 'directory.contents_missing' && count === 1 && remedy !== undefined;
          }),
        );
        await eventually('it does not count', () => share.status().isSynced);
        assert.equal(share.status().pendingFiles, 0);
      }
      await writeFile(a.at('found again'), contents);
      await eventually('it is there', () => existsSync(b.at('foo.CONFLICT.abcdefgh.txt')));
      for (const { share } of [a, b]) await eventually('it is over', () => share.problems().length === 0);
    }));

  it('is no excuse for other files', () =>
    withClub(async (club) => {
      const share = { missingAfter: 100 };
      const a = await club.member('a', { share });
      const b = await club.member('b', { share });
      const contents = Buffer.from('of a member that is away');
      announce(a, '/away', contents, contents.length);
      announce(a, '/away.CONFLICT.abcdefgh', contents, contents.length, { conflict_source: 'f'.repeat(32) });
      connect(a, b);
      await eventually('it was asked for twice', () =>
        b.database.get('/away') === undefined ? false : b.share.status().pendingFiles === 2,
      );
      await new Promise((resolve) => setTimeout(resolve, 1_500));
      assert.equal(b.share.status().isSynced, false);
      assert.deepEqual(b.share.problems(), []);
    }));
});

describe('contents in an archive', () => {
  /** `b` has them in its archive, a live record names them, and `b` has no room to place them itself. */
  async function archivedAt(
    club: Parameters<Parameters<typeof withClub>[0]>[0],
    contents: Buffer,
    meddle: (path: string) => Promise<void>,
  ): Promise<Member> {
    const a = await club.member('a');
    const b = await club.member('b', { share: { reserve: 1_000_000_000_000_000n } });
    await writeFile(b.at('foo'), contents);
    connect(a, b);
    await eventually('it comes', () => existsSync(a.at('foo')) && a.share.status().isSynced);
    await rm(a.at('foo'));
    await eventually('it goes', () => !existsSync(b.at('foo')));
    await eventually('that is known', () => a.database.get('/foo') === undefined);
    const folder = b.at('.clearskies/archive');
    const [kept] = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((e) => e.isFile());
    assert.ok(kept);
    await meddle(join(kept.parentPath, kept.name));
    announce(a, '/again', contents, contents.length);
    return a;
  }

  for (const length of [20, 300_000])
    it(`are given to others if a live record names them: ${length} bytes`, () =>
      withClub(async (club) => {
        const contents = Buffer.alloc(length, 'kept');
        const a = await archivedAt(club, contents, () => Promise.resolve());
        await eventually('it comes from the archive', () => existsSync(a.at('again')));
        assert.deepEqual(readFileSync(a.at('again')), contents);
      }));

  it('are not given away if somebody has written to them', () =>
    withClub(async (club) => {
      const a = await archivedAt(club, Buffer.from('kept'), (path) => appendFile(path, 'or not'));
      await eventually('it is asked for', () => a.share.status().pendingFiles === 1);
      await new Promise((resolve) => setTimeout(resolve, 1_500));
      assert.equal(existsSync(a.at('again')), false);
      assert.equal(
        a.log.some(({ message }) => message.includes('wrong contents')),
        false,
      );
    }));
});
