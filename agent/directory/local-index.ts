/**
 * What we last knew to be on the disk, and which version of which record that was. The disk is compared with this index
 * to find what the owner changed (never with the records, which may be ahead); the records are compared with it to find
 * what the disk still lacks. It lies in the same SQLite file as the records, so that both change in one transaction.
 *
 * Holds nothing in memory but the open share: every question is a query over an index.
 */

import { fromHex, toHex } from '../base/bytes.ts';
import { internalError } from '../base/errors.ts';
import { isJsonObject, parseJson } from '../base/json.ts';
import type { KnownFile } from '../platform/files.ts';
import { nameOf, parentOf } from '../platform/files.ts';
import type { Sqlite, SqlOutput } from '../platform/sqlite.ts';
import { isBelow, joinPath } from './paths.ts';

export type VectorClock = ReadonlyMap<string, bigint>;

/** One file or directory. As a `KnownFile` it says what must be on the disk for it to be unchanged. */
export interface IndexRow extends KnownFile {
  /** In the share, as in the record's key; where it lies on the disk: `LocalIndex.localPath`. */
  readonly path: string;
  readonly kind: 'file' | 'directory';
  /** Permission bits, 0 to 0o777. */
  readonly mode: number;
  /** Of the contents; undefined for directories, and for files that nobody has read yet. */
  readonly sha256: string | undefined;
  /** The record that this is a version of; undefined: none yet. */
  readonly uuid: string | undefined;
  /** Which version; undefined without a record. */
  readonly clock: VectorClock | undefined;
  /** Was there before we joined the club, and has not been touched since: no change of its owner's. */
  readonly found: boolean;
  /** The last component on the disk, where the file system can't hold its name beside another; mostly undefined. */
  readonly localName: string | undefined;
}

/** What the detector still has to do about a row. Survives restarts. */
export type Mark = 'none' | 'examine' | 'gone';

/** A row as a scan needs it: enough to tell whether the file changed. */
export interface ScanRow extends KnownFile {
  readonly kind: 'file' | 'directory';
  /** Position in the table; rises with the time of insertion. */
  readonly id: bigint;
  readonly name: string;
  readonly mode: number;
  readonly mark: Mark;
}

export interface IndexTotals {
  readonly files: number;
  readonly directories: number;
  /** Sum of the sizes of the files. */
  readonly bytes: bigint;
}

export interface LocalIndex {
  byPath(path: string): IndexRow | undefined;
  byUuid(uuid: string): IndexRow | undefined;
  /** Files with these contents, at most `limit` (default 16). */
  bySha256(sha256: string, limit?: number): IndexRow[];
  /** At most 16: an inode has several names when there are hard links. */
  byInode(ino: bigint): IndexRow[];
  /** What lies directly in the directory, by name. May be changed while it is read. */
  children(path: string): IterableIterator<IndexRow>;
  /** What lies below the directory at any depth, parents before their children. May be changed while it is read. */
  below(path: string): IterableIterator<IndexRow>;
  /** Everything with `found` set, in the order of insertion. May be changed while it is read. */
  found(): IterableIterator<IndexRow>;
  /** Inserts, or replaces the row of the same path. Clears its mark unless one is given. */
  put(row: IndexRow, mark?: Mark): void;
  /** False if there was none. */
  remove(path: string): boolean;
  totals(): IndexTotals;

  /** Where a path of the share lies on the disk. Both are equal unless a name on the way had to be replaced. */
  localPath(path: string): string;
  /** The path of the share that lies at `localName` in the directory `directory` (a path of the share). */
  sharePath(directory: string, localName: string): string;

  /** The rows of those `names` that stand in the directory, by name. */
  scanRows(directory: string, names: readonly string[]): Map<string, ScanRow>;
  /** How many rows stand directly in the directory. */
  countChildren(directory: string): number;
  setMark(path: string, mark: Mark): void;
  /** Marks the directory and everything below it. */
  markTree(path: string, mark: Mark): void;
  /** At most `limit` rows with the mark, in the order of insertion, after the row `after`. */
  marked(mark: Mark, after: bigint, limit: number): { readonly id: bigint; readonly row: IndexRow }[];
  countMarked(mark: Mark): { readonly files: number; readonly bytes: bigint };
  /** How many files are marked as gone and do not lie under another name that is still to be examined. */
  countLost(): number;
  /** Whether the inode lies under another path that is still to be examined: the row may have moved there. */
  mayHaveMoved(row: IndexRow): boolean;

  /** A fact about the share that must survive a restart (the identity of its marker). */
  setting(name: string): string | undefined;
  setSetting(name: string, value: string | undefined): void;

