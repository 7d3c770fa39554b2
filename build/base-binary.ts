/** The Node that the single binary is made of: taken from the installed npm package, so nothing is downloaded. */

import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface BaseBinary {
  /** `24.21.0` */
  readonly version: string;
  readonly file: string;
  readonly bytes: number;
}

/**
 * Puts the base binary where pkg looks before it downloads: `$HOME/.pkg-cache/sea`, with the marks of a finished
 * download. Only the stripped copy is kept. Stripping saves a fifth and must come before pkg adds its section.
 * @param home a folder of our own that pkg is given as its home.
 */
export function prepareBaseBinary(top: string, home: string, architecture: string): BaseBinary {
  if (architecture !== process.arch)
    throw new Error(
      `no Node for ${architecture} is installed; this build makes binaries for ${process.arch}`,
    );
  const source = join(top, 'node_modules/node/bin/node');
  const version = execFileSync(source, ['--version'], { encoding: 'utf8' }).trim().replace(/^v/, '');
  const name = `node-v${version}-linux-${architecture}`;
  const cache = join(home, '.pkg-cache/sea');
  const folder = join(cache, name, 'bin');
  const file = join(folder, 'node');
  const isFresh = existsSync(`${file}.ok`) && statSync(file).mtimeMs >= statSync(source).mtimeMs;
  if (!isFresh) {
    rmSync(join(cache, name), { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    const unfinished = `${file}.new`;
    copyFileSync(source, unfinished);
    strip(unfinished);
    renameSync(unfinished, file);
    for (const mark of [`${file}.ok`, join(cache, `${name}.tar.gz`), join(cache, `${name}.tar.gz.ok`)])
      writeFileSync(mark, '');
  }
  return { version, file, bytes: statSync(file).size };
}

function strip(file: string): void {
  try {
    execFileSync('strip', [file], { stdio: ['ignore', 'ignore', 'pipe'] });
  } catch (thrown) {
    if ((thrown as { code?: unknown }).code !== 'ENOENT') throw thrown;
    console.warn('strip is not installed (binutils): the binary will be about 18 MB larger');
  }
}
