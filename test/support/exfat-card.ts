/** A card as cameras and pianos write them: exFAT in a loop-mounted file. Needs root and exfat-fuse. */

import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { PeerNeeds } from './peers.ts';

const run = (command: string, ...parameters: string[]) =>
  execFileSync(command, parameters, { encoding: 'utf8', stdio: 'pipe' });

/** For `peerTest`. */
export const CARD: PeerNeeds = {
  programs: ['mkfs.exfat', 'mount.exfat-fuse', 'losetup', 'umount'],
  root: true,
  also: () => {
    try {
      withCard(() => undefined);
      return undefined;
    } catch {
      return 'exFAT can not be mounted here';
    }
  },
};

export interface Card {
  readonly path: string;
  unmount(): void;
  mount(): void;
}

/** A mounted file system of 32 MiB for as long as `body` runs. */
export function withCard<T>(body: (card: Card) => T): T {
  const top = fs.mkdtempSync(join(tmpdir(), 'skylark-exfat-'));
  const image = join(top, 'image');
  const path = join(top, 'card');
  fs.mkdirSync(path);
  fs.writeFileSync(image, '');
  fs.truncateSync(image, 33_554_432);
  run('mkfs.exfat', image);
  const device = run('losetup', '-f', '--show', image).trim();
  const card: Card = {
    path,
    mount: () => void run('mount.exfat-fuse', device, path),
    unmount: () => void run('umount', '-l', path),
  };
  const remove = () => {
    spawnSync('umount', ['-l', path]);
    spawnSync('losetup', ['-d', device]);
    fs.rmSync(image, { force: true });
    fs.rmdirSync(path);
    fs.rmdirSync(top);
  };
  try {
    card.mount();
    const result = body(card);
    if (result instanceof Promise) return result.finally(remove) as T;
    remove();
    return result;
  } catch (thrown) {
    remove();
    throw thrown;
  }
}
