/** How much a schedule asks for ahead, and when it may ask at all. */

import type { SourceLimits } from './schedule-source.ts';

export interface ScheduleLimits extends SourceLimits {
  /** Contents known at a time; the caller keeps the rest. */
  readonly contents: number;
  /** A request older than this is also given to an idle source, milliseconds. */
  readonly secondOpinion: number;
  /** Bytes to ask for at a time before the first filter of a source says how many are welcome. */
  readonly firstRange: number;
}

export const SCHEDULE_LIMITS: ScheduleLimits = {
  contents: 1_024,
  requests: 256,
  firstBytes: 2_097_152,
  leastBytes: 131_072,
  mostBytes: 16_777_216,
  patience: 2_000,
  secondOpinion: 5_000,
  firstRange: 65_536,
  stalled: 30_000,
};

/** What the daemon allows over all shares: see `Allowance` of its flows. */
export interface ScheduleAllowance {
  /** Whether one more range may be asked for. */
  mayAsk(): boolean;
  /** Most bytes of a range. */
  readonly piece: number;
}

export const EVERYTHING_ALLOWED: ScheduleAllowance = {
  mayAsk: () => true,
  piece: Number.POSITIVE_INFINITY,
};
