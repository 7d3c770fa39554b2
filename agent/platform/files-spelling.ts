/**
 * Where a file system ignores case, it answers to names that stand in no directory. This tells the one that does.
 */

import fs from 'node:fs';
import { isAbsent, lstat } from './files-calls.ts';
import { type Directories, nameOf, parentOf } from './files-directories.ts';
import { decodeName } from './files-list.ts';
import { STATE_FOLDER } from './files-names.ts';

/** Milliseconds for which a listing may be asked again. */
const FRESH_MS = 200;

interface Listing {
  readonly directory: string;
  readonly at: number;
  readonly names: ReadonlySet<string>;
}

export class Spelling {
  readonly #directories: Directories;
  #ignoresCase = false;
  #last: Listing | undefined;

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

  /** Whether the path's directory shows exactly its name. */
  async isExact(path: string): Promise<boolean> {
    const directory = parentOf(path);
    const name = nameOf(path);
    const last = this.#last;
    const isFresh = last?.directory === directory && performance.now() - last.at < FRESH_MS;
    // A name that came since is asked for anew.
    if (isFresh && last.names.has(name)) return true;
    const at = performance.now();
    const raw = await this.#directories.use(directory, (handle) =>
      fs.promises.readdir(handle.prefix, { encoding: 'latin1' }),
    );
    const names = new Set(raw.flatMap((bytes) => decodeName(bytes) ?? []));
    this.#last = { directory, at, names };
    return names.has(name);
  }
}
