/**
 * Records that the folder does not show yet. A row is written in the transaction that stores the record and removed in
 * the one that stores what was done, so that no crash forgets any, and no comparison of everything with everything is
 * ever needed.
 */

import { bytesOf, hexOf } from '../database/row-codec.ts';
import type { Sqlite, SqlOutput } from '../platform/sqlite.ts';
import { MIGRATIONS as INDEX_MIGRATIONS, shareNumber } from './index-table.ts';

/**
 * What is to be done. `folder`: to be made. `here`: the contents are in place, but name, mode or time are not.
 * `content`: a file whose contents must come from somewhere. `removal`, `folder_removal`: to be taken away. `refused`:
 * nothing; the record can't become a file (see its reason). `unwanted`, `unwanted_folder`: nothing; this device does not
 * keep it.
 */
export type PendingKind =
  | 'folder'
  | 'here'
  | 'content'
  | 'removal'
  | 'folder_removal'
  | 'refused'
  | 'unwanted'
  | 'unwanted_folder';

export interface PendingRow {
  /** Ascending in the order of arrival. */
  readonly id: bigint;
  /** Of the record. */
  readonly uuid: string;
  readonly kind: PendingKind;
  readonly rank: number;
  /** Only of `content` and `unwanted`. */
  readonly sha256: string | undefined;
  /** Bytes; 0 unless `content` or `unwanted`. */
  readonly size: bigint;
  /** Why it was refused. */
  readonly reason: string | undefined;
}

export interface NewPending {
  readonly uuid: string;
  readonly kind: PendingKind;
  /** Lower ones of a kind are taken first: for folders, the depth. */
  readonly rank?: number;
  readonly sha256?: string;
  readonly size?: bigint;
  readonly reason?: string;
}

export interface PendingTotals {
  /** Rows of files that are neither refused nor unwanted. */
  readonly files: number;
  /** Bytes of contents to come, each content once for every file. */
  readonly bytes: bigint;
  readonly folders: number;
  readonly refused: number;
  /** Files that this device does not keep, or not in this version, and their bytes. */
  readonly unwanted: number;
  readonly unwantedBytes: bigint;
}

const MIGRATIONS = [
  `
  CREATE TABLE directory_pending(
    -- Never used twice: whoever has read up to a number finds everything newer behind it.
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    club TEXT NOT NULL,
    uuid TEXT NOT NULL,
    kind INTEGER NOT NULL,
    rank INTEGER NOT NULL,
    sha256 TEXT,
    size INTEGER NOT NULL,
    reason TEXT
  ) STRICT;
  CREATE UNIQUE INDEX directory_pending_uuid ON directory_pending(club, uuid);
  CREATE INDEX directory_pending_order ON directory_pending(club, kind, rank, id);
  CREATE INDEX directory_pending_sha256 ON directory_pending(club, sha256) WHERE sha256 IS NOT NULL;
  `,
  // A third of the size; and of the index of contents, whose every row lies on another page, a tenth. Of each share and
  // kind it is known how many rows there are: counting a million takes a second.
  `
  INSERT OR IGNORE INTO directory_share(club) SELECT DISTINCT club FROM directory_pending;
  ALTER TABLE directory_pending RENAME TO directory_pending_1;
  DROP INDEX directory_pending_uuid;
  DROP INDEX directory_pending_order;
  DROP INDEX directory_pending_sha256;
  CREATE TABLE directory_pending(
    -- Never used twice: whoever has read up to a number finds everything newer behind it.
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    share INTEGER NOT NULL,
    uuid BLOB NOT NULL,
    kind INTEGER NOT NULL,
    rank INTEGER NOT NULL,
    sha256 BLOB,
    size INTEGER NOT NULL,
    reason TEXT
  ) STRICT;
  INSERT INTO directory_pending(id, share, uuid, kind, rank, sha256, size, reason)
    SELECT p.id, s.id, unhex(p.uuid), p.kind, p.rank, unhex(p.sha256), p.size, p.reason
    FROM directory_pending_1 AS p JOIN directory_share AS s ON s.club = p.club WHERE unhex(p.uuid) IS NOT NULL;
  DROP TABLE directory_pending_1;
  CREATE UNIQUE INDEX directory_pending_uuid ON directory_pending(share, uuid);
  CREATE INDEX directory_pending_order ON directory_pending(share, kind, rank, id);
  CREATE INDEX directory_pending_sha256 ON directory_pending(substr(sha256, 1, 4)) WHERE sha256 IS NOT NULL;
  -- The bytes in two parts: peers name sizes of up to 2^63-1.
  CREATE TABLE directory_pending_count(
    share INTEGER NOT NULL, kind INTEGER NOT NULL, count INTEGER NOT NULL, high INTEGER NOT NULL, low INTEGER NOT NULL,
    PRIMARY KEY(share, kind)
  ) STRICT, WITHOUT ROWID;
  INSERT INTO directory_pending_count
    SELECT share, kind, count(*), sum(size >> 32), sum(size & 4294967295) FROM directory_pending GROUP BY share, kind;
  CREATE TRIGGER directory_pending_inserted AFTER INSERT ON directory_pending BEGIN
    INSERT INTO directory_pending_count VALUES(NEW.share, NEW.kind, 1, NEW.size >> 32, NEW.size & 4294967295)
    ON CONFLICT DO UPDATE SET count = count + 1, high = high + excluded.high, low = low + excluded.low;
  END;
  CREATE TRIGGER directory_pending_deleted AFTER DELETE ON directory_pending BEGIN
    UPDATE directory_pending_count SET count = count - 1, high = high - (OLD.size >> 32),
      low = low - (OLD.size & 4294967295) WHERE share = OLD.share AND kind = OLD.kind;
  END;
  `,
];

