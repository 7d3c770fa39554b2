/**
 * Keeps the list of pending records true: for every change of a record, in its own transaction, it is noted whether the
 * folder shows it.
 */

import type { Json } from '../base/json.ts';
import { isJsonObject } from '../base/json.ts';
import type { LocalIndex } from './local-index.ts';
import { neededFor } from './needed.ts';
import type { PendingStore } from './pending.ts';
import type { Placer } from './place.ts';
import { type FileRecord, sameClock } from './projection.ts';
import type { Selection } from './selection.ts';

/** What the directory needs to know of a change. */
export interface RecordChange {
  readonly before: FileRecord | undefined;
  readonly after: FileRecord;
}

/** The database, as far as it is followed. */
export interface ChangeSource {
  inTransaction(listener: (change: RecordChange) => void): () => void;
  onCommit(listener: (changes: readonly RecordChange[]) => void): () => void;
}

export interface FollowOptions {
  readonly changes: ChangeSource;
  readonly index: LocalIndex;
  readonly pending: PendingStore;
  readonly selection: Selection;
  readonly placer: Pick<Placer, 'settle' | 'touch'>;
  /** After a commit: there may be something to do. */
  readonly onChanges: () => void;
  /** No record may need these contents any more. */
  readonly onObsolete: (sha256: string) => void;
  /** A new record holds the loser of a conflict. */
  readonly onConflict: (key: string, source: string) => void;
  /** A peer's record can't become a file. */
  readonly onRefused: (key: string, reason: string) => void;
}

export interface Follower {
  /**
   * Runs work that changes records and index together: whether the folder shows the records is decided at its end. Inside
   * a transaction.
   */
  together<T>(work: () => T): T;
  close(): void;
}

export function follow(options: FollowOptions): Follower {
  const { changes, index, pending, placer } = options;
  let together: Set<string> | undefined;
  let obsolete = new Set<string>();

  const note = (record: FileRecord) => {
    const row = index.byUuid(record.uuid);
    const missing = neededFor(record, row, options.selection);
    if (missing !== undefined) {
      if (missing.kind === 'refused') options.onRefused(record.key, missing.reason ?? '');
      pending.put(missing);
    } else {
      pending.remove(record.uuid);
      if (row !== undefined && !sameClock(row.clock, record.vectorClock))
        index.put({ ...row, clock: record.vectorClock });
    }
  };

  const stopNoting = changes.inTransaction(({ before, after }) => {
    const waitedFor = before && pending.get(before.uuid)?.sha256;
    if (waitedFor !== undefined) obsolete.add(waitedFor);
    placer.touch(after.uuid);
    if (together === undefined) note(after);
    else together.add(after.uuid);
  });
  const stopTelling = changes.onCommit((committed) => {
    for (const { before, after } of committed) {
      const source = before === undefined && !after.deleted ? conflictSource(after.value) : undefined;
      if (source !== undefined) options.onConflict(after.key, source);
    }
    const left = obsolete;
    obsolete = new Set();
    for (const sha256 of left) options.onObsolete(sha256);
    options.onChanges();
  });

  return {
    together(work) {
      if (together !== undefined) return work();
      const uuids = new Set<string>();
      together = uuids;
      try {
        const result = work();
        for (const uuid of uuids) placer.settle(uuid);
        return result;
      } finally {
        together = undefined;
      }
    },
    close() {
      stopNoting();
      stopTelling();
    },
  };
}

/** The record whose conflict this one holds the loser of; undefined for all others. */
export function conflictSource(value: Json): string | undefined {
  const source = isJsonObject(value) ? value.conflict_source : undefined;
  return typeof source === 'string' ? source : undefined;
}
