/** Versions of records: what they hold, and the one order that every peer decides conflicts by. */

import { canonicalJson, type Json } from '../base/json.ts';
import { parseTimestamp } from '../base/timestamp.ts';
import type { VectorClock } from './vector-clock.ts';

/** One version of a record, exactly as its author made it. It never changes; another change makes another version. */
export interface Version {
  /** 32 hexadecimal digits. What identifies the record, whatever its key. */
  readonly uuid: string;
  readonly key: string;
  /** Of a deleted record: what it was, if its author says. */
  readonly value: Json;
  readonly deleted: boolean;
  /** Peer ID of the author. */
  readonly lastUpdatedBy: string;
  /** Counts the author's changes to all its records. */
  readonly lastUpdatedRev: bigint;
  /** The exact text of a timestamp. */
  readonly updateTime: string;
  /** What the author knew of, with this change itself. */
  readonly vectorClock: VectorClock;
}

/** A record as the application sees it: the current version, with the clock of all that was merged into it here. */
export interface DatabaseRecord extends Version {}

/** What a peer knows of a record: the current version, and the clock of every version that it has dealt with. */
export interface Known {
  readonly version: Version;
  /** At least the version's own clock. */
  readonly seen: VectorClock;
}

/**
 * Negative if `a` loses against `b`: the order (`update_time`, `last_updated_by`, `last_updated_rev`), times compared as
 * times. Should a broken peer have used one revision for two versions, the contents decide, so that all peers still agree.
 */
export function compareVersions(a: Version, b: Version): number {
  const times = compare(parseTimestamp(a.updateTime), parseTimestamp(b.updateTime));
  if (times !== 0) return times;
  const changes = compare(a.lastUpdatedBy, b.lastUpdatedBy) || compare(a.lastUpdatedRev, b.lastUpdatedRev);
  return changes !== 0 ? changes : compare(contentsOf(a), contentsOf(b));
}

/** The same change of the same record. */
export function isSameChange(a: Version, b: Version): boolean {
  return a.lastUpdatedBy === b.lastUpdatedBy && a.lastUpdatedRev === b.lastUpdatedRev;
}

/** Nobody who only looks at keys and values can tell them apart. */
export function haveSameContents(a: Version, b: Version): boolean {
  if (a.key !== b.key || a.deleted !== b.deleted) return false;
  return a.deleted || canonicalJson(a.value) === canonicalJson(b.value);
}

function contentsOf({ key, value, deleted }: Version): string {
  return canonicalJson([deleted, key, value]);
}

function compare<T extends bigint | string>(a: T, b: T): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
