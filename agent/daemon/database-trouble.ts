/** The database can't be written: kept in mind for the status, and tried again until it can. */

import type { Clock, Timer } from '../base/clock.ts';
import { describeError, type SkylarkError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { type Backoff, openBackoff } from '../base/retry.ts';

/** Milliseconds between two tries. */
const TRIES = { first: 1_000, longest: 10_000 };

export class DatabaseTrouble {
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #backoff: Backoff = openBackoff(TRIES);
  #current: SkylarkError | undefined;
  #tryToWrite: (() => void) | undefined;
  #timer: Timer | undefined;
  readonly #listeners: (() => void)[] = [];

  constructor(clock: Clock, log: Logger) {
    this.#clock = clock;
    this.#log = log;
  }

  /** Why the last write failed; undefined while all is well. */
  get current(): SkylarkError | undefined {
    return this.#current;
  }

  /** How to find out whether it is over. */
  watch(tryToWrite: () => void): void {
    this.#tryToWrite = tryToWrite;
  }

  /** To be told when it is over. */
  onOver(listener: () => void): void {
    this.#listeners.push(listener);
  }

  /** A write failed. */
  met(error: SkylarkError): void {
    const isNews = this.#current === undefined;
    this.#current = error;
    if (!isNews) return;
    this.#log.error('nothing new can be noted', { why: describeError(error) });
    this.#wait();
  }

  close(): void {
    this.#timer?.cancel();
  }

  #wait(): void {
    this.#timer = this.#clock.after(this.#backoff.next(), () => {
      try {
        this.#tryToWrite?.();
      } catch {
        // It told us itself.
        this.#wait();
        return;
      }
      this.#current = undefined;
      this.#backoff.reset();
      this.#log.info('changes can be noted again');
      for (const listener of this.#listeners) listener();
    });
  }
}
