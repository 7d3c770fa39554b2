/** What is pending, counted now and then: counting takes longer the more there is. */

import type { Clock } from '../base/clock.ts';
import type { Missing } from './absences.ts';
import type { PendingStore, PendingTotals } from './pending.ts';

/** Milliseconds for which a count is good enough. */
const GOOD_MS = 500;

export interface PendingCountOptions {
  readonly pending: PendingStore;
  /** What is pending and can't come. */
  readonly missing: () => Missing;
  readonly clock: Clock;
}

export class PendingCount {
  readonly #options: PendingCountOptions;
  #last: { readonly at: number; readonly totals: PendingTotals } | undefined;

  constructor(options: PendingCountOptions) {
    this.#options = options;
  }

  get totals(): PendingTotals {
    const { pending, missing, clock } = this.#options;
    const now = clock.monotonic();
    if (this.#last === undefined || now - this.#last.at > GOOD_MS) {
      const [all, lacking] = [pending.totals(), missing()];
      const totals = { ...all, files: all.files - lacking.files, bytes: all.bytes - lacking.bytes };
      this.#last = { at: now, totals };
    }
    return this.#last.totals;
  }

  /** Whether anything is still to be placed that can come. */
  get isPending(): boolean {
    const { files, folders } = this.totals;
    return files + folders > 0;
  }

  /** As status tells it. */
  get told() {
    const { files, bytes, unwanted, unwantedBytes } = this.totals;
    return { pendingFiles: files, pendingBytes: bytes, unwantedFiles: unwanted, unwantedBytes };
  }

  /** Something has changed. */
  forget(): void {
    this.#last = undefined;
  }
}
