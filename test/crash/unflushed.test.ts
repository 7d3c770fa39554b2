/** Who writes a file does not always flush it; whoever tells others that he has it must. */

import assert from 'node:assert/strict';
import fs from 'node:fs';
import { join } from 'node:path';
import { openHashing } from '../../agent/directory/hashing.ts';
import { openShareRoot } from '../../agent/platform/files.ts';
import { peerTest } from '../support/peers.ts';
import { DISK_NEEDS, openExt4 } from './ext4-disk.ts';
import { sha256 } from './ledger.ts';
import { openScene } from './scene.ts';

peerTest('what was hashed survives a power cut although nobody flushed it', DISK_NEEDS, async (t) => {
  const scene = openScene(t);
  const disk = openExt4(scene, 'disk', { options: 'data=writeback,noauto_da_alloc,commit=60' });
  const hashing = openHashing();
  scene.defer(() => hashing.close());
  const sizes = [100, 70_000, ...Array.from({ length: 100 }, (_, i) => 4_000 + i)];
  const contents = sizes.map((size) => Buffer.alloc(size, `content ${size}`));
  const at = (i: number) => join(disk.path, `file ${i}`);
  for (const [i, bytes] of contents.entries()) fs.writeFileSync(at(i), bytes);
  const root = await openShareRoot(disk.path);
  const { signal } = new AbortController();
  const outcomes = await Promise.all(
    sizes.map((size, i) => hashing.hash(root, `/file ${i}`, BigInt(size), signal)),
  );
  root.close();
  disk.cut();
  disk.restore();
  for (const [i, bytes] of contents.entries()) {
    const outcome = outcomes[i]!;
    assert.equal(outcome.state === 'hashed' && outcome.sha256, sha256(bytes));
    assert.equal(sha256(fs.readFileSync(at(i))), sha256(bytes), `file ${i} as it was hashed`);
  }
});
