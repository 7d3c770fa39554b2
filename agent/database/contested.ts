/**
 * When to decide which of two live records keeps a key that both have. Often they are only half of a change: the other
 * record is renamed or deleted by an update that is still on its way. So it is decided only when nothing has arrived for
 * a while. Should the other half come only after that (a connection that broke between the two), there is a copy too many,
 * and nothing lost. The keys in question are stored, so that a restart does not forget them.
 */

import type { Clock, Timer } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import type { Sqlite } from '../platform/sqlite.ts';
import type { Applier } from './apply.ts';
import type { RecordStore } from './store.ts';

/** Nothing must have arrived for this long. */
const QUIET_MS = 1_000;
/** But a peer that never stops sending can't put it off any longer than this. */
const LONGEST_WAIT_MS = 30_000;
/** Keys that are decided in one transaction. */
const AT_ONCE = 128;

export interface ContestedOptions {
  readonly sqlite: Sqlite;
  readonly store: RecordStore;
  readonly applier: Applier;
  readonly clock: Clock;
  readonly log: Logger;
}

export class ContestedKeys {
  readonly #options: ContestedOptions;
  #lastArrival = Number.NEGATIVE_INFINITY;
  #waitingSince: number | undefined;
  #timer: Timer | undefined;
  #closed = false;

  constructor(options: ContestedOptions) {
    this.#options = options;
  }

  /** What an earlier run left behind. */
  start(): void {
    if (this.#options.store.contested(1).length > 0) this.decideLater();
  }

  /** A version came from a peer: there may be more. */
  arrived(): void {
    this.#lastArrival = this.#options.clock.monotonic();
  }

  decideLater(): void {
    if (this.#closed) return;
    this.#waitingSince ??= this.#options.clock.monotonic();
    this.#timer ??= this.#options.clock.after(QUIET_MS, () => this.#decide());
  }

  #decide(): void {
    this.#timer = undefined;
    const { clock, sqlite, store, applier, log } = this.#options;
    const now = clock.monotonic();
    const quietFor = now - this.#lastArrival;
    if (quietFor < QUIET_MS && now - (this.#waitingSince ?? now) < LONGEST_WAIT_MS) {
      this.#timer = clock.after(QUIET_MS - quietFor, () => this.#decide());
      return;
    }
    try {
      sqlite.transaction(() => {
        for (const key of store.contested(AT_ONCE)) applier.resolveKey(key);
      });
    } catch (error) {
      log.error('could not decide which record keeps a key; trying again later', { error: String(error) });
      this.#timer = clock.after(LONGEST_WAIT_MS, () => this.#decide());
      return;
    }
    if (this.#closed) return;
    // There were more, or copies have met other records at their keys.
    if (store.contested(1).length > 0) this.#timer ??= clock.after(0, () => this.#decide());
    else this.#waitingSince = undefined;
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }
}