/** A kind's position is its number in the table. */
export const KINDS: readonly PendingKind[] = [
  'folder',
  'here',
  'content',
  'removal',
  'folder_removal',
  'refused',
  'unwanted',
  'unwanted_folder',
];
const CONTENT = KINDS.indexOf('content');

type Stored = {
  readonly id: bigint;
  readonly uuid: Uint8Array;
  readonly kind: bigint;
  readonly rank: bigint;
  readonly sha256: Uint8Array | null;
  readonly size: bigint;
  readonly reason: string | null;
} & Readonly<Record<string, SqlOutput>>;

/** Rows that are read at a time. */
const PAGE = 256;

const COLUMNS = 'id, uuid, kind, rank, sha256, size, reason';

/** Makes or updates the tables. */
export function preparePending(sqlite: Sqlite): void {
  sqlite.migrate('directory.index', INDEX_MIGRATIONS);
  sqlite.migrate('directory_pending', MIGRATIONS);
}

/** Which rows have these contents: by four bytes of the index, and then all. */
const OF_CONTENT = 'substr(sha256, 1, 4) = substr(?1, 1, 4) AND sha256 = ?1 AND share = ?2';

export class PendingStore {
  readonly #sqlite: Sqlite;
  readonly #share: bigint;

  constructor(sqlite: Sqlite, club: string) {
    this.#sqlite = sqlite;
    preparePending(sqlite);
    this.#share = shareNumber(sqlite, club);
  }

  /** Takes the place of an earlier row of the same record, at the end of the order; unless that row says the same. */
  put({ uuid, kind, rank = 0, sha256, size = 0n, reason }: NewPending): void {
    const row = [
      this.#share,
      bytesOf(uuid),
      KINDS.indexOf(kind),
      rank,
      sha256 === undefined ? null : bytesOf(sha256),
      size,
      reason ?? null,
    ];
    // Not OR REPLACE: that would leave the old row in the count.
    this.#sqlite
      .prepare(
        `DELETE FROM directory_pending WHERE share = ?1 AND uuid = ?2
         AND NOT (kind = ?3 AND rank = ?4 AND sha256 IS ?5 AND size = ?6 AND reason IS ?7)`,
      )
      .run(...row);
    this.#sqlite
      .prepare(
        `INSERT INTO directory_pending(share, uuid, kind, rank, sha256, size, reason)
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7
         WHERE NOT EXISTS (SELECT 1 FROM directory_pending WHERE share = ?1 AND uuid = ?2)`,
      )
      .run(...row);
  }

