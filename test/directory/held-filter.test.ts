/** What a device that keeps a part of a share tells others of what it has. */

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { toHex } from '../../agent/base/bytes.ts';
import { filterOf } from '../../agent/directory/held-filter.ts';
import { Presence } from '../../agent/directory/presence.ts';
import { EVERYTHING } from '../../agent/directory/selection.ts';
import { eventually } from '../support/eventually.ts';
import { connect, withClub } from './members.ts';

async function* each(hashes: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* hashes;
}

async function presenceOf(hashes: readonly Uint8Array[]): Promise<Presence> {
  const { bits, k } = await filterOf(each(hashes), hashes.length);
  const presence = new Presence();
  presence.setFilter(bits, k);
  return presence;
}

test('a filter denies nothing that is here, whatever is, and nearly everything else', async () => {
  const hash = fc.uint8Array({ minLength: 32, maxLength: 32 });
  await fc.assert(
    fc.asyncProperty(fc.array(hash, { minLength: 1, maxLength: 50 }), async (hashes) => {
      const presence = await presenceOf(hashes);
      for (const sha256 of hashes) assert.equal(presence.likelihood(toHex(sha256)), 'ask');
    }),
  );
  const presence = await presenceOf(Array.from({ length: 2_000 }, () => randomBytes(32)));
  const others = Array.from({ length: 10_000 }, () => presence.likelihood(toHex(randomBytes(32))));
  const wrong = others.filter((likelihood) => likelihood === 'ask').length;
  assert.ok(wrong < 300, `${wrong} of 10,000 seem to be here`);
});

test('whoever has nothing asks not to be asked', async () => {
  const presence = await presenceOf([]);
  assert.equal(presence.likelihood(toHex(randomBytes(32))), 'never');
});

test('a member with a part of a share is asked for what it has, for what is new there, and for more when it has more', () =>
  withClub(async (club) => {
    const a = await club.member('a', { share: { rules: { ...EVERYTHING, ignore: ['/out/'] } } });
    const b = await club.member('b');
    const c = await club.member('c');
    mkdirSync(a.at('out'));
    writeFileSync(a.at('out/own'), 'own');
    writeFileSync(b.at('gone'), 'gone');
    connect(a, b);
    connect(a, c);
    await b.share.rescan();
    await eventually('a has it', () => a.share.status().files === 1);
    await eventually('c has it', () => c.share.status().files === 1);
    writeFileSync(a.at('new'), 'new');
    await a.share.rescan();
    await eventually('c has what is new', () => c.share.status().files === 2);
    await a.share.select(EVERYTHING);
    await eventually('c has what was left out', () => c.share.status().files === 3);
  }));
