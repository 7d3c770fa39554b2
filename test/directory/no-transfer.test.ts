/** What is here already does not travel: files and folders that are moved or renamed, copies, and the rest of a broken transfer. */

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
} from 'node:fs';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { eventually } from '../support/eventually.ts';
import { CARD, withCard } from '../support/exfat-card.ts';
import { sameTree } from '../support/folder-tree.ts';
import { findProgram, peerTest } from '../support/peers.ts';
import { connect, type Member, withClub } from './members.ts';

async function fill(member: Member, folder: string, count: number): Promise<void> {
  await mkdir(member.at(folder), { recursive: true });
  for (let i = 0; i < count; i++) await writeFile(member.at(`${folder}/${i}`), `${folder} ${i}`);
}

const inodes = (folder: string) =>
  readdirSync(folder)
    .map((name) => statSync(join(folder, name)).ino)
    .sort();

test('a folder of 1,000 files that is renamed, and files that are moved between folders, keep their inodes everywhere', () =>
  withClub(async (club) => {
    const [a, b] = [await club.member('a'), await club.member('b')];
    await fill(a, 'recordings', 1_000);
    await mkdir(a.at('kept'));
    connect(a, b);
    await eventually('b has them', () => sameTree(a.folder, b.folder), 60_000);
    const before = { traffic: b.share.traffic(), inodes: inodes(b.at('recordings')) };
    await rename(a.at('recordings'), a.at('archive of 2026'));
    await eventually('it is renamed there too', () => sameTree(a.folder, b.folder), 60_000);
    assert.deepEqual(inodes(b.at('archive of 2026')), before.inodes);
    for (let i = 0; i < 100; i++) await rename(a.at(`archive of 2026/${i}`), a.at(`kept/moved ${i}`));
    await eventually('they are moved there too', () => sameTree(a.folder, b.folder), 60_000);
    const after = [...inodes(b.at('archive of 2026')), ...inodes(b.at('kept'))].sort();
    assert.deepEqual(after, before.inodes);
    assert.deepEqual(b.share.traffic(), before.traffic, 'no contents went over the wire');
    assert.equal(b.share.status().archivedBytes, 0n);
  }));

test('folders that are renamed while apart, on both sides, do not travel either', () =>
  withClub(async (club) => {
    const [a, b] = [await club.member('a'), await club.member('b')];
    for (const folder of ['one', 'two']) await fill(a, folder, 50);
    const connection = connect(a, b);
    await eventually('b has them', () => sameTree(a.folder, b.folder));
    await eventually('both are in step', () => [a, b].every(({ share }) => share.status().isSynced));
    const before = [a.share.traffic(), b.share.traffic()];
    await connection.cut();
    await rename(a.at('one'), a.at('one by a'));
    await rename(b.at('two'), b.at('two by b'));
    for (const member of [a, b]) await member.share.rescan();
    connect(a, b);
    await eventually(
      'both have both',
      async () => (await sameTree(a.folder, b.folder)) && existsSync(a.at('two by b')),
    );
    assert.deepEqual([a.share.traffic(), b.share.traffic()], before);
  }));

peerTest('a change of case, and a move, on a card where case makes no difference', CARD, () =>
  withCard((card) =>
    withClub(async (club) => {
      const a = await club.member('a');
      const b = await club.member('b', { share: { path: card.path } });
      await fill(a, 'Songs', 40);
      connect(a, b);
      const namesThere = () => readdirSync(card.path).filter((name) => name !== '.clearskies');
      const countThere = (folder: string) =>
        existsSync(join(card.path, folder)) ? readdirSync(join(card.path, folder)).length : 0;
      await eventually('the card has them', () => countThere('Songs') === 40 && b.share.status().isSynced);
      const before = b.share.traffic();
      await rename(a.at('Songs'), a.at('songs'));
      // The old folder is in the way until its last file has left it: the new one gets a name of its own here.
      const isRenamed = () =>
        /^songs( \(2\))?$/.test(namesThere().join()) && countThere(namesThere()[0] ?? '') === 40;
      await eventually('the case is changed', () => isRenamed() && b.share.status().isSynced);
      await mkdir(a.at('Other'));
      for (let i = 0; i < 40; i++) await rename(a.at(`songs/${i}`), a.at(`Other/SONG ${i}`));
      await eventually('they are moved', () => countThere('Other') === 40 && b.share.status().isSynced);
      // And the other way: its owner does it on the card.
      renameSync(join(card.path, 'Other'), join(card.path, 'OTHER'));
      // That the old folder is gone is noted a moment after the new one, so a may be in step in between.
      await eventually('a has it', () => readdirSync(a.folder).sort().join() === '.clearskies,OTHER,songs');
      await eventually('both are in step', () => [a, b].every(({ share }) => share.status().isSynced));
      assert.deepEqual(readdirSync(a.folder).sort(), ['.clearskies', 'OTHER', 'songs']);
      assert.equal(await readFile(a.at('OTHER/SONG 7'), 'utf8'), 'Songs 7');
      assert.deepEqual(b.share.traffic(), before, 'no contents went over the wire');
    }),
  ),
);