  remove(uuid: string): void {
    this.#sqlite
      .prepare('DELETE FROM directory_pending WHERE share = ? AND uuid = ?')
      .run(this.#share, bytesOf(uuid));
  }

  /** Everything of this club, when it is left. */
  removeAll(): void {
    this.#sqlite.prepare('DELETE FROM directory_pending WHERE share = ?').run(this.#share);
  }

  get(uuid: string): PendingRow | undefined {
    const row = this.#sqlite
      .prepare<Stored>(`SELECT ${COLUMNS} FROM directory_pending WHERE share = ? AND uuid = ?`)
      .get(this.#share, bytesOf(uuid));
    return row && fromStored(row);
  }

  /** The first rows of a kind behind a position, in the order of rank and arrival. */
  first(
    kind: PendingKind,
    limit: number,
    after: { readonly rank: number; readonly id: bigint },
  ): PendingRow[] {
    return this.#sqlite
      .prepare<Stored>(
        `SELECT ${COLUMNS} FROM directory_pending WHERE share = ? AND kind = ? AND (rank, id) > (?, ?)
         ORDER BY rank, id LIMIT ?`,
      )
      .all(this.#share, KINDS.indexOf(kind), after.rank, after.id, limit)
      .map(fromStored);
  }

  /** All rows of a kind. May be changed while they are read: what gets into it meanwhile is read too. */
  *every(kind: PendingKind): IterableIterator<PendingRow> {
    let after = { rank: Number.MIN_SAFE_INTEGER, id: 0n };
    for (let rows = this.first(kind, PAGE, after); rows.length > 0; rows = this.first(kind, PAGE, after)) {
      for (const row of rows) {
        after = { rank: row.rank, id: row.id };
        yield row;
      }
    }
  }

  /** Contents to come whose rows lie behind `after`, in the order of arrival. */
  contentsAfter(after: bigint, limit: number): PendingRow[] {
    return this.first('content', limit, { rank: 0, id: after });
  }

  /** Id of the newest row of contents to come; 0 without any. */
  newestContent(): bigint {
    const row = this.#sqlite
      .prepare<{ id: bigint | null }>(
        'SELECT max(id) AS id FROM directory_pending WHERE share = ? AND kind = ? AND rank = 0',
      )
      .get(this.#share, CONTENT);
    return row?.id ?? 0n;
  }

  /** Which records wait for these contents. */
  waitingFor(sha256: string): PendingRow[] {
    return this.#sqlite
      .prepare<Stored>(`SELECT ${COLUMNS} FROM directory_pending WHERE ${OF_CONTENT} AND kind = ${CONTENT}`)
      .all(bytesOf(sha256), this.#share)
      .map(fromStored);
  }

  isWanted(sha256: string): boolean {
    return (
      this.#sqlite
        .prepare(`SELECT 1 FROM directory_pending WHERE ${OF_CONTENT} AND kind = ${CONTENT} LIMIT 1`)
        .get(bytesOf(sha256), this.#share) !== undefined
    );
  }

  /** Whether any record has these contents that the folder does not show, wanted here or not. */
  isKnown(sha256: string): boolean {
    return (
      this.#sqlite
        .prepare(`SELECT 1 FROM directory_pending WHERE ${OF_CONTENT} LIMIT 1`)
        .get(bytesOf(sha256), this.#share) !== undefined
    );
  }

  has(kind: PendingKind): boolean {
    return (
      this.#sqlite
        .prepare('SELECT 1 AS yes FROM directory_pending WHERE share = ? AND kind = ? LIMIT 1')
        .get(this.#share, KINDS.indexOf(kind)) !== undefined
    );
  }

  totals(): PendingTotals {
    const rows = this.#sqlite
      .prepare<{ kind: bigint; count: bigint; high: bigint; low: bigint }>(
        'SELECT kind, count, high, low FROM directory_pending_count WHERE share = ?',
      )
      .all(this.#share);
    let [files, folders, refused, bytes, unwanted, unwantedBytes] = [0, 0, 0, 0n, 0, 0n];
    for (const row of rows) {
      const kind = kindOf(row.kind);
      const sum = (row.high << 32n) + row.low;
      if (kind === 'unwanted_folder') continue;
      if (kind === 'unwanted') {
        unwanted += Number(row.count);
        unwantedBytes += sum;
        continue;
      }
      bytes += sum;
      if (kind === 'refused') refused += Number(row.count);
      else if (kind === 'folder' || kind === 'folder_removal') folders += Number(row.count);
      else files += Number(row.count);
    }
    return { files, bytes, folders, refused, unwanted, unwantedBytes };
  }
}

function fromStored({ id, uuid, kind, rank, sha256, size, reason }: Stored): PendingRow {
  return {
    id,
    uuid: hexOf(uuid),
    kind: kindOf(kind),
    rank: Number(rank),
    sha256: sha256 === null ? undefined : hexOf(sha256),
    size,
    reason: reason ?? undefined,
  };
}

function kindOf(number: bigint): PendingKind {
  return KINDS[Number(number)] ?? 'refused';
}
