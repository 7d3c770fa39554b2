/**
 * A club's distributed database on this machine: records that every member has or will have. Local changes and those
 * that replication brings go through the same rules (merge.ts), in durable transactions.
 */

import type { Clock } from '../base/clock.ts';
import { asError, userError } from '../base/errors.ts';
import { type Json, stringifyJson } from '../base/json.ts';
import type { Logger } from '../base/log.ts';
import { MAX_U63 } from '../base/schema.ts';
import type { Sqlite } from '../platform/sqlite.ts';
import { type Applied, Applier, type Change, type Origin } from './apply.ts';
import type {
  ChangeOptions,
  IterateOptions,
  PutOptions,
  ReplicatedDatabase,
  WrittenRecord,
} from './club-database.ts';
import { ContestedKeys } from './contested.ts';
import { type Feed, openFeed } from './feed.ts';
import { type HolderStore, openHolderStore } from './holders.ts';
import { newUuid, stamp } from './local-change.ts';
import { type ConflictPolicy, compareForKey } from './merge.ts';
import { MAX_KEY, MAX_UPDATE, updateBody, type VersionText } from './messages.ts';
import { type DatabaseRecord, haveSameContents, type Known, type Version } from './record.ts';
import { openSinceStore, type SinceStore } from './since.ts';
import { endOfPrefix, openRecordStore, type RecordStore, type Signed } from './store.ts';
import { isBefore, mergeClocks, type VectorClock } from './vector-clock.ts';

export type { Change, Origin } from './apply.ts';
export type {
  ChangeOptions,
  ClubDatabase,
  IterateOptions,
  PutOptions,
  ReplicatedDatabase,
  WrittenRecord,
} from './club-database.ts';
export type { ConflictPolicy } from './merge.ts';
export type { DatabaseRecord, Version } from './record.ts';
export type { VectorClock } from './vector-clock.ts';

export interface ClubDatabaseOptions {
  readonly sqlite: Sqlite;
  /** Our own name for the club. */
  readonly club: string;
  /** Our peer ID. May be another one than at the last opening: a copied or restored device gets a new one. */
  readonly self: string;
  readonly writable: boolean;
  readonly conflicts: ConflictPolicy;
  readonly clock: Clock;
  readonly log: Logger;
}

/** What is left free in our own records, so that a conflict copy of them, with its longer key, fits too. */
const MARGIN = 1_024;
/**
 * No device makes so many changes between two copies of its storage. A member who claims it again and again comes to the
 * end of the revisions never: replication listens to it ever more seldom.
 */
const MAX_SKIPPED = 4_294_967_296n;
/** Records that are read at a time while iterating. */
const PAGE = 256;

export function openClubDatabase(options: ClubDatabaseOptions): ReplicatedDatabase {
  return new Database(options);
}

class Database implements ReplicatedDatabase {
  readonly self: string;
  readonly writable: boolean;
  readonly feed: Feed;
  readonly since: SinceStore;
  readonly holders: HolderStore;
  readonly #options: ClubDatabaseOptions;
  readonly #store: RecordStore;
  readonly #applier: Applier;
  readonly #contested: ContestedKeys;
  readonly #inTransaction = new Set<(change: Change) => void>();
  readonly #onCommit = new Set<(changes: readonly Change[]) => void>();
  readonly #onStored = new Set<(first: number) => void>();
  #committed: Change[] = [];
  #isTelling = false;

