/** What was asked for and is not kept in the folder. */

import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { errorCode } from '../../agent/base/errors.ts';
import { EVERYTHING, type SelectionRules } from '../../agent/directory/selection.ts';
import { eventually } from '../support/eventually.ts';
import { connect, type Member, withClub } from './members.ts';

const SHALLOW: SelectionRules = { ...EVERYTHING, isShallow: true };
const signal = new AbortController().signal;

/** Reads a file as somebody who asks for it; says where it came from. */
async function get(member: Member, path: string): Promise<{ text: string; from: string }> {
  const contents = await member.share.custody.reader.open(path, { signal });
  try {
    const bytes = new Uint8Array(Number(contents.size));
    assert.equal(await contents.read(bytes, 0n), bytes.length);
    return { text: Buffer.from(bytes).toString(), from: contents.from };
  } finally {
    await contents.close();
  }
}

function cached(member: Member): string[] {
  const folder = member.at('.clearskies/cache');
  return existsSync(folder) ? readdirSync(folder) : [];
}

async function known(member: Member, count: number): Promise<void> {
  await eventually(
    `${member.name} knows ${count} files`,
    () => member.share.status().unwantedFiles === count,
  );
}

describe('the cache of a shallow copy', () => {
  it('has what was asked for, serves it to other members, and gives it to the folder', () =>
    withClub(async (club) => {
      const a = await club.member('a', { share: { rules: SHALLOW } });
      const b = await club.member('b');
      const c = await club.member('c');
      writeFileSync(b.at('one'), 'one');
      writeFileSync(b.at('two'), 'two');
      const ab = connect(a, b);
      connect(a, c);
      await b.share.rescan();
      await known(a, 2);
      assert.deepEqual(cached(a), []);
      assert.deepEqual(await get(a, '/one'), { text: 'one', from: 'member' });
      assert.equal(cached(a).length, 1);
      assert.equal(a.share.status().cachedBytes, 3n);
      await ab.cut();
      assert.deepEqual(await get(a, '/one'), { text: 'one', from: 'archive' });
      await eventually('it is given on', () => existsSync(c.at('one')));
      await assert.rejects(get(a, '/two'), (thrown) => errorCode(thrown) === 'contents.nowhere');
      assert.equal(existsSync(a.at('one')), false);
      assert.equal(existsSync(c.at('two')), false);
      await a.share.select(EVERYTHING);
      await eventually('it is in the folder, though nobody is there who has it', () =>
        existsSync(a.at('one')),
      );
      await eventually('it takes no room twice', () => a.share.status().cachedBytes === 0n);
      assert.deepEqual(cached(a), []);
    }));

  it('keeps within its bounds: the longest unused go first, and what is too large is not kept', () =>
    withClub(async (club) => {
      const a = await club.member('a', { share: { rules: SHALLOW, cache: 10n } });
      const b = await club.member('b');
      for (const name of ['1', '2', '3']) writeFileSync(b.at(name), name.repeat(4));
      writeFileSync(b.at('large'), 'x'.repeat(11));
      connect(a, b);
      await b.share.rescan();
      await known(a, 4);
      await get(a, '/1');
      await get(a, '/2');
      await get(a, '/1');
      await get(a, '/3');
      assert.equal(a.share.status().cachedBytes, 8n);
      assert.deepEqual((await get(a, '/1')).from, 'archive');
      assert.deepEqual((await get(a, '/2')).from, 'member');
      assert.equal((await get(a, '/large')).text, 'x'.repeat(11));
      assert.equal((await get(a, '/large')).from, 'member');
      assert.equal(cached(a).length, 2);
    }));

  it('forgets what no record asks for any more, what was damaged, and what an earlier share left', () =>
    withClub(async (club) => {
      const a = await club.member('a', { share: { rules: SHALLOW } });
      const b = await club.member('b');
      writeFileSync(b.at('f'), 'first');
      writeFileSync(b.at('g'), 'second');
      connect(a, b);
      await b.share.rescan();
      await known(a, 2);
      await get(a, '/f');
      await get(a, '/g');
      for (const name of cached(a)) writeFileSync(a.at(`.clearskies/cache/${name}`), 'spoilt');
      assert.deepEqual(await get(a, '/f'), { text: 'first', from: 'member' });
      assert.deepEqual(await get(a, '/f'), { text: 'first', from: 'archive' });
      writeFileSync(b.at('f'), 'changed');
      writeFileSync(b.at('g'), 'changed, too');
      await b.share.rescan();
      await eventually('it is empty', () => a.share.status().cachedBytes === 0n);
      assert.deepEqual(cached(a), []);
      mkdirSync(a.at('.clearskies/cache'), { recursive: true });
      writeFileSync(a.at(`.clearskies/cache/${'ab'.repeat(32)}`), 'of an earlier share');
      await a.close();
      await a.open();
      assert.deepEqual(cached(a), []);
    }));

  it('is not used for what the folder is to have', () =>
    withClub(async (club) => {
      const a = await club.member('a');
      const b = await club.member('b');
      writeFileSync(b.at('f'), 'f');
      a.share.pause();
      connect(a, b);
      await b.share.rescan();
      await eventually('it is known', () => a.database.get('/f') !== undefined);
      assert.deepEqual(await get(a, '/f'), { text: 'f', from: 'member' });
      assert.deepEqual(cached(a), []);
    }));
});