test('what one member has begun to give, another one ends, after a restart', () =>
  withClub(async (club) => {
    const [a, b, c] = [await club.member('a'), await club.member('b'), await club.member('c')];
    const contents = randomBytes(40_000_000);
    await writeFile(a.at('large'), contents);
    connect(a, c);
    await eventually('two have it', () => c.share.status().isSynced && existsSync(c.at('large')), 60_000);
    const first = connect(a, b);
    await eventually('half of it is there', () => b.share.traffic().received > 20_000_000, 60_000);
    await first.cut();
    await b.close();
    await b.open();
    const given = a.share.traffic().sent;
    connect(c, b);
    await eventually('all of it is there', () => existsSync(b.at('large')), 60_000);
    assert.ok(contents.equals(await readFile(b.at('large'))));
    assert.ok(b.share.traffic().received < 25_000_000, `${b.share.traffic().received} bytes again`);
    assert.equal(a.share.traffic().sent, given);
  }));

/** A file system that can share blocks between files. */
function mountBtrfs(t: TestContext): string {
  const top = mkdtempSync(join(tmpdir(), 'skylark-btrfs-'));
  const path = join(top, 'mounted');
  t.after(() => {
    spawnSync('umount', ['-l', path]);
    rmSync(top, { recursive: true, force: true });
  });
  mkdirSync(path);
  execFileSync('truncate', ['-s', '400M', join(top, 'image')]);
  execFileSync(findProgram('mkfs.btrfs') ?? '', ['-q', join(top, 'image')], { stdio: 'pipe' });
  execFileSync('mount', ['-o', 'loop', join(top, 'image'), path], { stdio: 'pipe' });
  return path;
}

peerTest(
  'copies of what is here, or was, share its blocks where the file system can',
  {
    programs: ['mkfs.btrfs', 'mount', 'truncate'],
    root: true,
    also: () =>
      readFileSync('/proc/filesystems', 'utf8').includes('btrfs') ? undefined : 'the kernel has no btrfs',
  },
  (t) =>
    withClub(async (club) => {
      const disk = mountBtrfs(t);
      mkdirSync(join(disk, 'share'));
      const a = await club.member('a');
      const b = await club.member('b', { share: { path: join(disk, 'share'), reserve: 0n } });
      const used = () => {
        execFileSync('sync', ['-f', disk]);
        const { blocks, bfree, bsize } = statfsSync(disk);
        return (blocks - bfree) * bsize;
      };
      const contents = randomBytes(50_000_000);
      await writeFile(a.at('original'), contents);
      connect(a, b);
      await eventually('b has it', () => existsSync(join(disk, 'share/original')), 60_000);
      await eventually('b is in step', () => b.share.status().isSynced);
      const [traffic, before] = [b.share.traffic().received, used()];
      for (let i = 0; i < 4; i++) await writeFile(a.at(`copy ${i}`), contents);
      await eventually(
        'b has the copies',
        () => existsSync(join(disk, 'share/copy 3')) && b.share.status().isSynced,
        60_000,
      );
      assert.equal(b.share.traffic().received, traffic, 'nothing travelled');
      assert.ok(used() - before < 25_000_000, `four copies of 50 MB took ${used() - before} bytes`);
      assert.ok(contents.equals(await readFile(join(disk, 'share/copy 2'))));
    }),
);
