/**
 * Removes what `records.db` has of clubs that were left: in small steps, beside everything else, and after a crash from
 * where it was, since it looks for what is there and not for what it had in mind.
 */

import { type Clock, sleep } from '../base/clock.ts';
import { asError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { clubsWithRecords, forgetSomeOfClub } from '../database/forget.ts';
import { clubsWithShares, forgetSomeOfShare } from '../directory/forget.ts';
import type { Sqlite } from '../platform/sqlite.ts';

export interface ForgettingOptions {
  readonly sqlite: Sqlite;
  /** Whether we are a member, or still have something of the club open. */
  readonly isNeeded: (club: string) => boolean;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Rows of one step, and the pause behind it, milliseconds. */
const STEP_ROWS = 500;
const PAUSE_MS = 5;

export class Forgetting {
  readonly #options: ForgettingOptions;
  readonly #stopping = new AbortController();
  #work: Promise<void> | undefined;
  #isAskedAgain = false;

  constructor(options: ForgettingOptions) {
    this.#options = options;
  }

  /** Looks for what is not needed any more. Returns at once; what fails is tried again the next time. */
  begin(): void {
    this.#isAskedAgain = true;
    this.#work ??= this.#run();
  }

  /** Stops after the step at which it is. */
  async close(): Promise<void> {
    this.#stopping.abort();
    await this.#work;
  }

  async #run(): Promise<void> {
    const { log } = this.#options;
    // Never inside of what called: that has other things to do first.
    await Promise.resolve();
    try {
      while (this.#isAskedAgain && !this.#stopping.signal.aborted) {
        this.#isAskedAgain = false;
        for (const club of this.#unneeded()) await this.#forget(club);
      }
    } catch (thrown) {
      if (this.#stopping.signal.aborted) return;
      log.warn('what is known of shares that were left could not be removed', { error: asError(thrown) });
    } finally {
      // In the same turn as the last look: who asks now must find nobody at work.
      this.#work = undefined;
    }
  }

  #unneeded(): ReadonlySet<string> {
    const { sqlite, isNeeded } = this.#options;
    const clubs = [...clubsWithRecords(sqlite), ...clubsWithShares(sqlite)];
    return new Set(clubs.filter((club) => !isNeeded(club)));
  }

  async #forget(club: string): Promise<void> {
    const { sqlite, clock } = this.#options;
    for (const forgetSome of [forgetSomeOfShare, forgetSomeOfClub]) {
      while (forgetSome(sqlite, club, STEP_ROWS)) await sleep(clock, PAUSE_MS, this.#stopping.signal);
    }
  }
}