  constructor(options: ClubDatabaseOptions) {
    this.#options = options;
    this.self = options.self;
    this.writable = options.writable;
    this.#store = openRecordStore(options.sqlite, options.club);
    this.feed = openFeed(options.sqlite, this.#store.club, this.#store.peers);
    this.since = openSinceStore(options.sqlite, this.#store.club, this.#store.peers, options.clock);
    this.holders = openHolderStore(options.sqlite, this.#store.club);
    this.#applier = new Applier({
      store: this.#store,
      policy: options.conflicts,
      writable: options.writable,
      self: options.self,
      log: options.log,
      onChange: (before, after, origin, sequence) => this.#changed(before, after, origin, sequence),
      onContested: () => {
        if (options.writable) options.sqlite.afterCommit(() => this.#contested.decideLater());
      },
    });
    this.#contested = new ContestedKeys({ ...options, store: this.#store, applier: this.#applier });
    if (options.writable) this.#contested.start();
  }

  get(key: string): DatabaseRecord | undefined {
    const winner = largest(this.#store.byKey(key, false));
    return winner === undefined ? undefined : recordOf(winner);
  }

  getByUuid(uuid: string): DatabaseRecord | undefined {
    const known = this.#store.byUuid(uuid);
    return known === undefined ? undefined : recordOf(known);
  }

  *iterate({ prefix = '', after, includeDeleted = false }: IterateOptions = {}) {
    const end = endOfPrefix(prefix);
    const isInside = after !== undefined && Buffer.compare(Buffer.from(after), Buffer.from(prefix)) >= 0;
    let place = isInside ? { key: after, sequence: Number.MAX_SAFE_INTEGER } : { key: prefix, sequence: -1 };
    // Of several live ones of a key, which a read-only member may hold for long, only the winner is shown.
    let best: Known | undefined;
    for (;;) {
      const page = this.#store.range({ after: place, end, includeDeleted }, PAGE);
      for (const known of page) {
        if (includeDeleted) {
          yield recordOf(known);
        } else if (best === undefined || best.version.key !== known.version.key) {
          if (best !== undefined) yield recordOf(best);
          best = known;
        } else if (compareForKey(known.version, best.version) > 0) {
          best = known;
        }
      }
      const last = page.at(-1);
      if (last === undefined || page.length < PAGE) break;
      place = { key: last.version.key, sequence: last.sequence };
    }
    if (best !== undefined) yield recordOf(best);
  }

  isContested(key: string): boolean {
    return this.writable && this.#store.isContested(key) && this.#store.isShared(key);
  }

  put(key: string, value: Json, { uuid, basedOn }: PutOptions = {}): WrittenRecord {
    return this.#write(() => {
      const current =
        uuid === undefined
          ? (largest(this.#store.byKey(key, false)) ?? largest(this.#store.byKey(key, true)))
          : this.#store.byUuid(uuid);
      return this.#change(current, uuid, { key, value, deleted: false }, basedOn);
    });
  }

  rename(uuid: string, key: string, { basedOn }: ChangeOptions = {}): WrittenRecord {
    return this.#write(() => {
      const current = this.#store.byUuid(uuid);
      if (current === undefined) throw noRecord();
      const { deleted, value } = current.version;
      const contents = { key, value, deleted: false };
      if (deleted) {
        if (basedOn === undefined || isBefore(current.seen, basedOn)) throw noRecord();
        return this.#change(current, uuid, contents, basedOn);
      }
      const written = this.#change(current, uuid, contents, undefined);
      if (basedOn === undefined) return written;
      // The writer has moved what it knew, and may still not know the contents that moved with it.
      const ticks = [...written.clock].filter(([peer, count]) => count > (current.seen.get(peer) ?? 0n));
      return { known: written.known, clock: mergeClocks(basedOn, new Map(ticks)) };
    });
  }

  remove(uuid: string, { basedOn }: ChangeOptions = {}): WrittenRecord {
    return this.#write(() => {
      const current = this.#store.byUuid(uuid);
      if (current === undefined) throw noRecord();
      const { key, value } = current.version;
      return this.#change(current, uuid, { key, value, deleted: true }, basedOn);
    });
  }

  transaction<T>(work: () => T): T {
    return this.#options.sqlite.transaction(work);
  }

  #write(work: () => Written): WrittenRecord {
    if (!this.writable) {
      throw userError('database.read_only', 'this share may only be read here', {
        remedy: 'ask its owner for a read-write code',
      });
    }
    const { known, clock } = this.transaction(work);
    return recordOf(known, clock);
  }

  #change(
    current: Known | undefined,
    uuid: string | undefined,
    contents: Pick<Version, 'key' | 'value' | 'deleted'>,
    basedOn: VectorClock | undefined,
  ): Written {
    const now = this.#options.clock.now();
    const version: Version = {
      ...contents,
      uuid: current?.version.uuid ?? uuid ?? newUuid(now),
      ...stamp(this.self, now, current, basedOn),
      lastUpdatedRev: 0n,
    };
    if (current !== undefined && haveSameContents(current.version, version)) {
      return { known: current, clock: current.seen };
    }
    const valueText = stringifyJson(version.value);
    checkUsable({ ...version, valueText });
    const complete = { ...version, lastUpdatedRev: this.#store.nextRevision() };
    const { known } = this.#applier.apply(complete, 'local', undefined, valueText);
    return { known, clock: version.vectorClock };
  }

  revision(): bigint {
    return this.#store.revision();
  }

  knownRevision(): bigint {
    return this.since.missesOwn(this.self) ? 0n : this.#store.revision();
  }

  skipRevisions(upTo: bigint): void {
    this.transaction(() => {
      const own = this.#store.revision();
      if (upTo <= own || upTo - own > MAX_SKIPPED) return;
      this.since.missOwn(this.self);
      this.#store.skipRevisions(upTo);
    });
  }

  receive(version: Version, peer: string, signed: Signed | undefined): Applied {
    this.#contested.arrived();
    return this.#applier.apply(version, { peer }, signed);
  }

  inTransaction(listener: (change: Change) => void): () => void {
    this.#inTransaction.add(listener);
    return () => void this.#inTransaction.delete(listener);
  }

  onCommit(listener: (changes: readonly Change[]) => void): () => void {
    this.#onCommit.add(listener);
    return () => void this.#onCommit.delete(listener);
  }

  onStored(listener: (first: number) => void): () => void {
    this.#onStored.add(listener);
    return () => void this.#onStored.delete(listener);
  }

  #changed(before: Known | undefined, after: Known, origin: Origin, sequence: number): void {
    const change: Change = {
      before: before === undefined ? undefined : recordOf(before),
      after: recordOf(after),
      origin,
    };
    for (const listener of this.#inTransaction) listener(change);
    this.#options.sqlite.afterCommit(() => {
      if (this.#onCommit.size > 0) this.#committed.push(change);
      if (this.#isTelling) return;
      this.#isTelling = true;
      // After all other changes of this commit, which have later places.
      this.#options.sqlite.afterCommit(() => this.#tell(sequence));
    });
  }

  #tell(first: number): void {
    const changes = this.#committed;
    this.#committed = [];
    this.#isTelling = false;
    for (const listener of this.#onStored) listener(first);
    for (const listener of this.#onCommit) {
      try {
        listener(changes);
      } catch (thrown) {
        // It is committed: whoever made the change must not be told that it failed.
        this.#options.log.error('a listener failed after a commit', { error: asError(thrown) });
      }
    }
  }

  close(): void {
    this.#contested.close();
    this.#inTransaction.clear();
    this.#onCommit.clear();
    this.#onStored.clear();
  }
}

