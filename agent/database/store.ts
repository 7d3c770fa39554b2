/**
 * The records of one club in SQLite. Each new version gets the next place in the order of arrival, so that "what came
 * since" is one range of the table, for every peer that is being served, however slow it is.
 */

import { environmentError, internalError } from '../base/errors.ts';
import { MAX_U63 } from '../base/schema.ts';
import type { Migration, Sqlite } from '../platform/sqlite.ts';
import { openPeerNumbers } from './peer-numbers.ts';
import type { Version } from './record.ts';
import {
  bytesOf,
  decodeRow,
  encodeClock,
  encodeSignature,
  encodeTime,
  type PeerNumbers,
  type RecordRow,
  type StoredRecord,
} from './row-codec.ts';
import type { VectorClock } from './vector-clock.ts';

/** The tables of this component, oldest step first. */
const MIGRATIONS: readonly Migration[] = [
  `
  CREATE TABLE database_club(
    id INTEGER PRIMARY KEY,
    club TEXT NOT NULL UNIQUE,
    -- The last revision that was given out. It only grows, also when the peer ID changes.
    revision INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE database_peer(id INTEGER PRIMARY KEY, peer BLOB NOT NULL UNIQUE) STRICT;
  CREATE TABLE database_record(
    -- Never used twice: whoever has read up to a number finds everything newer behind it.
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    club INTEGER NOT NULL,
    uuid BLOB NOT NULL,
    key TEXT NOT NULL,
    deleted INTEGER NOT NULL,
    value TEXT NOT NULL,
    author INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    -- Nanoseconds, or the text if it is not the shortest for its time.
    time ANY NOT NULL,
    clock BLOB NOT NULL,
    -- What was merged into the record here; null: no more than its clock.
    seen BLOB,
    -- As received, if it is not what we would write. Kept for its signature.
    body BLOB,
    -- Of the body. Base64 text if it is not the usual base64 of its bytes.
    signature ANY
  ) STRICT;
  CREATE UNIQUE INDEX database_record_uuid ON database_record(club, uuid);
  CREATE INDEX database_record_key ON database_record(club, key);
  CREATE INDEX database_record_author ON database_record(club, author, revision);
  -- Keys that two live records have, until it is decided which one keeps it.
  CREATE TABLE database_contested(
    club INTEGER NOT NULL, key TEXT NOT NULL, PRIMARY KEY(club, key)
  ) STRICT, WITHOUT ROWID;
  -- The last revision of each author that a remote peer has told us.
  CREATE TABLE database_since(
    club INTEGER NOT NULL, remote INTEGER NOT NULL, level INTEGER NOT NULL, author INTEGER NOT NULL,
    revision INTEGER NOT NULL, PRIMARY KEY(club, remote, level, author)
  ) STRICT, WITHOUT ROWID;
  -- When a remote peer was last asked for everything, nanoseconds since 1970.
  CREATE TABLE database_remote(
    club INTEGER NOT NULL, remote INTEGER NOT NULL, level INTEGER NOT NULL, refreshed INTEGER NOT NULL,
    PRIMARY KEY(club, remote, level)
  ) STRICT, WITHOUT ROWID;
  `,
  `
  -- Clubs that were left, and the last revision that they had given out.
  CREATE TABLE database_forgotten(
    club TEXT PRIMARY KEY, revision INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  `,
  `
  -- Up to which place of the order of arrival a remote peer has said that it has everything, and since when, nanoseconds.
  -- By its ID, not its number: numbers stay for ever, and whoever says this need not have told us any record.
  CREATE TABLE database_holder(
    club INTEGER NOT NULL, peer BLOB NOT NULL, level INTEGER NOT NULL, place INTEGER NOT NULL,
    since INTEGER NOT NULL, PRIMARY KEY(club, peer)
  ) STRICT, WITHOUT ROWID;
  `,
];

/** A body and its signature, as they travel. */
export interface Signed {
  readonly body: Uint8Array;
  readonly signature: string;
}

export interface NewVersion {
  readonly version: Version;
  readonly valueText: string;
  readonly seen: VectorClock;
  /** Verified. The body is left out if it is exactly what `updateBody` makes. */
  readonly signature: string | undefined;
  readonly body: Uint8Array | undefined;
}

export interface RecordStore {
  readonly club: number;
  readonly peers: PeerNumbers;
  byUuid(uuid: string): StoredRecord | undefined;
  byKey(key: string, deleted: boolean): StoredRecord[];
  /** Whether more than one live record has this key. */
  isShared(key: string): boolean;
  /** In the order of the keys' UTF-8 bytes, at most `limit`. */
  range(from: KeyRange, limit: number): StoredRecord[];
  /** @returns its place in the order of arrival. */
  put(record: NewVersion): number;
  setSeen(record: StoredRecord, seen: VectorClock): void;
  /** The last revision that was given out. */
  revision(): bigint;
  nextRevision(): bigint;
  /** Never gives out a revision up to this one. */
  skipRevisions(upTo: bigint): void;
  contest(key: string): void;
  uncontest(key: string): void;
  isContested(key: string): boolean;
  contested(limit: number): string[];
}

export interface KeyRange {
  /** Begins behind the record of this key with this sequence. */
  readonly after: { readonly key: string; readonly sequence: number };
  readonly end: string | Uint8Array;
  readonly includeDeleted: boolean;
}

/** SQLite puts every BLOB behind every text. */
const NO_END: Uint8Array = new Uint8Array(0);

