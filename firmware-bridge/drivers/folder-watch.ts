/** Tells when something changes in the folders of a medium; those beyond the limit are only looked at now and then. */

import type { Clock, Timer } from '../../agent/base/clock.ts';
import type { DirectoryWatch, ShareRoot } from '../../agent/platform/files.ts';

const MAX_WATCHED = 1_000;
/** From a change until it is told: many come together. Milliseconds. */
const GATHER_MS = 200;

export class FolderWatch {
  readonly #root: ShareRoot;
  readonly #clock: Clock;
  readonly #onChange: () => void;
  readonly #watches = new Map<string, DirectoryWatch>();
  #timer: Timer | undefined;
  #isClosed = false;

  constructor(root: ShareRoot, clock: Clock, onChange: () => void) {
    this.#root = root;
    this.#clock = clock;
    this.#onChange = onChange;
  }

  /** Watches what is directly in the folder from now on. What can't be watched is left to the next listing. */
  async add(path: string): Promise<void> {
    if (this.#isClosed || this.#watches.has(path) || this.#watches.size >= MAX_WATCHED) return;
    try {
      const watch = await this.#root.watch(path, () => this.#changed(path));
      if (this.#isClosed) watch.close();
      else this.#watches.set(path, watch);
    } catch {
      // No more watches, or the folder is gone.
    }
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
    for (const watch of this.#watches.values()) watch.close();
    this.#watches.clear();
  }

  #changed(path: string): void {
    // It may have become another folder; the next listing watches what is there then.
    this.#watches.get(path)?.close();
    this.#watches.delete(path);
    this.#timer ??= this.#clock.after(GATHER_MS, () => {
      this.#timer = undefined;
      this.#onChange();
    });
  }
}
