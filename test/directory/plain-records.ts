/**
 * A record store in memory, for tests of what the detector does to one: versions, clocks and transactions, without
 * replication. Concurrent changes are resolved by taking the newer one.
 */

import { systemClock } from '../../agent/base/clock.ts';
import type { Json } from '../../agent/base/json.ts';
import { silentLogger } from '../../agent/base/log.ts';
import { openClubDatabase } from '../../agent/database/database.ts';
import type { VectorClock } from '../../agent/directory/local-index.ts';
import type {
  ChangeOptions,
  RecordStore,
  RecordVersion,
  WrittenVersion,
} from '../../agent/directory/record-changes.ts';
import type { Sqlite } from '../../agent/platform/sqlite.ts';

export interface PlainRecords extends RecordStore {
  writable: boolean;
  /** Keys of the live records, sorted. */
  keys(): string[];
  live(): Map<string, RecordVersion>;
  /** A version that another peer made, having seen what is here. */
  receive(
    key: string,
    value: Json,
    options?: { readonly uuid?: string; readonly deleted?: boolean },
  ): RecordVersion;
  /** How many changes were made here. */
  readonly changes: number;
  /** What was done here: `put /a`, `rename /a -> /b`, `remove /a`. */
  readonly history: string[];
}

/** The club's real database behind the same face. */
export function databaseRecords(sqlite: Sqlite): PlainRecords {
  const database = openClubDatabase({
    sqlite,
    club: 'c1',
    self: '5'.repeat(32),
    writable: true,
    conflicts: { isConflictWorthy: () => true, conflictKey: (key, mark) => `${key}.CONFLICT.${mark}` },
    clock: systemClock,
    log: silentLogger,
  });
  const history: string[] = [];
  const live = () => new Map(Array.from(database.iterate(), (record) => [record.key, record]));
  return {
    writable: true,
    history,
    get changes() {
      return history.length;
    },
    live,
    keys: () => [...live().keys()].sort(),
    get: (key) => database.get(key),
    getByUuid: (uuid) => database.getByUuid(uuid),
    transaction: (work) => database.transaction(work),
    put(key, value, options) {
      history.push(`put ${key}`);
      return database.put(key, value, options);
    },
    rename(uuid, key, options) {
      history.push(`rename ${uuid} -> ${key}`);
      return database.rename(uuid, key, options);
    },
    remove(uuid, options) {
      history.push(`remove ${uuid}`);
      return database.remove(uuid, options);
    },
    receive() {
      throw new Error('what other peers do is shown elsewhere');
    },
  };
}

export function plainRecords(sqlite: Sqlite, self = '5'.repeat(32)): PlainRecords {
  return new MemoryRecords(sqlite, self);
}

const OTHER = '0'.repeat(32);

class MemoryRecords implements PlainRecords {
  readonly #self: string;
  readonly history: string[] = [];
  writable = true;
  changes = 0;
  readonly #sqlite: Sqlite;
  readonly #records = new Map<string, RecordVersion>();
  /** The record that was last given the key. */
  readonly #byKey = new Map<string, string>();
  #undo: (() => void)[] | undefined;
  #next = 1;

  constructor(sqlite: Sqlite, self: string) {
    this.#sqlite = sqlite;
    this.#self = self;
  }

  get(key: string): RecordVersion | undefined {
    const record = this.#records.get(this.#byKey.get(key) ?? '');
    if (record !== undefined && record.key === key && !record.deleted) return record;
    // Renamed or deleted since: another record may have the key.
    return undefined;
  }

  getByUuid(uuid: string): RecordVersion | undefined {
    return this.#records.get(uuid);
  }

  put(key: string, value: Json, options: ChangeOptions = {}): WrittenVersion {
    this.history.push(`put ${key}`);
    return this.#change({ uuid: options.uuid ?? this.#newUuid(), key, value, deleted: false }, options);
  }

  rename(uuid: string, key: string, options: ChangeOptions = {}): WrittenVersion {
    const record = this.#mustHave(uuid);
    this.history.push(`rename ${record.key} -> ${key}`);
    return this.#change({ uuid, key, value: record.value, deleted: false }, options);
  }

  remove(uuid: string, options: ChangeOptions = {}): WrittenVersion {
    const record = this.#mustHave(uuid);
    this.history.push(`remove ${record.key}`);
    return this.#change({ uuid, key: record.key, value: null, deleted: true }, options);
  }

  transaction<T>(work: () => T): T {
    const nested = this.#undo;
    const undo: (() => void)[] = [];
    this.#undo = undo;
    try {
      return this.#sqlite.transaction(work);
    } catch (thrown) {
      for (const step of undo.reverse()) step();
      throw thrown;
    } finally {
      this.#undo = nested;
      nested?.push(...undo);
    }
  }

  keys(): string[] {
    return [...this.live().keys()].sort();
  }

  live(): Map<string, RecordVersion> {
    const live = new Map<string, RecordVersion>();
    for (const record of this.#records.values()) {
      if (record.deleted) continue;
      if (live.has(record.key)) throw new Error(`two live records have the key ${record.key}`);
      live.set(record.key, record);
    }
    return live;
  }

  receive(
    key: string,
    value: Json,
    options: { readonly uuid?: string; readonly deleted?: boolean } = {},
  ): RecordVersion {
    const uuid = options.uuid ?? this.#newUuid();
    const clock = new Map(this.#records.get(uuid)?.vectorClock);
    clock.set(OTHER, (clock.get(OTHER) ?? 0n) + 1n);
    const record = { uuid, key, value, deleted: options.deleted ?? false, vectorClock: clock };
    this.#records.set(uuid, record);
    this.#byKey.set(key, uuid);
    return record;
  }

  #change(change: Omit<RecordVersion, 'vectorClock'>, { basedOn }: ChangeOptions): WrittenVersion {
    if (!this.#sqlite.inTransaction) throw new Error('a change outside a transaction');
    if (!this.writable) throw new Error('a change without the right to it');
    this.changes += 1;
    const known = this.#records.get(change.uuid);
    const clock = merge(known?.vectorClock ?? new Map(), basedOn ?? new Map());
    clock.set(this.#self, (clock.get(this.#self) ?? 0n) + 1n);
    const record = { ...change, vectorClock: clock };
    this.#undo?.push(() => {
      if (known === undefined) this.#records.delete(change.uuid);
      else this.#records.set(change.uuid, known);
    });
    this.#records.set(change.uuid, record);
    if (!change.deleted) this.#byKey.set(change.key, change.uuid);
    const written = new Map(basedOn ?? known?.vectorClock);
    written.set(this.#self, clock.get(this.#self) ?? 0n);
    return { ...record, writtenClock: written };
  }

  #mustHave(uuid: string): RecordVersion {
    const record = this.#records.get(uuid);
    if (record === undefined || record.deleted) throw new Error(`there is no live record ${uuid}`);
    return record;
  }

  #newUuid(): string {
    return (this.#next++).toString(16).padStart(32, '0');
  }
}

function merge(a: VectorClock, b: VectorClock): Map<string, bigint> {
  const merged = new Map(a);
  for (const [peer, count] of b) if (count > (merged.get(peer) ?? 0n)) merged.set(peer, count);
  return merged;
}
