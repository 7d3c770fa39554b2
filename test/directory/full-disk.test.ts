/** A share on a disk that is too small. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it, type TestContext } from 'node:test';
import { connect, eventually, withClub } from './members.ts';

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
      b.share.status().problems.some(({ code }) => code === 'files.no_space'),
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
