/** Media that come and go, as devices of the bridge. */

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { environmentError } from '../../../agent/base/errors.ts';
import { type ListedEntry, ShareRoot } from '../../../agent/platform/files.ts';
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

peerTest(
  'a medium can be unmounted while it is a device',
  { programs: ['mount', 'umount'], root: true, timeout: 120_000 },
  async (t) => {
    const at = fs.mkdtempSync(join(tmpdir(), 'skylark-stick-'));
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', at]);
    t.after(() => {
      spawnSync('umount', ['-l', at]);
      fs.rmdirSync(at);
    });
    fs.writeFileSync(join(at, 'one.mid'), 'one');
    const { path, open } = await stage(t);
    const bridge = open([{ source: `dir:${at}?mount=required` }]);
    await eventually('it is mirrored', () => fs.existsSync(join(path, 'piano/one.mid')));
    await eventually('it can be taken out', () => spawnSync('umount', [at]).status === 0);
    await eventually('it is said to be away', () => bridge.status()[0]?.state.kind === 'waiting');
  },
);

test('what can not be looked at is not gone, and keeps nothing else away', async (t) => {
  const { path, open, events } = await stage(t);
  const card = join(path, 'card');
  fs.mkdirSync(join(card, 'lost+found'), { recursive: true });
  fs.mkdirSync(join(card, 'closed'));
  for (const name of ['a', 'b', 'closed/c', 'lost+found/d']) {
    fs.writeFileSync(join(card, name), name);
    fs.utimesSync(join(card, name), 1e9, 1e9);
  }
  const bridge = open([{ source: `dir:${card}`, mode: 'mirror' }]);
  const shown = () => fs.readdirSync(join(path, 'piano'), { recursive: true, encoding: 'utf8' }).sort();
  await eventually('it is mirrored', () => fs.existsSync(join(path, 'piano/closed/c')));
  await eventually('it rests', () => bridge.status()[0]?.state.kind === 'idle');
  assert.deepEqual(shown(), ['a', 'b', 'closed', 'closed/c']);
  // A failing card, which only the system can give: one file answers no questions, one folder can't be listed.
  const { list } = ShareRoot.prototype;
  t.after(() => {
    ShareRoot.prototype.list = list;
  });
  const failing = environmentError('files.io', 'the disk reports an error');
  ShareRoot.prototype.list = async function* (this: ShareRoot, folder: string) {
    if (folder === '/closed') throw failing;
    for await (const batch of list.call(this, folder))
      yield batch.map(
        (entry): ListedEntry =>
          entry.name === 'a' ? { name: 'a', facts: undefined, error: failing } : entry,
      );
  };
  fs.writeFileSync(join(card, 'new'), 'new');
  fs.rmSync(join(card, 'b'));
  await eventually('what is new comes', () => fs.existsSync(join(path, 'piano/new')));
  await wait(500);
  assert.deepEqual(shown(), ['a', 'b', 'closed', 'closed/c', 'new']);
  ShareRoot.prototype.list = list;
  fs.writeFileSync(join(card, 'newer'), 'newer');
  await eventually('what is really gone goes', () => events.some((event) => event.kind === 'file-removed'));
  assert.deepEqual(
    shown().filter((name) => name.length < 8),
    ['a', 'closed', 'new', ...(fs.existsSync(join(path, 'piano/newer')) ? ['newer'] : [])],
  );
});

test('two folders of one disk are two devices, in one folder of the share', async (t) => {
  const { path, open } = await stage(t);
  const [one, two] = [join(path, 'one'), join(path, 'two')];
  for (const folder of [one, two]) {
    fs.mkdirSync(folder);
    for (const i of [1, 2, 3]) {
      const file = join(folder, `${folder.slice(-3)} ${i}`);
      fs.writeFileSync(file, `${i}`);
      fs.utimesSync(file, 1e9, 1e9);
    }
  }
  const devices = [one, two].map((folder) => ({ source: `dir:${folder}`, mode: 'mirror' as const }));
  const shown = () => (fs.existsSync(join(path, 'piano')) ? fs.readdirSync(join(path, 'piano')).length : 0);
  let bridge = open(devices);
  await eventually('all are mirrored', () => shown() === 6);
  const ids = bridge.status().map(({ device }) => device?.id);
  assert.equal(new Set(ids).size, 2);
  await bridge.close();
  bridge = open(devices);
  await eventually('both rest', () => bridge.status().every(({ state }) => state.kind === 'idle'));
  assert.equal(shown(), 6);
});
