/** Waiting longer and longer, each time by a different amount, so that many devices don't come back in step. */

export interface BackoffLimits {
  /** First wait, milliseconds. */
  readonly first: number;
  /** Longest wait, milliseconds. */
  readonly longest: number;
}

export interface Backoff {
  /** Milliseconds to wait before the next try: uniformly between half and all of first x 2^tries, capped. */
  next(): number;
  /** It worked: start again from the first wait. */
  reset(): void;
}

export function openBackoff(limits: BackoffLimits, random: () => number = Math.random): Backoff {
  let tries = 0;
  return {
    next() {
      const full = Math.min(limits.longest, limits.first * 2 ** Math.min(tries, 30));
      tries += 1;
      return full / 2 + (random() * full) / 2;
    },
    reset() {
      tries = 0;
    },
  };
}
