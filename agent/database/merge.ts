/**
 * What becomes of a record when a version of it arrives, and what is made for a version that loses. Pure functions:
 * every peer that sees the same versions, in whatever order, comes to the same current version and the same copies.
 *
 * A version never changes on its way: peers pass it on with the clock that its author gave it. What a peer has merged is
 * kept beside the current version (`seen`), and goes out as part of the clock of the next change that is made here. So
 * whoever holds the losing version of a conflict finds the conflict by itself and keeps a copy, before the winner takes
 * the place; it need not trust that someone else's copy will arrive. It also means that a signature stays valid for ever,
 * and that nothing has to be sent again because a clock has grown.
 *
 * Why all peers agree: an author's `update_time` is later than that of what it replaces, so a version is larger than all
 * that it descends from, and the current one is simply the largest version that was ever received. Peers which break
 * that rule can bring two others to disagree until the next change of the record; each then has a copy of the other's.
 */

import { toHex, utf8 } from '../base/bytes.ts';
import { isJsonObject, type Json, jsonObject } from '../base/json.ts';
import { formatTimestamp, parseTimestamp } from '../base/timestamp.ts';
import { sha256 } from '../crypto/hash.ts';
import { compareVersions, haveSameContents, isSameChange, type Known, type Version } from './record.ts';
import { advance, compareClocks, isBefore, mergeClocks, type VectorClock } from './vector-clock.ts';

/** `seen` is the record's new clock in each case; it may have grown even if nothing else happened. */
export type Reception =
  /** Nothing new: the same change, or one that the current version descends from or has already won against. */
  | { readonly kind: 'ignored'; readonly seen: VectorClock }
  /** The incoming version is the current one now, made by someone who had seen what it replaces. */
  | { readonly kind: 'replaced'; readonly seen: VectorClock }
  /** Neither author knew of the other's change. */
  | {
      readonly kind: 'merged';
      readonly winner: 'current' | 'incoming';
      /** What would be gone without a copy, if anything. Whether it is worth one is for the application to say. */
      readonly loser: Version | undefined;
      readonly seen: VectorClock;
    };

/** A version arrives, from another peer or from a local writer. */
export function receive(current: Known | undefined, incoming: Version): Reception {
  if (current === undefined) return { kind: 'replaced', seen: incoming.vectorClock };
  const { version } = current;
  const seen = mergeClocks(current.seen, incoming.vectorClock);
  if (isSameChange(version, incoming) && haveSameContents(version, incoming))
    return { kind: 'ignored', seen };

  const relation = compareClocks(incoming.vectorClock, version.vectorClock);
  if (relation === 'before') return { kind: 'ignored', seen };
  const wins = compareVersions(incoming, version) > 0;
  if (relation === 'equal') return receiveTwin(current, incoming, wins);
  // What has lost before loses again. If it is larger, it was a twin of it that has lost.
  if (!wins && isBefore(incoming.vectorClock, current.seen)) return { kind: 'ignored', seen };
  if (relation === 'after') return { kind: 'replaced', seen };
  return wins
    ? { kind: 'merged', winner: 'incoming', loser: lossOf(version, incoming, incoming.vectorClock), seen }
    : { kind: 'merged', winner: 'current', loser: lossOf(incoming, version, current.seen), seen };
}

/**
 * Two versions with one clock. Usually one derived version by two makers (see `conflictCopy`): then either will do. With
 * different contents, one peer ID is used by two machines, and neither has seen what the other one did.
 */
function receiveTwin({ version, seen }: Known, incoming: Version, wins: boolean): Reception {
  const loser = wins ? version : incoming;
  if (haveSameContents(version, incoming) || loser.deleted)
    return { kind: wins ? 'replaced' : 'ignored', seen };
  return { kind: 'merged', winner: wins ? 'incoming' : 'current', loser, seen };
}

/**
 * The loser of two concurrent versions, if its contents would be gone.
 * @param known what is known on the winner's side.
 */
