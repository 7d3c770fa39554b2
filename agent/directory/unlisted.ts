/** Folders that the disk did not give when they were scanned: tried again by themselves, longer each time. */

import type { Clock } from '../base/clock.ts';
import { BackoffTimer } from './backoff-timer.ts';

export interface UnlistedOptions {
  readonly clock: Clock;
  /** Lists the folder (a path of the share) and what is below it. */
  readonly scan: (path: string) => void;
  /** It was listed at last. */
  readonly onListed: (localPath: string) => void;
}

const RETRY = { first: 1_000, longest: 60_000 };
/** Beyond these the next scan of everything finds out. */
const MAX_REMEMBERED = 1_000;
/** What may be over soon. Who may not enter a folder may not a minute later, and a change of that is told. */
const PASSING: ReadonlySet<string> = new Set([
  'files.io',
  'files.no_space',
  'files.too_many_open',
  'files.failed',
]);

export class Unlisted {
  readonly #options: UnlistedOptions;
  /** Whether it may be over soon. */
  readonly #paths = new Map<string, boolean>();
  readonly #timer: BackoffTimer;

  constructor(options: UnlistedOptions) {
    this.#options = options;
    this.#timer = new BackoffTimer(options.clock, RETRY, () => {
      for (const [path, isPassing] of [...this.#paths]) if (isPassing) options.scan(path);
    });
  }

  /** @param failure undefined: it was listed, or is gone */
  listed(path: string, localPath: string, failure: string | undefined): void {
    if (failure === undefined) {
      if (!this.#paths.delete(path)) return;
      this.#options.onListed(localPath);
      if (this.#paths.size === 0) this.#timer.reset();
      return;
    }
    if (this.#paths.size >= MAX_REMEMBERED) return;
    const isPassing = PASSING.has(failure);
    this.#paths.set(path, isPassing);
    if (isPassing) this.#timer.start();
  }

  /** That a folder is there, and what it is, says nothing about what is in it. */
  has(path: string): boolean {
    return this.#paths.has(path);
  }

  close(): void {
    this.#timer.cancel();
  }
}
