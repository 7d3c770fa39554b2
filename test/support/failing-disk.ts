/** A disk with bad sectors: ext4 on a block device (nbdkit) that can't give some of its bytes back. Needs root. */

import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { startProgram } from './peers.ts';

const run = (command: string, ...parameters: string[]) =>
  execFileSync(command, parameters, { encoding: 'utf8', stdio: 'pipe' });

/** For `peerTest`. */
export const FAILING_DISK = {
  programs: ['mkfs.ext4', 'mount', 'umount', 'nbdkit', 'nbdfuse', 'dd'],
  root: true,
} as const;

export interface FailingDisk {
  /** Where it is mounted. */
  readonly path: string;
  /** The sectors with these bytes can't be read any more, until `heal`. Nobody may have a file of the disk open. */
  fail(bytes: string): void;
  /** Everything can be read again. Nobody may have a file of the disk open. */
  heal(): void;
}

const SECTOR = 4_096;
/** A request whose bytes touch a line of the list (first, and behind the last) fails; all others are dd's. */
const READ = `
  while read -r from to; do
    if [ "$4" -lt "$to" ] && [ "$(($4 + $3))" -gt "$from" ]; then echo 'EIO bad sector' >&2; exit 1; fi
  done < "$BAD"
  dd if="$IMAGE" bs=65536 skip="$4" count="$3" iflag=skip_bytes,count_bytes status=none
`;
const WRITE = 'dd of="$IMAGE" bs=65536 seek="$4" oflag=seek_bytes conv=notrunc status=none';

/** Mounted until the test ends. */
export async function mountFailingDisk(t: TestContext): Promise<FailingDisk> {
  const top = fs.mkdtempSync(join(tmpdir(), 'skylark-disk-'));
  const [image, bad, device, path] = ['image', 'bad', 'device', 'mounted'].map((name) => join(top, name));
  if (!image || !bad || !device || !path) throw new Error('no names');
  for (const folder of [device, path]) fs.mkdirSync(folder);
  for (const file of [image, bad]) fs.writeFileSync(file, '');
  fs.truncateSync(image, 16 * 2 ** 20);
  run('mkfs.ext4', '-q', '-F', '-m', '0', '-b', String(SECTOR), image);
  // In this order, whatever still uses it.
  t.after(() => {
    spawnSync('umount', ['-l', path]);
  });
  const methods = [`get_size=echo ${16 * 2 ** 20}`, `pread=${READ}`, `pwrite=${WRITE}`];
  const server = ['nbdkit', '-s', '--exit-with-parent', 'eval', ...methods];
  startProgram(t, 'nbdfuse', [device, '--command', ...server], { env: { IMAGE: image, BAD: bad } });
  t.after(() => fs.rmSync(top, { recursive: true, force: true }));
  const node = join(device, 'nbd');
  for (let tries = 0; !fs.existsSync(node); tries++) {
    if (tries > 500) throw new Error('nbdfuse does not come up');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const mount = () => run('mount', '-t', 'ext4', '-o', 'loop', node, path);
  mount();
  const change = (list: string) => {
    run('umount', path);
    fs.writeFileSync(bad, list);
    mount();
  };
  return {
    path,
    fail(bytes) {
      run('sync', '--file-system', path);
      const disk = fs.readFileSync(image);
      const sectors = new Set<number>();
      for (let at = disk.indexOf(bytes); at >= 0; at = disk.indexOf(bytes, at + 1))
        sectors.add(Math.floor(at / SECTOR));
      if (sectors.size === 0) throw new Error(`the disk has nowhere ${bytes}`);
      change([...sectors].map((each) => `${each * SECTOR} ${(each + 1) * SECTOR}\n`).join(''));
    },
    heal: () => change(''),
  };
}