function lossOf(loser: Version, winner: Version, known: VectorClock): Version | undefined {
  if (loser.deleted || haveSameContents(loser, winner) || knowsChange(known, loser)) return undefined;
  // The author of a displacement does not tick its own component, so nothing is learned from that of a deletion.
  if (!winner.deleted && knowsChange(loser.vectorClock, winner)) return undefined;
  return loser;
}

/**
 * Whether a clock contains the last change of a version. Implementations that follow the draft to the letter also tick
 * when they send and receive, which makes clocks look concurrent that are not; the author's own component is exact.
 */
function knowsChange(clock: VectorClock, { lastUpdatedBy, vectorClock }: Version): boolean {
  const own = vectorClock.get(lastUpdatedBy) ?? 0n;
  return isBefore(vectorClock, clock) || (own > 0n && (clock.get(lastUpdatedBy) ?? 0n) >= own);
}

/** Which of two live records keeps a key that both have. Negative if `a` has to give way. */
export function compareForKey(a: Version, b: Version): number {
  return compareVersions(a, b) || (a.uuid < b.uuid ? -1 : 1);
}

/** What the application decides about conflicts. Must be pure functions, the same on every peer. */
export interface ConflictPolicy {
  /** Whether a copy of the loser should be kept. Asked only for live losers with other contents than the winner's. */
  isConflictWorthy(loser: Version, winner: Version): boolean;
  /** The key of the copy, different from `key`. `mark` is eight characters of a-z and 2-7. */
  conflictKey(key: string, mark: string): string;
}

/** A version that still lacks its author and revision. */
export type Derived = Omit<Version, 'lastUpdatedBy' | 'lastUpdatedRev'>;

/**
 * The conflict copy of a loser: a record of its own, the same on every peer but for who made it. Its clock has one
 * component, named as the record itself, so that copies made by several peers are one version and not a conflict,
 * and whoever edits or deletes the copy does so for all of them, also for those that are only made later.
 */
export function conflictCopy(loser: Version, policy: ConflictPolicy): Derived {
  const { uuid, mark } = identify(loser);
  return {
    uuid,
    key: policy.conflictKey(loser.key, mark),
    value: withSource(loser.value, loser.uuid),
    deleted: false,
    updateTime: loser.updateTime,
    vectorClock: new Map([[uuid, 1n]]),
  };
}

/**
 * The deletion of a live record which has to give its key to another one. The same on every peer that sees the same
 * loser: its clock is the loser's with one component of its own, its time the next nanosecond, so that a change which
 * the loser's owner makes meanwhile is later and brings the record back.
 */
export function displacement(loser: Version): Derived {
  return {
    uuid: loser.uuid,
    key: loser.key,
    value: loser.value,
    deleted: true,
    updateTime: formatTimestamp(parseTimestamp(loser.updateTime) + 1n),
    vectorClock: advance(loser.vectorClock, identify(loser).uuid),
  };
}

/** Letters of a mark; each stands for five bits. */
export const MARK_LETTERS = 'abcdefghijklmnopqrstuvwxyz234567';

/**
 * SHA-256 of the text `uuid:last_updated_by:last_updated_rev`: 16 bytes are the uuid, the next 5 the mark in base32. A
 * conflict copy that nobody has changed yet may have several makers; it is `uuid:uuid:1`.
 */
function identify(loser: Version): { uuid: string; mark: string } {
  const { uuid, vectorClock } = loser;
  const isUntouchedCopy = vectorClock.size === 1 && vectorClock.get(uuid) === 1n;
  const change = isUntouchedCopy ? `${uuid}:1` : `${loser.lastUpdatedBy}:${loser.lastUpdatedRev}`;
  const hash = toHex(sha256(utf8(`${uuid}:${change}`)));
  const bits = BigInt(`0x${hash.slice(32, 42)}`);
  const mark = Array.from(
    { length: 8 },
    (_, i) => MARK_LETTERS[Number((bits >> BigInt(35 - 5 * i)) & 31n)],
  ).join('');
  return { uuid: hash.slice(0, 32), mark };
}

/** "The loser's metadata should include the `conflict_source` field" (directory.md). */
function withSource(value: Json, uuid: string): Json {
  if (!isJsonObject(value)) return value;
  return jsonObject([...Object.entries(value), ['conflict_source', uuid]]);
}