/** After a local change: the record, and what its writer knows now. */
interface Written {
  readonly known: Known;
  readonly clock: VectorClock;
}

function recordOf(known: Known): DatabaseRecord;
function recordOf(known: Known, writtenClock: VectorClock): WrittenRecord;
function recordOf({ version, seen }: Known, writtenClock?: VectorClock): DatabaseRecord {
  const { uuid, key, deleted, lastUpdatedBy, lastUpdatedRev } = version;
  return {
    uuid,
    key,
    // Decoded only if somebody looks.
    get value() {
      return version.value;
    },
    deleted,
    lastUpdatedBy,
    lastUpdatedRev,
    get updateTime() {
      return version.updateTime;
    },
    vectorClock: seen,
    ...(writtenClock === undefined ? {} : { writtenClock }),
  };
}

function largest<T extends Known>(records: readonly T[]): T | undefined {
  let best: T | undefined;
  for (const record of records) {
    if (best === undefined || compareForKey(record.version, best.version) > 0) best = record;
  }
  return best;
}

function noRecord() {
  return userError('database.no_record', 'there is no such record any more');
}

function checkUsable(version: VersionText): void {
  const { key, valueText, vectorClock } = version;
  if (key.length > MAX_KEY - MARGIN || !key.isWellFormed()) {
    throw userError('database.key_unusable', 'a key is too long or no valid Unicode');
  }
  // A character takes at most six bytes; everything else less than this. Nearly always that is enough to know.
  const most = 6 * key.length + 3 * valueText.length + 64 * vectorClock.size + 512;
  // With the longest revision, so that it does not depend on when it is written.
  const limit = MAX_UPDATE - MARGIN;
  if (most > limit && updateBody({ ...version, lastUpdatedRev: MAX_U63 }).length > limit) {
    throw userError('database.value_too_large', `a value is larger than ${limit} bytes`);
  }
}
