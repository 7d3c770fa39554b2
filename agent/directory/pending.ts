/**
 * Records that the folder does not show yet. A row is written in the transaction that stores the record and removed in
 * the one that stores what was done, so that no crash forgets any, and no comparison of everything with everything is
 * ever needed.
 */

import type { Sqlite, SqlOutput } from '../platform/sqlite.ts';

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
  readonly uuid: string;
  readonly kind: bigint;
  readonly rank: bigint;
  readonly sha256: string | null;
  readonly size: bigint;
  readonly reason: string | null;
} & Readonly<Record<string, SqlOutput>>;

/** Rows that are read at a time. */
const PAGE = 256;

const COLUMNS = 'id, uuid, kind, rank, sha256, size, reason';

export class PendingStore {
  readonly #sqlite: Sqlite;
  readonly #club: string;

  constructor(sqlite: Sqlite, club: string) {
    this.#sqlite = sqlite;
    this.#club = club;
    sqlite.migrate('directory_pending', MIGRATIONS);
  }

  /** Takes the place of an earlier row of the same record, at the end of the order; unless that row says the same. */
  put({ uuid, kind, rank = 0, sha256, size = 0n, reason }: NewPending): void {
    this.#sqlite
      .prepare(
        `INSERT OR REPLACE INTO directory_pending(club, uuid, kind, rank, sha256, size, reason)
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 WHERE NOT EXISTS (SELECT 1 FROM directory_pending
         WHERE club = ?1 AND uuid = ?2 AND kind = ?3 AND rank = ?4 AND sha256 IS ?5 AND size = ?6 AND reason IS ?7)`,
      )
      .run(this.#club, uuid, KINDS.indexOf(kind), rank, sha256 ?? null, size, reason ?? null);
  }

  remove(uuid: string): void {
    this.#sqlite.prepare('DELETE FROM directory_pending WHERE club = ? AND uuid = ?').run(this.#club, uuid);
  }

  /** Everything of this club, when it is left. */
  removeAll(): void {
    this.#sqlite.prepare('DELETE FROM directory_pending WHERE club = ?').run(this.#club);
  }

  get(uuid: string): PendingRow | undefined {
    const row = this.#sqlite
      .prepare<Stored>(`SELECT ${COLUMNS} FROM directory_pending WHERE club = ? AND uuid = ?`)
      .get(this.#club, uuid);
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
        `SELECT ${COLUMNS} FROM directory_pending WHERE club = ? AND kind = ? AND (rank, id) > (?, ?)
         ORDER BY rank, id LIMIT ?`,
      )
      .all(this.#club, KINDS.indexOf(kind), after.rank, after.id, limit)
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
        'SELECT max(id) AS id FROM directory_pending WHERE club = ? AND kind = ? AND rank = 0',
      )
      .get(this.#club, CONTENT);
    return row?.id ?? 0n;
  }

  /** Which records wait for these contents. */
  waitingFor(sha256: string): PendingRow[] {
    return this.#sqlite
      .prepare<Stored>(`SELECT ${COLUMNS} FROM directory_pending WHERE club = ? AND sha256 = ? AND kind = ?`)
      .all(this.#club, sha256, CONTENT)
      .map(fromStored);
  }

  isWanted(sha256: string): boolean {
    return (
      this.#sqlite
        .prepare('SELECT 1 AS yes FROM directory_pending WHERE club = ? AND sha256 = ? AND kind = ? LIMIT 1')
        .get(this.#club, sha256, CONTENT) !== undefined
    );
  }

  /** Whether any record has these contents that the folder does not show, wanted here or not. */
  isKnown(sha256: string): boolean {
    return (
      this.#sqlite
        .prepare('SELECT 1 AS yes FROM directory_pending WHERE club = ? AND sha256 = ? LIMIT 1')
        .get(this.#club, sha256) !== undefined
    );
  }

  has(kind: PendingKind): boolean {
    return (
      this.#sqlite
        .prepare('SELECT 1 AS yes FROM directory_pending WHERE club = ? AND kind = ? LIMIT 1')
        .get(this.#club, KINDS.indexOf(kind)) !== undefined
    );
  }

  /** Counts all rows: not to be called more than now and then. */
  totals(): PendingTotals {
    const rows = this.#sqlite
      .prepare<{ kind: bigint; count: bigint; bytes: bigint }>(
        'SELECT kind, count(*) AS count, sum(size) AS bytes FROM directory_pending WHERE club = ? GROUP BY kind',
      )
      .all(this.#club);
    let [files, folders, refused, bytes, unwanted, unwantedBytes] = [0, 0, 0, 0n, 0, 0n];
    for (const row of rows) {
      const kind = kindOf(row.kind);
      if (kind === 'unwanted_folder') continue;
      if (kind === 'unwanted') {
        unwanted += Number(row.count);
        unwantedBytes += row.bytes;
        continue;
      }
      bytes += row.bytes;
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
    uuid,
    kind: kindOf(kind),
    rank: Number(rank),
    sha256: sha256 ?? undefined,
    size,
    reason: reason ?? undefined,
  };
}

function kindOf(number: bigint): PendingKind {
  return KINDS[Number(number)] ?? 'refused';
}
