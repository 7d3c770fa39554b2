/**
 * Time as somebody lived through it, for limits of age: no jump of the clock lets years pass at once. It goes on while
 * the process runs. Time during which it did not, or slept, is only known by the clock, which may be wrong (a device
 * without a real-time clock starts in 1970, one with an empty battery anywhere): of each such gap a day counts at most.
 */

import type { Clock } from './clock.ts';

/** What is to be kept over a restart. Nanoseconds. */
export interface Lived {
  readonly lived: bigint;
  /** The latest time that the clock has shown, since 1970: what lies before it is no gap. */
  readonly seen: bigint;
}

const LONGEST_GAP = 86_400n * 1_000_000_000n;

export class LivedTime {
  readonly #clock: Clock;
  #state: Lived;
  #at: number;

  constructor(clock: Clock, stored: Lived | undefined) {
    this.#clock = clock;
    this.#state = stored ?? { lived: 0n, seen: clock.now() };
    this.#at = clock.monotonic();
  }

  /** Never goes back; should be asked once a day at least, since what lies between is taken for one gap. */
  now(): Lived {
    const [wall, monotonic] = [this.#clock.now(), this.#clock.monotonic()];
    const ran = BigInt(Math.max(0, Math.floor((monotonic - this.#at) * 1e6)));
    this.#at = monotonic;
    const { lived, seen } = this.#state;
    const gap = wall - seen - ran;
    const missed = gap < 0n ? 0n : gap > LONGEST_GAP ? LONGEST_GAP : gap;
    this.#state = { lived: lived + ran + missed, seen: wall > seen ? wall : seen };
    return this.#state;
  }
}
