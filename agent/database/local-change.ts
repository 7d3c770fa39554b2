/** How a change that is made here is stamped: its time, its author and its clock. */

import { toHex, utf8 } from '../base/bytes.ts';
import { MAX_U63 } from '../base/schema.ts';
import { formatTimestamp, parseTimestamp } from '../base/timestamp.ts';
import { sha256 } from '../crypto/hash.ts';
import { randomBytes } from '../crypto/random.ts';
import type { Known } from './record.ts';
import { advance, MAX_CLOCK_ENTRIES, type VectorClock } from './vector-clock.ts';

export interface Stamp {
  readonly lastUpdatedBy: string;
  readonly updateTime: string;
  readonly vectorClock: VectorClock;
}

/**
 * @param now nanoseconds since 1970; may be wrong by decades: a change is always later than what it replaces.
 * @param basedOn what the writer had seen; by default everything that is known.
 */
export function stamp(
  self: string,
  now: bigint,
  current: Known | undefined,
  basedOn: VectorClock | undefined,
): Stamp {
  const base = basedOn ?? baseOf(current);
  const author = chooseAuthor(self, current?.seen, base);
  return {
    lastUpdatedBy: author,
    updateTime: formatTimestamp(timeAfter(now, current)),
    vectorClock: advance(base, author),
  };
}

function timeAfter(now: bigint, current: Known | undefined): bigint {
  if (current === undefined) return now;
  const next = parseTimestamp(current.version.updateTime) + 1n;
  return now > next ? now : next;
}

/** What was merged from hostile clocks may be too large for one clock: then only what is current is built upon. */
function baseOf(current: Known | undefined): VectorClock {
  if (current === undefined) return new Map();
  return current.seen.size <= MAX_CLOCK_ENTRIES ? current.seen : current.version.vectorClock;
}

/** Names of ours that are tried before a random one. */
const ALIASES = 16;

/**
 * Usually ourselves. But ticking our own component says that the writer had seen all our changes; if it had not (two
 * writers on this machine, one of them late), or if the component can't grow any more, the change gets another author ID,
 * derived from ours: then it is concurrent to our earlier one, and neither is lost.
 */
function chooseAuthor(self: string, seen: VectorClock | undefined, base: VectorClock): string {
  for (let n = 0; n < ALIASES; n++) {
    const author = n === 0 ? self : alias(self, n);
    const count = base.get(author) ?? 0n;
    if ((seen?.get(author) ?? 0n) <= count && count < MAX_U63) return author;
  }
  return toHex(randomBytes(16));
}

function alias(self: string, n: number): string {
  return toHex(sha256(utf8(`${self}:${n}`)).subarray(0, 16));
}

/**
 * A new record's uuid. Begins with the time, so that records made together lie together in the index: on a card, each
 * page that is touched costs a write. 80 random bits keep those of one millisecond apart.
 */
export function newUuid(now: bigint): string {
  const milliseconds = BigInt.asUintN(48, now / 1_000_000n);
  return milliseconds.toString(16).padStart(12, '0') + toHex(randomBytes(10));
}
