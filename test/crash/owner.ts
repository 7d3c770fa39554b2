/** A person at one copy of the share, who writes, overwrites, renames and deletes files, some of it flushed. */

import fs from 'node:fs';
import { dirname, join } from 'node:path';
import { ABSENT, type Ledger, sha256, TORN } from './ledger.ts';
import type { Random } from './random.ts';

export interface OwnerOptions {
  readonly name: string;
  readonly folder: string;
  /** A folder beside the share, on the same file system, where files are made before they are given their name. */
  readonly desk: string;
  readonly ledger: Ledger;
  readonly random: Random;
  /** How many of the changes are flushed; 1 where nothing can be lost. */
  readonly flushed: number;
  /** Bytes of a file at most. */
  readonly largest?: number;
}

const FOLDERS = ['/', '/one/', '/two/', '/one/deep/'];
const NAMES = 6;

export class Owner {
  readonly #options: OwnerOptions;
  #made = 0;

  constructor(options: OwnerOptions) {
    this.#options = options;
    fs.mkdirSync(options.desk, { recursive: true });
    for (const folder of FOLDERS) fs.mkdirSync(join(options.folder, folder), { recursive: true });
  }

  /** One change, in one go: nothing else of this process comes between its steps. */
  act(): void {
    const { random } = this.#options;
    const path = this.#anyPath();
    const isThere = fs.existsSync(this.#at(path));
    const isDurable = random.chance(this.#options.flushed);
    try {
      const change = isThere ? random.of(['overwrite', 'overwrite', 'rename', 'remove'] as const) : 'create';
      if (change === 'create') this.create(path, isDurable);
      else if (change === 'overwrite') this.overwrite(path, isDurable);
      else if (change === 'rename') this.rename(path, this.#anyPath(), isDurable);
      else this.remove(path, isDurable);
    } catch (thrown) {
      // The agent was quicker, or the power is gone.
      const { code } = thrown as NodeJS.ErrnoException;
      if (code !== 'ENOENT' && code !== 'EEXIST' && code !== 'EIO' && code !== 'ENOSPC') throw thrown;
    }
  }

  create(path: string, isDurable: boolean): void {
    const { ledger, random, largest = 300_000 } = this.#options;
    const bytes = ledger.compose(random, random.chance(0.1) ? 10 * largest : largest);
    const draft = this.#draft();
    const file = fs.openSync(draft, 'wx');
    try {
      fs.writeSync(file, bytes);
      if (isDurable) fs.fsyncSync(file);
    } finally {
      fs.closeSync(file);
    }
    try {
      fs.mkdirSync(dirname(this.#at(path)), { recursive: true });
      fs.linkSync(draft, this.#at(path));
    } finally {
      fs.unlinkSync(draft);
    }
    if (isDurable) this.#flushFolders(path);
    this.#touched(path, sha256(bytes), isDurable);
  }

  overwrite(path: string, isDurable: boolean): void {
    const { ledger, random, largest = 300_000 } = this.#options;
    const file = fs.openSync(this.#at(path), 'r+');
    try {
      // What is replaced is what was read: the same open file.
      ledger.giveUp(sha256(fs.readFileSync(file)));
      const bytes = ledger.compose(random, largest);
      this.#touched(path, TORN, false);
      fs.ftruncateSync(file, 0);
      fs.writeSync(file, bytes, 0, bytes.length, 0);
      if (isDurable) fs.fsyncSync(file);
      // It lasts only if the file still has its name: the agent may have replaced it meanwhile.
      const isNamed = fs.statSync(this.#at(path)).ino === fs.fstatSync(file).ino;
      if (isDurable) this.#flushFolders(path);
      this.#touched(path, sha256(bytes), isDurable && isNamed);
    } finally {
      fs.closeSync(file);
    }
  }

  remove(path: string, isDurable: boolean): void {
    const draft = this.#draft();
    fs.renameSync(this.#at(path), draft);
    this.#options.ledger.giveUp(sha256(fs.readFileSync(draft)));
    fs.unlinkSync(draft);
    if (isDurable) this.#flushFolders(path);
    this.#touched(path, ABSENT, isDurable);
  }

  /** By way of the desk, since a rename would replace what has just come to the other name. */
  rename(path: string, to: string, isDurable: boolean): void {
    if (fs.existsSync(this.#at(to))) return;
    const { ledger } = this.#options;
    const draft = this.#draft();
    fs.mkdirSync(dirname(this.#at(to)), { recursive: true });
    fs.renameSync(this.#at(path), draft);
    const sum = sha256(fs.readFileSync(draft));
    ledger.giveUp(sum);
    this.#touched(path, ABSENT, false, to);
    fs.linkSync(draft, this.#at(to));
    fs.unlinkSync(draft);
    if (isDurable) {
      // An overwriting that was not flushed is, now.
      flush(this.#at(to));
      this.#flushFolders(path, to);
    }
    this.#touched(path, ABSENT, isDurable, to);
    this.#touched(to, sum, isDurable);
  }

  #touched(path: string, result: string, isDurable: boolean, together?: string): void {
    this.#options.ledger.touch(path, { side: this.#options.name, result, isDurable }, together);
  }

  #flushFolders(...paths: readonly string[]): void {
    for (const path of paths)
      for (let folder = dirname(path); ; folder = dirname(folder)) {
        flush(this.#at(folder));
        if (folder === '/') break;
      }
    flush(this.#options.desk);
  }

  #anyPath(): string {
    const { random } = this.#options;
    return `${random.of(FOLDERS)}file ${random.below(NAMES)}`;
  }

  #draft(): string {
    return join(this.#options.desk, `draft ${this.#made++}`);
  }

  #at(path: string): string {
    return join(this.#options.folder, path);
  }
}

function flush(path: string): void {
  const file = fs.openSync(path, 'r');
  try {
    fs.fsyncSync(file);
  } finally {
    fs.closeSync(file);
  }
}