/** The least text, in the order of UTF-8, that is greater than all with this prefix. */
export function endOfPrefix(prefix: string): string | Uint8Array {
  const points = Array.from(prefix, (character) => character.codePointAt(0) ?? 0);
  for (let last = points.pop(); last !== undefined; last = points.pop()) {
    if (last === 0x10ffff) continue;
    // Surrogates are no code points of a text.
    points.push(last === 0xd7ff ? 0xe000 : last + 1);
    return String.fromCodePoint(...points);
  }
  return NO_END;
}

/** Makes or updates the tables. */
export function prepareDatabase(sqlite: Sqlite): void {
  sqlite.migrate('database', MIGRATIONS);
}

const COLUMNS = 'id, uuid, key, deleted, value, author, revision, time, clock, seen';

export function openRecordStore(sqlite: Sqlite, club: string): RecordStore {
  prepareDatabase(sqlite);
  const peers = openPeerNumbers(sqlite);
  const id = sqlite.transaction(() => clubNumber(sqlite, club));

  const byUuid = sqlite.prepare<RecordRow>(
    `SELECT ${COLUMNS} FROM database_record WHERE club = ? AND uuid = ?`,
  );
  const byKey = sqlite.prepare<RecordRow>(
    `SELECT ${COLUMNS} FROM database_record WHERE club = ? AND key = ? AND deleted = ?`,
  );
  const isShared = sqlite.prepare(
    'SELECT 1 FROM database_record WHERE club = ? AND key = ? AND deleted = 0 LIMIT 1 OFFSET 1',
  );
  const put = sqlite.prepare<{ id: bigint }>(
    `INSERT OR REPLACE INTO database_record
       (club, uuid, key, deleted, value, author, revision, time, clock, seen, body, signature)
     VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id`,
  );
  const setSeen = sqlite.prepare('UPDATE database_record SET seen = ? WHERE id = ?');
  const revision = sqlite.prepare<{ revision: bigint }>('SELECT revision FROM database_club WHERE id = ?');
  const nextRevision = sqlite.prepare<{ revision: bigint }>(
    `UPDATE database_club SET revision = revision + 1 WHERE id = ? AND revision < ${MAX_U63} RETURNING revision`,
  );
  const skip = sqlite.prepare('UPDATE database_club SET revision = ? WHERE id = ? AND revision < ?');
  const range = (live: string) =>
    sqlite.prepare<RecordRow>(
      `SELECT ${COLUMNS} FROM database_record WHERE club = ? AND (key, id) > (?, ?) AND key < ? ${live}
       ORDER BY key, id LIMIT ?`,
    );
  const liveRange = range('AND deleted = 0');
  const wholeRange = range('');
  const contest = sqlite.prepare('INSERT OR IGNORE INTO database_contested VALUES(?, ?)');
  const uncontest = sqlite.prepare('DELETE FROM database_contested WHERE club = ? AND key = ?');
  const isContested = sqlite.prepare('SELECT 1 FROM database_contested WHERE club = ? AND key = ?');
  const contested = sqlite.prepare<{ key: string }>(
    'SELECT key FROM database_contested WHERE club = ? LIMIT ?',
  );
  const decode = (row: RecordRow) => decodeRow(row, peers);

  return {
    club: id,
    peers,
    byUuid(uuid) {
      const row = byUuid.get(id, bytesOf(uuid));
      return row === undefined ? undefined : decode(row);
    },
    byKey: (key, deleted) => byKey.all(id, key, deleted ? 1 : 0).map(decode),
    isShared: (key) => isShared.get(id, key) !== undefined,
    range({ after, end, includeDeleted }, limit) {
      const statement = includeDeleted ? wholeRange : liveRange;
      return statement.all(id, after.key, after.sequence, end, limit).map(decode);
    },
    put({ version, valueText, seen, body, signature }) {
      const row = put.get(
        id,
        bytesOf(version.uuid),
        version.key,
        version.deleted ? 1 : 0,
        valueText,
        peers.numberOf(version.lastUpdatedBy),
        version.lastUpdatedRev,
        encodeTime(version.updateTime),
        encodeClock(version.vectorClock, peers),
        seen === version.vectorClock ? null : encodeClock(seen, peers),
        body ?? null,
        signature === undefined ? null : encodeSignature(signature),
      );
      if (row === undefined) throw internalError('database.not_stored', 'a record was not stored');
      return Number(row.id);
    },
    setSeen: (record, seen) => void setSeen.run(encodeClock(seen, peers), record.sequence),
    revision: () => revision.get(id)?.revision ?? 0n,
    nextRevision() {
      const row = nextRevision.get(id);
      if (row === undefined) {
        throw environmentError('database.forgotten', 'this share was removed, or has no revisions left');
      }
      return row.revision;
    },
    skipRevisions: (upTo) => void skip.run(upTo, id, upTo),
    contest: (key) => void contest.run(id, key),
    uncontest: (key) => void uncontest.run(id, key),
    isContested: (key) => isContested.get(id, key) !== undefined,
    contested: (limit) => contested.all(id, limit).map(({ key }) => key),
  };
}

function clubNumber(sqlite: Sqlite, club: string): number {
  sqlite
    .prepare(
      `INSERT OR IGNORE INTO database_club(club, revision)
       VALUES(?, coalesce((SELECT revision FROM database_forgotten WHERE club = ?), 0))`,
    )
    .run(club, club);
  const row = sqlite.prepare<{ id: bigint }>('SELECT id FROM database_club WHERE club = ?').get(club);
  return Number(row!.id);
}
