/** A disk of its own that can lose power: ext4 in a loop-mounted file, and its FS_IOC_SHUTDOWN. */

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { findProgram, type PeerNeeds } from '../support/peers.ts';
import { must, Scene } from './scene.ts';

export const DISK_NEEDS: PeerNeeds = {
  programs: ['mkfs.ext4', 'mount', 'umount', 'losetup', 'perl'],
  root: true,
  also: () => {
    const scene = new Scene();
    try {
      openExt4(scene, 'trial', { megabytes: 8 }).cut();
      return undefined;
    } catch {
      return 'no ext4 can be mounted in a loop here';
    } finally {
      scene.abandon();
    }
  },
};

/**
 * FS_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH (linux/fs/ext4/ext4.h): what is not in the journal on the medium by now is
 * gone, and every later access fails. The device is compared on the very descriptor that is shut down, so that nothing but
 * our own file system can ever be hit.
 */
const SHUT_DOWN = `
  my ($path, $device) = @ARGV;
  open(my $folder, '<', $path) or die "open: $!";
  (stat $folder)[0] == $device or die 'this is not the file system that was mounted here';
  my $how = pack('L', 2);
  ioctl($folder, 0x8004587d, $how) or die "ioctl: $!";
`;

export interface Ext4Options {
  readonly megabytes?: number;
  /** For mount(8), beside `loop`. */
  readonly options?: string;
  /** Another file than one of our own in the scene's folder. */
  readonly image?: string;
}

export interface Ext4Disk {
  readonly path: string;
  /** From now on every access fails, and what was not flushed is lost. */
  cut(): void;
  /** Checked and mounted again, after its device failed. No process may have anything open there. */
  repair(): void;
  /** The power is back. No process may have anything open there. */
  restore(): void;
}

export function openExt4(scene: Scene, name: string, options: Ext4Options = {}): Ext4Disk {
  const path = join(scene.root, name);
  const image = options.image ?? `${path}.image`;
  if (options.image === undefined) {
    writeFileSync(image, '', { mode: 0o600 });
    truncateSync(image, (options.megabytes ?? 96) * 2 ** 20);
  }
  must('mkfs.ext4', '-q', '-F', '-E', 'nodiscard', image);
  mkdirSync(path);
  const outside = statSync(path).dev;
  let device = 0;
  let current = image;
  let copies = 0;
  // With `loop`, the device is let go of with the file system.
  const mount = () => {
    must('mount', '-t', 'ext4', '-o', ['loop', options.options].filter(Boolean).join(), current, path);
    device = statSync(path).dev;
    if (device === outside) throw new Error(`nothing is mounted at ${path}`);
  };
  mount();
  return {
    path,
    cut: () => void must('perl', '-e', SHUT_DOWN, path, String(device)),
    repair: () => {
      must('umount', path);
      // 1: errors were corrected.
      const { status, stdout } = spawnSync(findProgram('e2fsck') ?? 'e2fsck', ['-y', current], {
        encoding: 'utf8',
      });
      if (status !== 0 && status !== 1) throw new Error(`e2fsck ended with ${status}: ${stdout}`);
      mount();
    },
    restore: () => {
      const loop = loopOf(path);
      must('umount', path);
      // The dead file system lasts as long as anybody has it: at worst a namespace of somebody else, made meanwhile.
      if (!isLetGo(loop)) {
        copies += 1;
        const copy = `${image} ${copies}`;
        must('cp', '--sparse=always', current, copy);
        current = copy;
      }
      mount();
    },
  };
}

/** The name, such as loop3, of the device that is mounted there. */
function loopOf(path: string): string {
  for (const line of readFileSync('/proc/self/mountinfo', 'utf8').split('\n')) {
    const fields = line.split(' ');
    const source = fields[fields.indexOf('-') + 2] ?? '';
    if (fields[4] === path.replaceAll(' ', '\\040') && source.startsWith('/dev/')) return source.slice(5);
  }
  throw new Error(`nothing is mounted at ${path}`);
}

const PATIENCE = 2_000;

function isLetGo(loop: string): boolean {
  for (const end = Date.now() + PATIENCE; existsSync(`/sys/block/${loop}/loop/backing_file`); )
    if (Date.now() > end) return false;
    else Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
  return true;
}
