/**
 * Where a file system ignores case, it answers to names that stand in no directory. This tells the one that does.
 */

import fs from 'node:fs';
import { isAbsent, lstat } from './files-calls.ts';
import type { Directories } from './files-directories.ts';
import { decodeName } from './files-list.ts';
import { STATE_FOLDER } from './files-names.ts';

/**
 * Milliseconds for which a listing may be asked again: less than a change is left alone before it is looked at, so that
 * no listing is older than the change.
 */
const FRESH_MS = 50;

/** Listings that are kept for that long. */
const MAX_LISTINGS = 64;

interface Listing {
  readonly at: number;
  readonly names: ReadonlySet<string>;
}

export class Spelling {
  readonly #directories: Directories;
  #ignoresCase = false;
  readonly #listings = new Map<string, Listing>();

  constructor(directories: Directories) {
    this.#directories = directories;
  }

  get ignoresCase(): boolean {
    return this.#ignoresCase;
  }

  /** Finds out by our own state folder, once there is one. */
  async learn(): Promise<void> {
    const other = STATE_FOLDER.toUpperCase();
    this.#ignoresCase = await this.#directories.use('/', async (root) => {
      try {
        await lstat(root.prefix + other);
        return !(await fs.promises.readdir(root.prefix)).includes(other);
      } catch (thrown) {
        if (isAbsent(thrown)) return false;
        throw thrown;
      }
    });
  }

  /** We have renamed something ourselves. */
  forget(): void {
    this.#listings.clear();
  }

  /** Whether the directories on the way to the path, and the last one, show exactly its names. */
  async isExact(path: string): Promise<boolean> {
    let directory = '/';
    for (const name of path.slice(1).split('/')) {
      if (!(await this.#shows(directory, name))) return false;
      directory = directory === '/' ? `/${name}` : `${directory}/${name}`;
    }
    return true;
  }

  async #shows(directory: string, name: string): Promise<boolean> {
    const last = this.#listings.get(directory);
    // A name that came since is asked for anew.
    if (last?.names.has(name) && performance.now() - last.at < FRESH_MS) return true;
    const at = performance.now();
    const raw = await this.#directories.use(directory, (handle) =>
      fs.promises.readdir(handle.prefix, { encoding: 'latin1' }),
    );
    const names = new Set(raw.flatMap((bytes) => decodeName(bytes) ?? []));
    if (this.#listings.size >= MAX_LISTINGS) this.#listings.clear();
    this.#listings.set(directory, { at, names });
    return names.has(name);
  }
}
