/** What is mounted where, as the kernel tells it (proc(5), `/proc/PID/mountinfo`). */

import { readdir, readFile, realpath, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';

export interface Mount {
  /** Absolute. */
  readonly point: string;
  /** `vfat`, `exfat`, `ext4`... */
  readonly type: string;
  /** `/dev/sda1`, or whatever it was mounted from. */
  readonly source: string;
}

/** Mounts in the order in which they were made: a later one lies over an earlier one at the same point. */
export function parseMountinfo(text: string): Mount[] {
  const mounts: Mount[] = [];
  for (const line of text.split('\n')) {
    // 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
    const [left = '', right = ''] = line.split(' - ', 2);
    const point = left.split(' ')[4];
    const [type, source] = right.split(' ');
    if (point === undefined || type === undefined || source === undefined) continue;
    mounts.push({ point: unescaped(point), type: unescaped(type), source: unescaped(source) });
  }
  return mounts;
}

/** The mount that the path lies on. */
export function mountOf(path: string, mounts: readonly Mount[]): Mount | undefined {
  let found: Mount | undefined;
  for (const mount of mounts) {
    const isAround = mount.point === '/' || path === mount.point || path.startsWith(`${mount.point}/`);
    if (isAround && (found === undefined || mount.point.length >= found.point.length)) found = mount;
  }
  return found;
}

export async function readMounts(): Promise<Mount[]> {
  return parseMountinfo(await readFile('/proc/self/mountinfo', 'utf8'));
}

/** Without links, as far as the path leads to anything. */
export async function realPath(path: string): Promise<string> {
  for (let at = path; at !== '/'; at = dirname(at)) {
    const found = await realpath(at).catch(() => undefined);
    if (found !== undefined) return `${found}${path.slice(at.length)}`;
  }
  return path;
}

/** Tells whether a path still leads to the same directory, without keeping its file system from being unmounted. */
export async function directoryIdentity(path: string): Promise<string | undefined> {
  const found = await stat(path, { bigint: true }).catch(() => undefined);
  return found?.isDirectory() ? `${found.dev}:${found.ino}` : undefined;
}

/** UUID or serial number of a file system on a block device, as udev has noted it; undefined if that is not known. */
export async function fileSystemId(
  device: string,
  folder = '/dev/disk/by-uuid',
): Promise<string | undefined> {
  if (!device.startsWith('/dev/')) return undefined;
  const target = await realpath(device).catch(() => device);
  for (const name of await readdir(folder).catch(() => []))
    if ((await realpath(join(folder, name)).catch(() => undefined)) === target) return name;
  return undefined;
}

/** Spaces and the like are written as backslash and three octal digits. */
function unescaped(text: string): string {
  return text.replaceAll(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}
