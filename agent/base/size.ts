/** Amounts of storage as people write them: `500MB`, `2GB`. Decimal, as disks are sold. */

import { userError } from './errors.ts';

const BYTES = { kB: 1_000n, MB: 1_000_000n, GB: 1_000_000_000n, TB: 1_000_000_000_000n } as const;

/** Bytes. @throws SkylarkError (user) `size.malformed`. Up to nine digits and a unit. */
export function parseSize(text: string): bigint {
  const parts = /^(\d{1,9})(kB|MB|GB|TB)$/.exec(text);
  if (parts === null)
    throw userError('size.malformed', 'it must be a number with a unit: kB, MB, GB or TB, such as 500MB');
  return BigInt(parts[1] ?? 0) * BYTES[parts[2] as keyof typeof BYTES];
}

/** In the largest unit that leaves no fraction; rounded up to whole kilobytes. */
export function formatSize(bytes: bigint): string {
  for (const unit of ['TB', 'GB', 'MB'] as const)
    if (bytes > 0n && bytes % BYTES[unit] === 0n) return `${bytes / BYTES[unit]}${unit}`;
  return `${(bytes + 999n) / 1_000n}kB`;
}
