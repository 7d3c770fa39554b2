/** Lengths of time as people write them: `90s`, `15m`, `24h`, `7d`. */

import { userError } from './errors.ts';

const MILLISECONDS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** Milliseconds. @throws SkylarkError (user) `duration.malformed`. Up to nine digits and a unit. */
export function parseDuration(text: string): number {
  const parts = /^(\d{1,9})(ms|s|m|h|d)$/.exec(text);
  if (parts === null)
    throw userError('duration.malformed', 'it must be a number with a unit, such as 90s, 15m, 24h or 7d');
  return Number(parts[1]) * MILLISECONDS[parts[2] as keyof typeof MILLISECONDS];
}

/** In the largest unit that leaves no fraction: `90s`, `24h` rather than `1d`, since that is how it is mostly said. */
export function formatDuration(milliseconds: number): string {
  for (const unit of ['h', 'm', 's'] as const)
    if (milliseconds > 0 && milliseconds % MILLISECONDS[unit] === 0) {
      const amount = milliseconds / MILLISECONDS[unit];
      return unit === 'h' && amount > 48 && amount % 24 === 0 ? `${amount / 24}d` : `${amount}${unit}`;
    }
  return `${milliseconds}ms`;
}
