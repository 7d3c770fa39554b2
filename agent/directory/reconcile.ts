/**
 * Does what pending records ask for without contents from elsewhere: makes folders, renames files, sets their mode and
 * time, takes away what was deleted. Folders first, then what moves, then what goes, so that what is needed is still
 * there.
 */

import type { Clock } from '../base/clock.ts';
import { asError, errorCode } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { BackoffTimer } from './backoff-timer.ts';
import type { PendingKind, PendingRow, PendingStore } from './pending.ts';
import type { Placer } from './place.ts';
import { isOfOneFile } from './troubles.ts';

export interface ReconcilerOptions {
  readonly pending: PendingStore;
  readonly placer: Placer;
  readonly clock: Clock;
  readonly log: Logger;
  readonly mayPlace: () => boolean;
  /** False while folders without a record are still to be looked at (joining). */
  readonly mayTidy: () => boolean;
  /** The disk refused something. */
  readonly onTrouble: (error: Error) => void;
  readonly onPlaced: () => void;
}

const KINDS: readonly PendingKind[] = ['folder', 'here', 'removal', 'folder_removal'];
/** Rows in a portion; all of it is done at the same time. */
const PORTION = 128;
/** For what is in each other's way, or is just being changed by the owner. */
const RETRY_BACKOFF = { first: 200, longest: 60_000 };
const TROUBLE_BACKOFF = { first: 2_000, longest: 60_000 };

export class Reconciler {
  readonly #options: ReconcilerOptions;
  readonly #retry: BackoffTimer;
  readonly #trouble: BackoffTimer;
  #running: Promise<void> | undefined;
  #mustRunAgain = false;
  #isPaused = false;
  #isClosed = false;

  constructor(options: ReconcilerOptions) {
    this.#options = options;
    this.#retry = new BackoffTimer(options.clock, RETRY_BACKOFF, () => this.wake());
    this.#trouble = new BackoffTimer(options.clock, TROUBLE_BACKOFF, () => this.wake());
  }

  /** Something may have become pending. */
  wake(): void {
    if (this.#running !== undefined) {
      this.#mustRunAgain = true;
      return;
    }
    if (!this.#mayRun) return;
    this.#mustRunAgain = false;
    this.#running = this.#run()
      .catch((thrown: unknown) => this.#onTrouble(thrown))
      .finally(() => {
        this.#running = undefined;
        if (this.#mustRunAgain) this.wake();
      });
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    this.wake();
  }

  /** Resolves when nothing runs; what is blocked may be tried again later. */
  async idle(): Promise<void> {
    while (this.#running !== undefined) await this.#running;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#retry.cancel();
    this.#trouble.cancel();
    await this.idle();
  }

  get #mayRun(): boolean {
    return !this.#isPaused && !this.#isClosed && !this.#trouble.isRunning && this.#options.mayPlace();
  }

  /** @throws what the database threw. */
  async #run(): Promise<void> {
    // The rest of this turn may bring more.
    await new Promise<void>((resolve) => setImmediate(resolve));
    let [done, blocked] = [0, 0];
    for (const kind of KINDS) {
      let after = { rank: Number.MIN_SAFE_INTEGER, id: 0n };
      while (this.#mayRun) {
        const rows = this.#options.pending.first(kind, PORTION, after);
        const last = rows.at(-1);
        if (last === undefined) break;
        after = { rank: last.rank, id: last.id };
        const outcomes = await Promise.all(rows.map((row) => this.#apply(row)));
        for (const isDone of outcomes) {
          if (isDone) done += 1;
          else blocked += 1;
        }
      }
    }
    if (this.#mayRun && this.#options.mayTidy()) await this.#options.placer.tidy();
    if (done > 0) {
      this.#retry.reset();
      this.#options.onPlaced();
    }
    if (blocked > 0 && !this.#isClosed) this.#retry.start();
  }

  async #apply({ uuid }: PendingRow): Promise<boolean> {
    try {
      return (await this.#options.placer.apply(uuid)) !== 'blocked';
    } catch (thrown) {
      this.#onTrouble(thrown);
      return false;
    }
  }

  #onTrouble(thrown: unknown): void {
    if (this.#isClosed) return;
    const error = asError(thrown);
    this.#options.log.debug('a change could not be made', { code: errorCode(thrown), error });
    this.#options.onTrouble(error);
    if (!isOfOneFile(errorCode(thrown))) this.#trouble.start();
  }
}
