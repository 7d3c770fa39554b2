/** A disk that changes bytes by itself: ext4 in a loop-mounted file. Needs root. */

import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';

const run = (command: string, ...parameters: string[]) =>
  execFileSync(command, parameters, { encoding: 'utf8', stdio: 'pipe' });

/** For `peerTest`. */
export const ROTTING_DISK = { programs: ['mkfs.ext4', 'mount', 'umount', 'sync'], root: true } as const;

export interface RottingDisk {
  /** Where it is mounted. */
  readonly path: string;
  /**
   * Changes one bit of the first of these bytes wherever they are on the disk, while nothing of it is mounted: no time of
   * any inode is changed by that. Nobody may have a file of it open.
   */
  rot(bytes: string): void;
}

/** Mounted until the test ends. */
export function mountRottingDisk(t: TestContext): RottingDisk {
  const top = fs.mkdtempSync(join(tmpdir(), 'skylark-disk-'));
  let image = join(top, 'image');
  const path = join(top, 'mounted');
  fs.mkdirSync(path);
  fs.writeFileSync(image, '');
  fs.truncateSync(image, 33_554_432);
  t.after(() => {
    spawnSync('umount', ['-l', path]);
    fs.rmdirSync(path);
    fs.rmSync(top, { recursive: true, force: true });
  });
  run('mkfs.ext4', '-q', '-F', '-m', '0', image);
  const mount = () => run('mount', '-o', 'loop', image, path);
  mount();
  return {
    path,
    rot(bytes) {
      // A mount namespace of somebody else, made meanwhile, may keep the file system alive, and with it what it has in
      // memory: it is flushed before it goes from here, and what is mounted then is another file.
      run('sync', '--file-system', path);
      run('umount', path);
      const disk = fs.readFileSync(image);
      let found = 0;
      for (let at = disk.indexOf(bytes); at >= 0; at = disk.indexOf(bytes, at + 1)) {
        disk[at] = (disk[at] ?? 0) ^ 0x10;
        found += 1;
      }
      if (found === 0) throw new Error(`the disk has nowhere ${bytes}`);
      image = `${image} rotten`;
      fs.writeFileSync(image, disk);
      mount();
    },
  };
}
