/** Media that come and go, as devices of the bridge. */

import assert from 'node:assert/strict';
import fs from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { eventually } from '../../support/eventually.ts';
import { CARD, withCard } from '../../support/exfat-card.ts';
import { peerTest } from '../../support/peers.ts';
import { stage } from '../stage.ts';

peerTest('a card that is put in, pulled out and put in again', { ...CARD, timeout: 120_000 }, (t) =>
  withCard(async (card) => {
    const { path, open, until } = await stage(t);
    const songs = ['one.mid', 'two.mid', 'album/three.mid'];
    fs.mkdirSync(join(card.path, 'album'));
    for (const song of songs) fs.writeFileSync(join(card.path, song), `${song} of the card`);
    fs.writeFileSync(join(card.path, '.hidden'), 'x');
    card.unmount();
    const source = `dir:${card.path}?mount=required`;
    const bridge = open([{ source, mode: 'mirror' }]);
    const state = () => bridge.status()[0]?.state;
    const isAway = () => {
      const now = state();
      return now?.kind === 'waiting' && /nothing is mounted|is gone|is not the one/.test(now.error.message);
    };
    await eventually('it is said to be away', isAway);
    const mirrored = () =>
      fs.existsSync(join(path, 'piano'))
        ? fs.readdirSync(join(path, 'piano'), { recursive: true, encoding: 'utf8' }).sort()
        : [];
    assert.deepEqual(mirrored(), []);
    card.mount();
    const all = ['album', 'album/three.mid', 'one.mid', 'two.mid'];
    await eventually('everything is mirrored', () => mirrored().length === all.length);
    assert.deepEqual(mirrored(), all);
    assert.equal(fs.readFileSync(join(path, 'piano/album/three.mid'), 'utf8'), 'album/three.mid of the card');

    card.unmount();
    await eventually('it is said to be away again', isAway);
    assert.deepEqual(mirrored(), all, 'nothing counts as deleted');
    card.mount();
    fs.rmSync(join(card.path, 'one.mid'));
    fs.writeFileSync(join(card.path, 'two.mid'), 'another two');
    await until((event) => event.kind === 'file-removed' && event.path === '/one.mid');
    await eventually(
      'the other is new',
      () => fs.readFileSync(join(path, 'piano/two.mid'), 'utf8') === 'another two',
    );
  }),
);

test('a folder that another program writes is followed, and half a file is never shown', async (t) => {
  const { path, open } = await stage(t);
  const folder = join(path, 'outbox');
  fs.mkdirSync(folder);
  const bridge = open([{ source: `dir:${folder}`, folder: 'scans' }]);
  await eventually('it is there', () => bridge.status()[0]?.state.kind === 'idle');
  const target = join(path, 'scans/scan.pdf');
  const seen = new Set<number>();
  for (let i = 1; i <= 30; i++) {
    fs.appendFileSync(join(folder, 'scan.pdf'), Buffer.alloc(1_000, i));
    if (fs.existsSync(target)) seen.add(fs.statSync(target).size);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  assert.deepEqual([...seen], []);
  await eventually('it is there when it is whole', () => fs.existsSync(target));
  assert.equal(fs.statSync(target).size, 30_000);
});
