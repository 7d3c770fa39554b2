/**
 * Vector clocks (database.md, "Conflicts"): which changes of a record a version knows of. A component counts the changes
 * of one author; a missing one is 0. Clocks tick on local changes only: neither sending nor receiving ticks, or two peers
 * that exchange one record would make it newer for ever.
 */

import { MAX_U63 } from '../base/schema.ts';

/** Peer ID to the number of its changes. Never changed once made. */
export type VectorClock = ReadonlyMap<string, bigint>;

export const EMPTY_CLOCK: VectorClock = new Map();

/** Most components of a clock that we take or make: a club of thousands of peers still fits. */
export const MAX_CLOCK_ENTRIES = 4_096;

/** The draft's `before`: everything that `a` knows of, `b` knows of too. True for equal clocks. */
export function isBefore(a: VectorClock, b: VectorClock): boolean {
  for (const [peer, count] of a) if (count > (b.get(peer) ?? 0n)) return false;
  return true;
}

export type ClockRelation = 'equal' | 'before' | 'after' | 'concurrent';

/** How `a` lies to `b`. */
export function compareClocks(a: VectorClock, b: VectorClock): ClockRelation {
  const before = isBefore(a, b);
  const after = isBefore(b, a);
  if (before && after) return 'equal';
  return before ? 'before' : after ? 'after' : 'concurrent';
}

/** Knows what either knows: the component-wise maximum. */
export function mergeClocks(a: VectorClock, b: VectorClock): VectorClock {
  if (isBefore(b, a)) return a;
  if (isBefore(a, b)) return b;
  const merged = new Map(a);
  for (const [peer, count] of b) if (count > (merged.get(peer) ?? 0n)) merged.set(peer, count);
  return merged;
}

/**
 * A clock after this one, by one change of `peer`. A hostile member can fill a clock to its last entry or its last
 * number; then another component is ticked instead, so that the record can still be changed: the result is after
 * `clock` unless each of 4096 components stands at 2^63-1.
 */
export function advance(clock: VectorClock, peer: string): VectorClock {
  const count = clock.get(peer);
  if (count === undefined ? clock.size < MAX_CLOCK_ENTRIES : count < MAX_U63) {
    return new Map(clock).set(peer, (count ?? 0n) + 1n);
  }
  const free = [...clock.keys()].sort().find((other) => clock.get(other)! < MAX_U63);
  return free === undefined ? clock : new Map(clock).set(free, clock.get(free)! + 1n);
}
