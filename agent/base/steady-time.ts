/**
 * Whether the clock on the wall can be relied upon. Devices without a clock of their own start in 1970, and others come out
 * of the workshop with any date: what is granted or told by the date waits until it has been sane, and has not jumped, for
 * a while.
 */

import type { Clock } from './clock.ts';

/** 2020-01-01, nanoseconds since 1970: nothing of ours was there before. */
const SANE = 1_577_836_800_000_000_000n;
/** Milliseconds without a jump, after which it is believed. */
const SETTLED_MS = 600_000;
/** What it may gain or lose between two looks, milliseconds. */
const TOLERANCE_MS = 60_000;

export function isSane(time: bigint): boolean {
  return time >= SANE;
}

export class SteadyTime {
  readonly #clock: Clock;
  /** Monotonic milliseconds since when it goes as it should; undefined: it is not sane. */
  #since: number | undefined;
  /** The wall clock less the monotonic one, milliseconds, at the last look. */
  #offset: number | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Nanoseconds since 1970, if that can be relied upon. To be called at least every few minutes. */
  now(): bigint | undefined {
    const [now, monotonic] = [this.#clock.now(), this.#clock.monotonic()];
    const offset = Number(now / 1_000_000n) - monotonic;
    const hasJumped = this.#offset === undefined || Math.abs(offset - this.#offset) > TOLERANCE_MS;
    this.#offset = offset;
    if (!isSane(now)) this.#since = undefined;
    else if (hasJumped) this.#since = monotonic;
    this.#since ??= isSane(now) ? monotonic : undefined;
    return this.#since !== undefined && monotonic - this.#since >= SETTLED_MS ? now : undefined;
  }
}
