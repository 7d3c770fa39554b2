/** What a club's database offers: to applications such as the directory, and, beyond that, to replication. */

import type { Json } from '../base/json.ts';
import type { Applied, Change } from './apply.ts';
import type { Feed } from './feed.ts';
import type { HolderStore } from './holders.ts';
import type { DatabaseRecord, Version } from './record.ts';
import type { SinceStore } from './since.ts';
import type { Signed } from './store.ts';
import type { VectorClock } from './vector-clock.ts';

export interface ChangeOptions {
  /**
   * The clock of the version that the writer had seen, by default that of the current one. If the record has moved on
   * since, this is a concurrent change: it becomes the current version, being the later one, and what it displaces gets
   * a conflict copy if it is worthy. An empty clock: the writer knew of nothing.
   */
  readonly basedOn?: VectorClock;
}

export interface PutOptions extends ChangeOptions {
  /** The record to change, whatever its key was; by default the one that has the key, or had it last. */
  readonly uuid?: string;
}

/** A record after a local change. */
export interface WrittenRecord extends DatabaseRecord {
  /**
   * What the writer knows now: what it had seen, and the change itself. Pass it as `basedOn` with the writer's next
   * change. `vectorClock` may contain more, which the record was merged with but the writer has not seen.
   */
  readonly writtenClock: VectorClock;
}

export interface IterateOptions {
  readonly prefix?: string;
  /** Begins behind this key. */
  readonly after?: string;
  /** Also the deleted ones; then a key may come several times. */
  readonly includeDeleted?: boolean;
}

export interface ClubDatabase {
  /** Our peer ID in the club. */
  readonly self: string;
  /** Whether we hold the read-write key. Without it, the methods that change records throw `database.read_only`. */
  readonly writable: boolean;
  /** The live record of this key. */
  get(key: string): DatabaseRecord | undefined;
  /** Live or deleted. */
  getByUuid(uuid: string): DatabaseRecord | undefined;
  /** In the order of the keys' UTF-8 bytes. Records that change meanwhile may or may not be seen as they were. */
  iterate(options?: IterateOptions): IterableIterator<DatabaseRecord>;
  /**
   * Whether two live records have this key, and it is not yet decided which one keeps it. What is on the disk under
   * that name must stay until then: it may be the only copy of the other one's contents.
   */
  isContested(key: string): boolean;
  /**
   * Creates or changes a record; the same contents again are no change.
   * @throws SkylarkError (user) `database.read_only`, `database.key_unusable`, `database.value_too_large`.
   */
  put(key: string, value: Json, options?: PutOptions): WrittenRecord;
  /**
   * Gives a live record another key. Whatever its contents are by now, they move: this is no concurrent change of them.
   * A record that was deleted without the writer's knowledge (`basedOn` says so) lives again under the new key.
   * A live record that has the new key already is not replaced but contested: remove it first if that is what is meant.
   * @throws SkylarkError (user) `database.no_record` if there is none or it is known to be deleted; as `put`.
   */
  rename(uuid: string, key: string, options?: ChangeOptions): WrittenRecord;
  /** @throws SkylarkError (user) `database.no_record`, `database.read_only`. A deleted record stays as it is. */
  remove(uuid: string, options?: ChangeOptions): WrittenRecord;
  /** One durable commit. The same as `transaction` of the SQLite connection, which may be used instead. */
  transaction<T>(work: () => T): T;
  /**
   * Called inside the transaction for every new current version of a record: what it writes to the same SQLite file is
   * atomic with it; if it throws, the change is not made. It must not change records itself.
   * @returns stops it.
   */
  inTransaction(listener: (change: Change) => void): () => void;
  /** Called after each commit with what it changed, in order. @returns stops it. */
  onCommit(listener: (changes: readonly Change[]) => void): () => void;
}

/** What replication needs beyond that. */
export interface ReplicatedDatabase extends ClubDatabase {
  readonly feed: Feed;
  readonly since: SinceStore;
  readonly holders: HolderStore;
  /** The last revision that we gave out. */
  revision(): bigint;
  /** As `revision`; 0 from when it was learned that others know changes of ours which are not here. */
  knownRevision(): bigint;
  /**
   * Somebody knows changes of ours up to this revision that were not made here: they will be asked for, and their
   * revisions are not given out again, unless this one is out of all reason.
   */
  skipRevisions(upTo: bigint): void;
  /** A version from a peer; to be called inside a transaction. `signed` is what it came in, verified. */
  receive(version: Version, peer: string, signed: Signed | undefined): Applied;
  /** Called after each commit that changed records, with the place of the first of them. @returns stops it. */
  onStored(listener: (first: number) => void): () => void;
  /** Stops what is still to be done later; it is done when the database is opened the next time. */
  close(): void;
}
