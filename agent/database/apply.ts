/** Applies the rules of merge.ts to the stored records, inside a transaction. */

import { equalBytes } from '../base/bytes.ts';
import { stringifyJson } from '../base/json.ts';
import type { Logger } from '../base/log.ts';
import {
  type ConflictPolicy,
  compareForKey,
  conflictCopy,
  type Derived,
  displacement,
  receive,
} from './merge.ts';
import { MAX_KEY, MAX_UPDATE, updateBody } from './messages.ts';
import { type DatabaseRecord, haveSameContents, isSameChange, type Known, type Version } from './record.ts';
import type { StoredRecord } from './row-codec.ts';
import type { RecordStore, Signed } from './store.ts';
import { MAX_CLOCK_ENTRIES, type VectorClock } from './vector-clock.ts';

/**
 * Where a change comes from: a local writer, who has it already; a remote peer; or `merge`: a conflict copy or the
 * deletion of a record that had to give way, made here as on every other read-write peer.
 */
export type Origin = 'local' | 'merge' | { readonly peer: string };

export interface Change {
  readonly before: DatabaseRecord | undefined;
  readonly after: DatabaseRecord;
  readonly origin: Origin;
}

export interface ApplyOptions {
  readonly store: RecordStore;
  readonly policy: ConflictPolicy;
  /** Whether we may make records. Who may only read leaves conflicts to the others. */
  readonly writable: boolean;
  readonly self: string;
  readonly log: Logger;
  /** A record has a new current version, at this place in the order of arrival. */
  readonly onChange: (before: Known | undefined, after: Known, origin: Origin, sequence: number) => void;
  /** Two live records have one key. */
  readonly onContested: () => void;
}

export interface Applied {
  /** The record as it is now. */
  readonly known: Known;
  /** Place of the record's current version in the order of arrival. */
  readonly sequence: number;
  /** Whether that is the version which was applied. */
  readonly isCurrent: boolean;
}

/** Digits of 2^63-1. */
const LONGEST_REVISION = 19;
/**
 * Hostile clocks of ever new components must not make a record grow for ever. What is forgotten beyond this many is
 * compared again when it comes again, with the same result.
 */
const MAX_SEEN = 4 * MAX_CLOCK_ENTRIES;

export class Applier {
  readonly #options: ApplyOptions;
  readonly #store: RecordStore;

  constructor(options: ApplyOptions) {
    this.#options = options;
    this.#store = options.store;
  }

  /**
   * A version arrives. What it replaces and what it loses against is dealt with.
   * @param valueText the text of its value, if it is known.
   */
  apply(version: Version, origin: Origin, signed?: Signed, valueText?: string): Applied {
    const current = this.#store.byUuid(version.uuid);
    const reception = receive(current, version);
    if (current !== undefined) {
      const isKept =
        reception.kind === 'ignored' || (reception.kind === 'merged' && reception.winner === 'current');
      if (reception.kind === 'merged' && reception.loser !== undefined) {
        this.#keepCopy(reception.loser, isKept ? current.version : version);
      }
      if (isKept) {
        // The same object: nothing new was merged.
        const seen = bounded(reception.seen, current.version);
        if (seen !== current.seen) this.#store.setSeen(current, seen);
        const isCurrent =
          isSameChange(current.version, version) && haveSameContents(current.version, version);
        const known = { version: current.version, seen };
        return { known, sequence: current.sequence, isCurrent };
      }
    }
    const known: Known = { version, seen: bounded(reception.seen, version) };
    const text = valueText ?? stringifyJson(version.value);
    return { known, sequence: this.#put(known, current, origin, text, signed), isCurrent: true };
  }

  #put(
    known: Known,
    current: StoredRecord | undefined,
    origin: Origin,
    valueText: string,
    signed: Signed | undefined,
  ): number {
    const { version, seen } = known;
    const isOurForm = signed !== undefined && equalBytes(signed.body, updateBody({ ...version, valueText }));
    const sequence = this.#store.put({
      version,
      valueText,
      seen,
      body: isOurForm ? undefined : signed?.body,
      signature: signed?.signature,
    });
    this.#options.onChange(current, known, origin, sequence);
    const isNewHere = current === undefined || current.version.deleted || current.version.key !== version.key;
    if (!version.deleted && isNewHere && this.#store.isShared(version.key)) {
      this.#store.contest(version.key);
      this.#options.onContested();
    }
    return sequence;
  }

  /** Decides which of the live records of a key keeps it. The others get a copy, if worthy, and are deleted. */
  resolveKey(key: string): void {
    const live = this.#store.byKey(key, false).sort((a, b) => compareForKey(b.version, a.version));
    const winner = live[0];
    if (winner !== undefined) {
      for (const { version } of live.slice(1)) {
        if (!haveSameContents(version, winner.version)) this.#keepCopy(version, winner.version);
        this.#derive(displacement(version));
      }
    }
    this.#store.uncontest(key);
  }

  #keepCopy(loser: Version, winner: Version): void {
    const { writable, policy, log } = this.#options;
    if (!writable || !policy.isConflictWorthy(loser, winner)) return;
    const copy = conflictCopy(loser, policy);
    // Made before, by us or another peer, and perhaps edited or deleted since.
    if (this.#store.byUuid(copy.uuid) !== undefined) return;
    this.#derive(copy);
    log.info('kept the loser of a conflict as a copy', { key: loser.key, copy: copy.key });
  }

  #derive(derived: Derived): void {
    const version = { ...derived, lastUpdatedBy: this.#options.self, lastUpdatedRev: 0n };
    const valueText = stringifyJson(version.value);
    const size = updateBody({ ...version, valueText }).length;
    // Only a hostile peer makes records of this size; what we make must stay acceptable for all others.
    if (size > MAX_UPDATE - LONGEST_REVISION || version.key.length > MAX_KEY) {
      this.#options.log.warn('a record is too large for a conflict copy', { key: derived.key });
      return;
    }
    this.apply({ ...version, lastUpdatedRev: this.#store.nextRevision() }, 'merge', undefined, valueText);
  }
}

function bounded(seen: VectorClock, version: Version): VectorClock {
  return seen.size > MAX_SEEN ? version.vectorClock : seen;
}
