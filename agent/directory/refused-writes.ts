/**
 * When the database can't take what was found (its disk is full, or fails): that is told, nothing of it counts as done,
 * and the same work is tried again until it succeeds.
 */

import type { Clock, Timer } from '../base/clock.ts';
import { describeError, SkylarkError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { BackoffTimer } from './backoff-timer.ts';
import type { ProblemList } from './problems.ts';

export interface RefusedWritesOptions {
  readonly problems: ProblemList;
  readonly clock: Clock;
  readonly log: Logger;
  /** Finding more is of use again. */
  readonly onFree: () => void;
}

const BACKOFF = { first: 1_000, longest: 60_000 };
/** What was tried again, and not refused for so long, has succeeded, or there was nothing left to write. Milliseconds. */
const CALM_MS = 5_000;

export class RefusedWrites {
  readonly #options: RefusedWritesOptions;
  readonly #timer: BackoffTimer;
  /** By the kind of work. */
  readonly #work = new Map<string, () => void>();
  #calm: Timer | undefined;
  #told: string | undefined;
  #isClosed = false;

  constructor(options: RefusedWritesOptions) {
    this.#options = options;
    this.#timer = new BackoffTimer(options.clock, BACKOFF, () => this.#again());
  }

  /** While it is, there is no use in finding more. */
  get isStuck(): boolean {
    return this.#timer.isRunning;
  }

  /**
   * @param kind of one kind only the last is remembered
   * @param again does the same once more
   * @returns whether it is the database that refused; if not, it is somebody else's business.
   */
  refused(thrown: unknown, kind: string, again: () => void): boolean {
    if (!(thrown instanceof SkylarkError) || thrown.fault !== 'environment') return false;
    const { code, message, remedy } = thrown;
    if (!code.startsWith('sqlite.') || this.#isClosed) return false;
    const { problems, log } = this.#options;
    this.#calm?.cancel();
    this.#calm = undefined;
    if (this.#told !== undefined && this.#told !== code) problems.clear(this.#told);
    if (this.#told === undefined) log.warn('changes can not be noted', { why: describeError(thrown) });
    this.#told = code;
    problems.set({ code, message, remedy, stops: 'everything', count: 0, paths: [] });
    this.#work.set(kind, again);
    this.#timer.start();
    return true;
  }

  /** The database has taken something. */
  worked(): void {
    if (this.#told === undefined || this.isStuck) return;
    this.#timer.reset();
    this.#options.problems.clear(this.#told);
    this.#told = undefined;
    this.#options.log.info('changes are noted again');
  }

  close(): void {
    this.#isClosed = true;
    this.#timer.cancel();
    this.#calm?.cancel();
  }

  #again(): void {
    this.#calm = this.#options.clock.after(CALM_MS, () => this.worked());
    const work = [...this.#work.values()];
    this.#work.clear();
    for (const again of work) again();
    // What has come up meanwhile was only put aside.
    this.#options.onFree();
  }
}
