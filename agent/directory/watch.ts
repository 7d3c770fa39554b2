/**
 * The kernel's word on which directories changed, for a whole tree: one watch for each directory (Linux has no recursive
 * ones), about 2.3 KB and 6 microseconds each. What can't be watched is told, so that it is looked at by the clock.
 */

import { errorCode } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { type DirectoryWatch, onWatchOverflow, parentOf, type ShareRoot } from '../platform/files.ts';
import { joinPath } from './paths.ts';

export interface TreeWatchOptions {
  readonly root: ShareRoot;
  readonly log: Logger;
  /** Most directories to watch. Default 10,000: 23 MB. */
  readonly limit?: number;
  /** Something about this local path changed: contents, attributes, or whether it is there. */
  readonly onChange: (path: string) => void;
  /** Something directly in this directory changed, and nobody knows what. */
  readonly onUncertain: (directory: string) => void;
  /** Changes anywhere may have gone unseen. */
  readonly onLost: () => void;
}

export interface TreeWatch {
  /**
   * Watches the directory at a local path; watching it already is fine. After an uncertain event it is watched anew, since
   * another directory may be in its place. Never throws: see `isComplete`.
   */
  add(path: string): Promise<void>;
  /** Whether the directory was added, watched or not. */
  has(path: string): boolean;
  /** The directory, and everything below it, is no longer there. */
  remove(path: string): void;
  /** False while any directory that was added could not be watched. */
  readonly isComplete: boolean;
  /** How many could not be, since the system refused. */
  readonly refused: number;
  /** Directories that are watched. */
  readonly size: number;
  close(): void;
}

const DEFAULT_LIMIT = 10_000;

export function openTreeWatch(options: TreeWatchOptions): TreeWatch {
  return new InotifyTree(options);
}

class InotifyTree implements TreeWatch {
  readonly #options: TreeWatchOptions;
  readonly #limit: number;
  readonly #watches = new Map<string, DirectoryWatch>();
  /** Something happened to the watched directory itself: it may have been removed or moved, and its watch with it. */
  readonly #doubtful = new Set<string>();
  /** Directories that should be watched and are not. */
  readonly #unwatched = new Set<string>();
  /** The directories in a directory, of all that were added. */
  readonly #inside = new Map<string, Set<string>>();
  readonly #stopListening: () => void;
  #hasWarned = false;
  #isRefused = false;
  #isClosed = false;

  constructor(options: TreeWatchOptions) {
    this.#options = options;
    this.#limit = options.limit ?? DEFAULT_LIMIT;
    this.#stopListening = onWatchOverflow(() => {
      options.log.warn('more happened in the folder than the system could tell; looking at all of it');
      options.onLost();
    });
  }

  get isComplete(): boolean {
    return this.#unwatched.size === 0;
  }

  get refused(): number {
    return this.#isRefused ? this.#unwatched.size : 0;
  }

  get size(): number {
    return this.#watches.size;
  }

  async add(path: string): Promise<void> {
    const old = this.#watches.get(path);
    if (this.#isClosed || (old !== undefined && !this.#doubtful.delete(path))) return;
    if (old === undefined && this.#watches.size >= this.#limit) {
      this.#giveUp(path, `more than ${this.#limit} folders`);
      return;
    }
    try {
      const watch = await this.#options.root.watch(path, (name) => this.#onEvent(path, name));
      // Another call, or the end, may have come first.
      if (this.#isClosed || this.#watches.get(path) !== old) watch.close();
      else {
        old?.close();
        this.#watches.set(path, watch);
        this.#unwatched.delete(path);
        if (this.isComplete) this.#isRefused = false;
        this.#note(path);
      }
    } catch (thrown) {
      const code = errorCode(thrown);
      // It has gone again: somebody will tell us so.
      if (code === 'files.absent' || code === 'files.symlink') return;
      if (code === 'files.too_many_watches') this.#isRefused = true;
      this.#giveUp(path, thrown instanceof Error ? thrown.message : String(thrown));
    }
  }

  has(path: string): boolean {
    return this.#watches.has(path) || this.#unwatched.has(path);
  }

  remove(path: string): void {
    for (const inner of this.#inside.get(path) ?? []) this.remove(inner);
    this.#inside.delete(path);
    this.#inside.get(parentOf(path))?.delete(path);
    this.#watches.get(path)?.close();
    this.#watches.delete(path);
    this.#doubtful.delete(path);
    this.#unwatched.delete(path);
  }

  close(): void {
    this.#isClosed = true;
    this.#stopListening();
    for (const watch of this.#watches.values()) watch.close();
    this.#watches.clear();
    this.#unwatched.clear();
    this.#inside.clear();
  }

  #note(path: string): void {
    if (path === '/') return;
    const siblings = this.#inside.get(parentOf(path));
    if (siblings === undefined) this.#inside.set(parentOf(path), new Set([path]));
    else siblings.add(path);
  }

  #onEvent(directory: string, name: string | undefined): void {
    if (this.#isClosed) return;
    if (name === undefined) {
      this.#doubtful.add(directory);
      this.#options.onUncertain(directory);
    } else this.#options.onChange(joinPath(directory, name));
  }

  #giveUp(path: string, why: string): void {
    this.#unwatched.add(path);
    this.#note(path);
    if (this.#hasWarned) return;
    this.#hasWarned = true;
    this.#options.log.warn('not every folder can be watched; those are looked at from time to time', {
      path,
      why,
    });
  }
}
