/**
 * How often a device takes a new peer ID in a club. It must when a copy of it is about, or when it was put back to an
 * earlier state; but anybody with the club's read-write keys can make it believe that, and each new ID costs everybody a
 * row and a round of updates, and the device a write. So the first is free, and after each one the next takes longer.
 */

export interface MintHistory {
  /** When the last one was taken, nanoseconds since 1970. */
  readonly at: bigint;
  /** How many were taken without a long calm in between. */
  readonly count: number;
}

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const LONGEST_PAUSE_MS = 32 * DAY_MS;
/** After this long without one it begins anew. */
const CALM_MS = 64 * DAY_MS;
/** 2025-01-01: a clock before this was never set. */
const CLOCK_IS_SET = 1_735_689_600n * 1_000_000_000n;

/** What to keep in mind, and whether a new one may be taken. The same history as before: there is nothing to write. */
export interface Minting {
  readonly isDue: boolean;
  readonly history: MintHistory | undefined;
}

/**
 * @param history of the club; undefined: none was ever taken.
 * @param now nanoseconds since 1970, by a clock that may never have been set.
 * @param ran milliseconds since the last one was taken, or since this process began if that is later.
 */
export function mintAgain(history: MintHistory | undefined, now: bigint, ran: number): Minting {
  if (history === undefined) return { isDue: true, history: { at: now, count: 1 } };
  const isDated = history.at >= CLOCK_IS_SET && now >= history.at;
  const elapsed = Math.max(ran, isDated ? Number((now - history.at) / 1_000_000n) : 0);
  if (elapsed >= CALM_MS) return { isDue: true, history: { at: now, count: 1 } };
  const pause = Math.min(LONGEST_PAUSE_MS, HOUR_MS * 2 ** (history.count - 1));
  if (elapsed >= pause) return { isDue: true, history: { at: now, count: history.count + 1 } };
  // The clock was wrong then. Without a date, only the time counts that one process runs: that may never be enough.
  if (!isDated && now >= CLOCK_IS_SET) {
    const at = now - BigInt(Math.floor(ran)) * 1_000_000n;
    return { isDue: false, history: { ...history, at: at < CLOCK_IS_SET ? CLOCK_IS_SET : at } };
  }
  return { isDue: false, history };
}
