/** The contents of one file, read by its owner wherever they are. */

import assert from 'node:assert/strict';
import { existsSync, readdirSync, unlinkSync, writeFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { EVERYTHING } from '../../agent/directory/selection.ts';
import { eventually } from '../support/eventually.ts';
import { everything, never, rot, settle } from './custody.ts';
import { connect, withClub } from './members.ts';

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