  /** Runs `work` in one durable transaction, which may be one that is already running. */
  transaction<T>(work: () => T): T;
  /** Forgets the share: all of its rows and settings. */
  erase(): void;
}

const MIGRATIONS = [
  `
  CREATE TABLE directory_share(
    id INTEGER PRIMARY KEY,
    club TEXT NOT NULL UNIQUE,
    files INTEGER NOT NULL DEFAULT 0,
    directories INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0
  ) STRICT;
  CREATE TABLE directory_setting(
    share INTEGER NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY(share, name)
  ) STRICT, WITHOUT ROWID;
  -- The root has the parent '' and the name ''. Times in nanoseconds since 1970; ino as a signed number.
  CREATE TABLE directory_file(
    id INTEGER PRIMARY KEY,
    share INTEGER NOT NULL,
    parent TEXT NOT NULL,
    name TEXT NOT NULL,
    local_name TEXT,
    directory INTEGER NOT NULL,
    size INTEGER NOT NULL,
    mtime INTEGER NOT NULL,
    ctime INTEGER NOT NULL,
    ino INTEGER NOT NULL,
    mode INTEGER NOT NULL,
    sha256 BLOB,
    uuid BLOB,
    clock TEXT,
    found INTEGER NOT NULL,
    mark INTEGER NOT NULL
  ) STRICT;
  CREATE UNIQUE INDEX directory_file_path ON directory_file(share, parent, name);
  CREATE INDEX directory_file_ino ON directory_file(ino, share);
  CREATE INDEX directory_file_sha256 ON directory_file(sha256, share) WHERE sha256 IS NOT NULL;
  CREATE INDEX directory_file_uuid ON directory_file(uuid, share) WHERE uuid IS NOT NULL;
  CREATE INDEX directory_file_local ON directory_file(share, parent, local_name) WHERE local_name IS NOT NULL;
  CREATE INDEX directory_file_mark ON directory_file(share, mark) WHERE mark <> 0;
  CREATE INDEX directory_file_found ON directory_file(share) WHERE found <> 0;
  CREATE TRIGGER directory_file_inserted AFTER INSERT ON directory_file BEGIN
    UPDATE directory_share SET files = files + (1 - NEW.directory), directories = directories + NEW.directory,
      bytes = bytes + NEW.size WHERE id = NEW.share;
  END;
  CREATE TRIGGER directory_file_deleted AFTER DELETE ON directory_file BEGIN
    UPDATE directory_share SET files = files - (1 - OLD.directory), directories = directories - OLD.directory,
      bytes = bytes - OLD.size WHERE id = OLD.share;
  END;
  CREATE TRIGGER directory_file_updated AFTER UPDATE ON directory_file
  WHEN NEW.size <> OLD.size OR NEW.directory <> OLD.directory BEGIN
    UPDATE directory_share SET files = files + OLD.directory - NEW.directory,
      directories = directories + NEW.directory - OLD.directory,
      bytes = bytes + NEW.size - OLD.size WHERE id = NEW.share;
  END;
  `,
];

/** Rows that are read at a time where the caller may change the table in between. */
const PAGE = 256;
const MAX_INODE_ROWS = 16;
const MARKS: readonly Mark[] = ['none', 'examine', 'gone'];

interface Row extends Readonly<Record<string, SqlOutput>> {
  readonly id: bigint;
  readonly parent: string;
  readonly name: string;
  readonly local_name: string | null;
  readonly directory: bigint;
  readonly size: bigint;
  readonly mtime: bigint;
  readonly ctime: bigint;
  readonly ino: bigint;
  readonly mode: bigint;
  readonly sha256: Uint8Array | null;
  readonly uuid: Uint8Array | null;
  readonly clock: string | null;
  readonly found: bigint;
  readonly mark: bigint;
}

/** @param club our own id of the club that the share belongs to. */
export function openLocalIndex(sqlite: Sqlite, club: string): LocalIndex {
  sqlite.migrate('directory.index', MIGRATIONS);
  return new SqliteIndex(sqlite, club);
}

class SqliteIndex implements LocalIndex {
  readonly #sqlite: Sqlite;
  readonly #club: string;
  #share: bigint;
  /** Whether any name had to be replaced; nearly always false, which spares looking for one at every path. */
  #hasLocalNames: boolean;

