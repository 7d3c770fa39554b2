/** What a folder holds, in a form that can be compared: names as bytes, modes, times and contents. */

import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { lstat, readdir } from 'node:fs/promises';

const SLASH = Buffer.from('/');

export interface TreeOptions {
  /** Modification times of files are compared too, to the microsecond. */
  readonly times?: boolean;
}

async function hashOf(path: Buffer): Promise<string> {
  const hash = createHash('sha256');
  for await (const piece of createReadStream(path)) hash.update(piece);
  return hash.digest('hex');
}

/** One entry a line, sorted; names that start with a dot and belong to the agent are left out. */
export async function treeOf(folder: string, options: TreeOptions = {}): Promise<string[]> {
  for (let tries = 0; ; tries++) {
    try {
      return await listTree(folder, options);
    } catch (thrown) {
      // A file went while it was looked at: what is asked for is the tree at one moment.
      if ((thrown as NodeJS.ErrnoException).code !== 'ENOENT' || tries === 50) throw thrown;
    }
  }
}

async function listTree(folder: string, options: TreeOptions): Promise<string[]> {
  const lines: string[] = [];
  const visit = async (path: Buffer, shown: string): Promise<void> => {
    for (const name of await readdir(path, { encoding: 'buffer' })) {
      const text = name.toString('utf8');
      if (text.startsWith('.clearskies') || text.endsWith('.!clearsky')) continue;
      const child = Buffer.concat([path, SLASH, name]);
      const stats = await lstat(child, { bigint: true });
      const mode = (stats.mode & 0o777n).toString(8);
      const label = JSON.stringify(`${shown}/${text}`);
      if (stats.isDirectory()) {
        lines.push(`${label} folder ${mode}`);
        await visit(child, `${shown}/${text}`);
      } else if (stats.isFile()) {
        const time = options.times ? ` ${stats.mtimeNs / 1_000n}` : '';
        lines.push(`${label} ${stats.size} ${mode} ${await hashOf(child)}${time}`);
      } else lines.push(`${label} special`);
    }
  };
  await visit(Buffer.from(folder), '');
  return lines.sort();
}

/** True when both hold the same; while files come and go, false. */
export async function sameTree(a: string, b: string, options: TreeOptions = {}): Promise<boolean> {
  try {
    const [left, right] = await Promise.all([treeOf(a, options), treeOf(b, options)]);
    return left.length === right.length && left.every((line, i) => line === right[i]);
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw thrown;
  }
}
