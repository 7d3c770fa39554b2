/** How long contents that are still to come will take, from how fast they came lately. */

import type { Clock } from '../base/clock.ts';

/** What came so long ago counts for a third, milliseconds: long enough that one slow file does not change much. */
const WINDOW_MS = 30_000;
/** After so long without a byte, nobody can tell any more, milliseconds. */
const SILENCE_MS = 30_000;
/** With less of it, what was seen says too little, milliseconds. */
const LEAST_MS = 1_500;

export class TimeLeft {
  readonly #clock: Clock;
  /** Bytes, and the milliseconds in which they came, both the lighter the longer ago. */
  #bytes = 0;
  #time = 0;
  #at: number;
  #lastByteAt = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#at = clock.monotonic();
  }

  /** Bytes of contents came. */
  came(bytes: number): void {
    const now = this.#clock.monotonic();
    // A new beginning: the time in which nobody sent anything says nothing about how fast it goes.
    if (now - this.#lastByteAt > SILENCE_MS) {
      this.#bytes = 0;
      this.#time = 0;
      this.#at = now;
    }
    this.#fade(now);
    this.#bytes += bytes;
    this.#lastByteAt = now;
  }

  /** Seconds, at least 1; undefined if it can't be told: nothing comes, or not for long enough. */
  of(pending: bigint): number | undefined {
    const now = this.#clock.monotonic();
    if (pending <= 0n || now - this.#lastByteAt > SILENCE_MS) return undefined;
    this.#fade(now);
    if (this.#time < LEAST_MS || this.#bytes <= 0) return undefined;
    return Math.max(1, Math.round(Number(pending) / ((this.#bytes / this.#time) * 1_000)));
  }

  #fade(now: number): void {
    const factor = Math.exp((this.#at - now) / WINDOW_MS);
    // The time that has passed counts as it fades, too.
    this.#time = this.#time * factor + WINDOW_MS * (1 - factor);
    this.#bytes *= factor;
    this.#at = now;
  }
}