  constructor(sqlite: Sqlite, club: string) {
    this.#sqlite = sqlite;
    this.#club = club;
    this.#share = this.#open();
    this.#hasLocalNames =
      sqlite
        .prepare('SELECT 1 FROM directory_file WHERE share = ? AND local_name IS NOT NULL LIMIT 1')
        .get(this.#share) !== undefined;
  }

  byPath(path: string): IndexRow | undefined {
    const row = this.#sqlite
      .prepare<Row>('SELECT * FROM directory_file WHERE share = ? AND parent = ? AND name = ?')
      .get(this.#share, ...split(path));
    return row && decodeRow(row);
  }

  byUuid(uuid: string): IndexRow | undefined {
    const row = this.#sqlite
      .prepare<Row>('SELECT * FROM directory_file WHERE uuid = ? AND share = ? LIMIT 1')
      .get(fromHex(uuid), this.#share);
    return row && decodeRow(row);
  }

  bySha256(sha256: string, limit = 16): IndexRow[] {
    return this.#sqlite
      .prepare<Row>('SELECT * FROM directory_file WHERE sha256 = ? AND share = ? LIMIT ?')
      .all(fromHex(sha256), this.#share, limit)
      .map(decodeRow);
  }

  byInode(ino: bigint): IndexRow[] {
    return this.#sqlite
      .prepare<Row>('SELECT * FROM directory_file WHERE ino = ? AND share = ? LIMIT ?')
      .all(BigInt.asIntN(64, ino), this.#share, MAX_INODE_ROWS)
      .map(decodeRow);
  }

  *children(path: string): IterableIterator<IndexRow> {
    for (let after = ''; ; ) {
      const rows = this.#sqlite
        .prepare<Row>(
          `SELECT * FROM directory_file WHERE share = ? AND parent = ? AND name > ? ORDER BY name LIMIT ${PAGE}`,
        )
        .all(this.#share, path, after);
      for (const row of rows) yield decodeRow(row);
      if (rows.length < PAGE) return;
      after = rows.at(-1)!.name;
    }
  }

  *below(path: string): IterableIterator<IndexRow> {
    yield* this.children(path);
    // All parents below, in the order of their paths: everything that begins with the directory and a slash.
    const [from, to] = pathRange(path);
    let [parent, name] = [from, ''];
    for (;;) {
      const rows: Row[] = this.#sqlite
        .prepare<Row>(
          `SELECT * FROM directory_file WHERE share = ? AND (parent, name) > (?, ?) AND parent > ? AND parent < ?
           ORDER BY parent, name LIMIT ${PAGE}`,
        )
        .all(this.#share, parent, name, from, to);
      for (const row of rows) yield decodeRow(row);
      if (rows.length < PAGE) return;
      ({ parent, name } = rows.at(-1)!);
    }
  }

  *found(): IterableIterator<IndexRow> {
    for (let after = -1n; ; ) {
      const rows: Row[] = this.#sqlite
        .prepare<Row>(
          `SELECT * FROM directory_file WHERE share = ? AND found <> 0 AND id > ? ORDER BY id LIMIT ${PAGE}`,
        )
        .all(this.#share, after);
      for (const row of rows) yield decodeRow(row);
      if (rows.length < PAGE) return;
      after = rows.at(-1)!.id;
    }
  }

  put(row: IndexRow, mark: Mark = 'none'): void {
    const [parent, name] = split(row.path);
    if (row.localName !== undefined) this.#hasLocalNames = true;
    this.#sqlite
      .prepare(
        `INSERT INTO directory_file(share, parent, name, local_name, directory, size, mtime, ctime, ino, mode, sha256,
           uuid, clock, found, mark) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT(share, parent, name) DO UPDATE SET local_name = excluded.local_name,
           directory = excluded.directory, size = excluded.size, mtime = excluded.mtime, ctime = excluded.ctime,
           ino = excluded.ino, mode = excluded.mode, sha256 = excluded.sha256, uuid = excluded.uuid,
           clock = excluded.clock, found = excluded.found, mark = excluded.mark`,
      )
      .run(
        this.#share,
        parent,
        name,
        row.localName ?? null,
        row.kind === 'directory' ? 1 : 0,
        // A directory's own size and times say nothing.
        ...(row.kind === 'directory' ? [0n, 0n, 0n] : [row.size, row.mtimeNs, row.ctimeNs]),
        BigInt.asIntN(64, row.ino),
        row.mode & 0o777,
        row.sha256 === undefined ? null : fromHex(row.sha256),
        row.uuid === undefined ? null : fromHex(row.uuid),
        row.clock === undefined ? null : encodeClock(row.clock),
        row.found ? 1 : 0,
        MARKS.indexOf(mark),
      );
  }

  remove(path: string): boolean {
    const changed = this.#sqlite
      .prepare('DELETE FROM directory_file WHERE share = ? AND parent = ? AND name = ?')
      .run(this.#share, ...split(path));
    return changed > 0n;
  }

  totals(): IndexTotals {
    const row = this.#sqlite
      .prepare<{ files: bigint; directories: bigint; bytes: bigint }>(
        'SELECT files, directories, bytes FROM directory_share WHERE id = ?',
      )
      .get(this.#share);
    if (row === undefined) return { files: 0, directories: 0, bytes: 0n };
    return { files: Number(row.files), directories: Number(row.directories), bytes: row.bytes };
  }

  localPath(path: string): string {
    if (!this.#hasLocalNames || path === '/') return path;
    let local = '/';
    let share = '/';
    for (const name of path.slice(1).split('/')) {
      share = joinPath(share, name);
      local = joinPath(local, this.byPath(share)?.localName ?? name);
    }
    return local;
  }

  sharePath(directory: string, localName: string): string {
    if (!this.#hasLocalNames) return joinPath(directory, localName);
    const row = this.#sqlite
      .prepare<{ name: string }>(
        'SELECT name FROM directory_file WHERE share = ? AND parent = ? AND local_name = ?',
      )
      .get(this.#share, directory, localName);
    return joinPath(directory, row?.name ?? localName);
  }

  scanRows(directory: string, names: readonly string[]): Map<string, ScanRow> {
    const rows = this.#sqlite
      .prepare<Row>(
        `SELECT f.id, f.name, f.directory, f.size, f.mtime, f.ctime, f.ino, f.mode, f.mark
         FROM json_each(?) AS wanted JOIN directory_file AS f
         ON f.share = ? AND f.parent = ? AND f.name = wanted.value`,
      )
      .all(JSON.stringify(names), this.#share, directory);
    const found = new Map<string, ScanRow>();
    for (const row of rows) found.set(row.name, decodeScanRow(row));
    return found;
  }

  countChildren(directory: string): number {
    const row = this.#sqlite
      .prepare<{ count: bigint }>(
        "SELECT count(*) AS count FROM directory_file WHERE share = ? AND parent = ? AND name <> ''",
      )
      .get(this.#share, directory);
    return Number(row?.count ?? 0n);
  }

  setMark(path: string, mark: Mark): void {
    this.#sqlite
      .prepare(
        'UPDATE directory_file SET mark = ?1 WHERE share = ?2 AND parent = ?3 AND name = ?4 AND mark <> ?1',
      )
      .run(MARKS.indexOf(mark), this.#share, ...split(path));
  }

  markTree(path: string, mark: Mark): void {
    const [from, to] = pathRange(path);
    this.transaction(() => {
      this.setMark(path, mark);
      this.#sqlite
        .prepare('UPDATE directory_file SET mark = ?1 WHERE share = ?2 AND parent = ?3 AND mark <> ?1')
        .run(MARKS.indexOf(mark), this.#share, path);
      this.#sqlite
        .prepare(
          'UPDATE directory_file SET mark = ?1 WHERE share = ?2 AND parent > ?3 AND parent < ?4 AND mark <> ?1',
        )
        .run(MARKS.indexOf(mark), this.#share, from, to);
    });
  }

  marked(mark: Mark, after: bigint, limit: number): { readonly id: bigint; readonly row: IndexRow }[] {
    return this.#sqlite
      .prepare<Row>(
        'SELECT * FROM directory_file WHERE share = ? AND mark = ? AND mark <> 0 AND id > ? ORDER BY id LIMIT ?',
      )
      .all(this.#share, MARKS.indexOf(mark), after, limit)
      .map((row) => ({ id: row.id, row: decodeRow(row) }));
  }

  countMarked(mark: Mark): { readonly files: number; readonly bytes: bigint } {
    const row = this.#sqlite
      .prepare<{ files: bigint; bytes: bigint }>(
        `SELECT count(*) AS files, coalesce(sum(size), 0) AS bytes FROM directory_file
         WHERE share = ? AND mark = ? AND mark <> 0 AND directory = 0`,
      )
      .get(this.#share, MARKS.indexOf(mark));
    return { files: Number(row?.files ?? 0n), bytes: row?.bytes ?? 0n };
  }

  countLost(): number {
    const row = this.#sqlite
      .prepare<{ count: bigint }>(
        `SELECT count(*) AS count FROM directory_file AS f
         WHERE share = ? AND mark = ? AND mark <> 0 AND directory = 0 AND NOT EXISTS (
           SELECT 1 FROM directory_file AS t WHERE t.ino = f.ino AND t.share = f.share AND t.mark = ? AND t.uuid IS NULL)`,
      )
      .get(this.#share, MARKS.indexOf('gone'), MARKS.indexOf('examine'));
    return Number(row?.count ?? 0n);
  }

  mayHaveMoved(row: IndexRow): boolean {
    return (
      this.#sqlite
        .prepare(
          `SELECT 1 FROM directory_file
           WHERE ino = ? AND share = ? AND mark = ? AND uuid IS NULL AND directory = ? LIMIT 1`,
        )
        .get(
          BigInt.asIntN(64, row.ino),
          this.#share,
          MARKS.indexOf('examine'),
          row.kind === 'directory' ? 1 : 0,
        ) !== undefined
    );
  }

  setting(name: string): string | undefined {
    return this.#sqlite
      .prepare<{ value: string }>('SELECT value FROM directory_setting WHERE share = ? AND name = ?')
      .get(this.#share, name)?.value;
  }

  setSetting(name: string, value: string | undefined): void {
    if (value === undefined)
      this.#sqlite
        .prepare('DELETE FROM directory_setting WHERE share = ? AND name = ?')
        .run(this.#share, name);
    else
      this.#sqlite
        .prepare(
          `INSERT INTO directory_setting(share, name, value) VALUES(?, ?, ?)
           ON CONFLICT(share, name) DO UPDATE SET value = excluded.value`,
        )
        .run(this.#share, name, value);
  }

  transaction<T>(work: () => T): T {
    return this.#sqlite.transaction(work);
  }

  erase(): void {
    this.transaction(() => {
      this.#sqlite.prepare('DELETE FROM directory_file WHERE share = ?').run(this.#share);
      this.#sqlite.prepare('DELETE FROM directory_setting WHERE share = ?').run(this.#share);
    });
    this.#hasLocalNames = false;
  }

  #open(): bigint {
    return this.#sqlite.transaction(() => {
      this.#sqlite
        .prepare('INSERT INTO directory_share(club) VALUES(?) ON CONFLICT(club) DO NOTHING')
        .run(this.#club);
      const row = this.#sqlite
        .prepare<{ id: bigint }>('SELECT id FROM directory_share WHERE club = ?')
        .get(this.#club);
      if (row === undefined)
        throw internalError('directory.index_broken', 'the share is missing from the index');
      return row.id;
    });
  }
}

/** Parent and name as the table has them. */
function split(path: string): [string, string] {
  return path === '/' ? ['', ''] : [parentOf(path), nameOf(path)];
}

/** All paths p with from < p < to begin with the directory and a slash: '0' comes right after '/'. */
function pathRange(directory: string): [string, string] {
  return directory === '/' ? ['/', '0'] : [`${directory}/`, `${directory}0`];
}

function decodeRow(row: Row): IndexRow {
  return {
    path: row.parent === '' ? '/' : joinPath(row.parent, row.name),
    kind: row.directory === 1n ? 'directory' : 'file',
    size: row.size,
    mtimeNs: row.mtime,
    ctimeNs: row.ctime,
    ino: BigInt.asUintN(64, row.ino),
    mode: Number(row.mode),
    sha256: row.sha256 === null ? undefined : toHex(row.sha256),
    uuid: row.uuid === null ? undefined : toHex(row.uuid),
    clock: row.clock === null ? undefined : decodeClock(row.clock),
    found: row.found === 1n,
    localName: row.local_name ?? undefined,
  };
}

function decodeScanRow(row: Row): ScanRow {
  return {
    id: row.id,
    name: row.name,
    kind: row.directory === 1n ? 'directory' : 'file',
    size: row.size,
    mtimeNs: row.mtime,
    ctimeNs: row.ctime,
    ino: BigInt.asUintN(64, row.ino),
    mode: Number(row.mode),
    mark: MARKS[Number(row.mark)] ?? 'examine',
  };
}

/** Peers in order, so that equal clocks have equal texts. */
function encodeClock(clock: VectorClock): string {
  const peers = [...clock.keys()].sort();
  return `{${peers.map((peer) => `${JSON.stringify(peer)}:${clock.get(peer)}`).join(',')}}`;
}

function decodeClock(text: string): VectorClock {
  const json = parseJson(text);
  const clock = new Map<string, bigint>();
  if (isJsonObject(json))
    for (const [peer, revision] of Object.entries(json))
      if (typeof revision === 'number' || typeof revision === 'bigint') clock.set(peer, BigInt(revision));
  return clock;
}

/** Whether the row is `directory` itself or lies below it. */
export function isWithin(path: string, directory: string): boolean {
  return path === directory || isBelow(path, directory);
}
