/** A share on a disk that is too small. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, statfsSync, statSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it, type TestContext } from 'node:test';
import { eventually } from '../support/eventually.ts';
import { connect, withClub } from './members.ts';

/** A file system of 8 MiB; undefined where nothing can be mounted. */
function mountSmall(t: TestContext): string | undefined {
  const path = mkdtempSync(join(tmpdir(), 'skylark-small-'));
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'none', path]);
  t.after(() => {
    if (mounted.status === 0) spawnSync('umount', ['-l', path]);
    rmSync(path, { recursive: true, force: true });
  });
  return mounted.status === 0 ? path : undefined;
}

it('a full disk is told of, loses nothing, and is over when there is room', (t) =>
  withClub(async (club) => {
    const small = mountSmall(t);
    if (small === undefined) return t.skip('needs root, to mount');
    mkdirSync(join(small, 'share'));
    const a = await club.member('a');
    const b = await club.member('b', { share: { path: join(small, 'share') } });
    await writeFile(join(small, 'something else'), Buffer.alloc(4_000_000));
    await writeFile(a.at('large'), Buffer.alloc(6_000_000, 'large'));
    await a.share.rescan();
    connect(a, b);
    await eventually('it is told', () =>
      b.share.status().problems.some(({ code }) => code === 'files.no_room'),
    );
    assert.equal(b.share.status().isSynced, false);
    const [problem] = b.share.status().problems;
    assert.equal(problem?.remedy, 'make room on the disk');
    assert.throws(() => statSync(join(small, 'share/large')), { code: 'ENOENT' });
    await rm(join(small, 'something else'));
    await eventually('it arrives when there is room', () => b.share.status().isSynced, 40_000);
    assert.equal(statSync(join(small, 'share/large')).size, 6_000_000);
    assert.deepEqual(b.share.status().problems, []);
  }));

it('a reserve stays free: what does not fit waits, smaller files pass, and it comes by itself when there is room', (t) =>
  withClub(async (club) => {
    const small = mountSmall(t);
    if (small === undefined) return t.skip('needs root, to mount');
    mkdirSync(join(small, 'share'));
    const a = await club.member('a');
    const b = await club.member('b', { share: { path: join(small, 'share'), reserve: 4_000_000n } });
    // Both would fit alone, but not together.
    await writeFile(a.at('one'), Buffer.alloc(2_500_000, 'one'));
    await writeFile(a.at('two'), Buffer.alloc(2_500_000, 'two'));
    await writeFile(a.at('small'), 'small');
    await a.share.rescan();
    connect(a, b);
    await eventually('it is told', () =>
      b.share.problems().some(({ code, remedy }) => code === 'files.no_room' && remedy !== undefined),
    );
    await eventually('the others have come', () => b.share.status().pendingFiles === 1);
    assert.equal(existsSync(join(small, 'share/small')), true);
    assert.equal(b.share.status().isSynced, false);
    assert.equal(freeOn(small) >= 4_000_000, true, 'the reserve is free');
    // The same disk, but more of it for the share: somebody removes what is not ours.
    const waiting = existsSync(join(small, 'share/one')) ? 'two' : 'one';
    spawnSync('mount', ['-o', 'remount,size=16m', small]);
    await eventually('the rest comes', () => b.share.status().isSynced);
    assert.equal(statSync(join(small, 'share', waiting)).size, 2_500_000);
    await eventually('it is over', () => b.share.problems().length === 0);
    assert.equal(freeOn(small) >= 4_000_000, true);
  }));

it('a member that announces what never fits keeps nothing else away, and it is over when the record is gone', (t) =>
  withClub(async (club) => {
    const small = mountSmall(t);
    if (small === undefined) return t.skip('needs root, to mount');
    mkdirSync(join(small, 'share'));
    const a = await club.member('a');
    const b = await club.member('b', { share: { path: join(small, 'share') } });
    for (let i = 0; i < 50; i++) {
      const sha256 = i.toString(16).padStart(64, '0');
      a.database.put(`/hostile ${i}`, { size: 9_000_000_000_000_000n, sha256, unix_mode: '0644' });
    }
    connect(a, b);
    await eventually('it is told', () => b.share.problems().some(({ code }) => code === 'files.no_room'));
    await writeFile(a.at('good'), Buffer.alloc(1_000_000, 'good'));
    await a.share.rescan();
    await eventually('what is good comes', () => existsSync(join(small, 'share/good')));
    for (let i = 0; i < 50; i++) {
      const record = a.database.get(`/hostile ${i}`);
      if (record !== undefined) a.database.remove(record.uuid);
    }
    await eventually('it is over', () => b.share.status().isSynced && b.share.problems().length === 0);
  }));

function freeOn(path: string): number {
  const { bavail, bsize } = statfsSync(path);
  return bavail * bsize;
}
