/**
 * What we last knew to be on the disk, and which version of which record that was. The disk is compared with this index
 * to find what the owner changed (never with the records, which may be ahead); the records are compared with it to find
 * what the disk still lacks. It lies in the same SQLite file as the records, so that both change in one transaction.
 *
 * Holds nothing in memory but the open share: every question is a query over an index.
 */

import { fromHex } from '../base/bytes.ts';
import { type FileFacts, parentOf } from '../platform/files.ts';
import type { Sqlite } from '../platform/sqlite.ts';
import type { Comparison, IndexRow, IndexTotals, LocalIndex, Mark } from './index-row.ts';
import {
  decodeRow,
  decodeStored,
  encodeClock,
  MARKS,
  MIGRATIONS,
  type PackedRow,
  pathRange,
  ROW,
  STAMP,
  type StoredRow,
  shareNumber,
  split,
  stampOf,
} from './index-table.ts';
import { joinPath } from './paths.ts';

export type * from './index-row.ts';

/** Rows that are read at a time where the caller may change the table in between. */
const PAGE = 256;
/** Of one inode, or of one content. Part of the statement: bound, it would cost more than the whole query. */
const MAX_ROWS = 16;
/** Of one mark. */
const MAX_MARKED = 128;

/** @param club our own id of the club that the share belongs to. */
export function openLocalIndex(sqlite: Sqlite, club: string): LocalIndex {
  sqlite.migrate('directory.index', MIGRATIONS);
  return new SqliteIndex(sqlite, club);
}

class SqliteIndex implements LocalIndex {
  readonly #sqlite: Sqlite;
  readonly #share: bigint;
  /** Whether any name had to be replaced; nearly always false, which spares looking for one at every path. */
  #hasLocalNames: boolean;

  constructor(sqlite: Sqlite, club: string) {
    this.#sqlite = sqlite;
    this.#share = shareNumber(sqlite, club);
    this.#hasLocalNames =
      sqlite
        .prepare('SELECT 1 FROM directory_file WHERE share = ? AND local_name IS NOT NULL LIMIT 1')
        .get(this.#share) !== undefined;
  }

  byPath(path: string): IndexRow | undefined {
    const row = this.#sqlite
      .prepare<PackedRow>(`SELECT ${ROW} FROM directory_file WHERE share = ? AND parent = ? AND name = ?`)
      .get(this.#share, ...split(path));
    return row && decodeRow(row);
  }

  isDirectory(path: string): boolean {
    const query =
      'SELECT 1 FROM directory_file WHERE share = ? AND parent = ? AND name = ? AND directory = 1';
    return this.#sqlite.prepare(query).get(this.#share, ...split(path)) !== undefined;
  }

  byUuid(uuid: string): IndexRow | undefined {
    const row = this.#sqlite
      .prepare<PackedRow>(`SELECT ${ROW} FROM directory_file WHERE uuid = ? AND share = ? LIMIT 1`)
      .get(fromHex(uuid), this.#share);
    return row && decodeRow(row);
  }

  bySha256(sha256: string, limit = MAX_ROWS): IndexRow[] {
    return this.#sqlite
      .prepare<PackedRow>(
        `SELECT ${ROW} FROM directory_file
         WHERE substr(sha256, 1, 4) = substr(?1, 1, 4) AND sha256 = ?1 AND share = ?2 LIMIT ${MAX_ROWS}`,
      )
      .all(fromHex(sha256), this.#share)
      .slice(0, limit)
      .map(decodeRow);
  }

  byInode(ino: bigint): IndexRow[] {
    return this.#sqlite
      .prepare<PackedRow>(`SELECT ${ROW} FROM directory_file WHERE ino = ? AND share = ? LIMIT ${MAX_ROWS}`)
      .all(BigInt.asIntN(64, ino), this.#share)
      .map(decodeRow);
  }

  *children(path: string): IterableIterator<IndexRow> {
    for (let after = ''; ; ) {
      const page = this.#sqlite
        .prepare<PackedRow>(
          `SELECT ${ROW} FROM directory_file WHERE share = ? AND parent = ? AND name > ? ORDER BY name LIMIT ${PAGE}`,
        )
        .all(this.#share, path, after);
      let last: StoredRow | undefined;
      for (const packed of page) {
        last = decodeStored(packed);
        yield last.row;
      }
      if (last === undefined || page.length < PAGE) return;
      after = last.name;
    }
  }

  *below(path: string): IterableIterator<IndexRow> {
    yield* this.children(path);
    // All parents below, in the order of their paths: everything that begins with the directory and a slash.
    const [from, to] = pathRange(path);
    let [parent, name] = [from, ''];
    for (;;) {
      const page = this.#sqlite
        .prepare<PackedRow>(
          `SELECT ${ROW} FROM directory_file WHERE share = ? AND (parent, name) > (?, ?) AND parent > ? AND parent < ?
           ORDER BY parent, name LIMIT ${PAGE}`,
        )
        .all(this.#share, parent, name, from, to);
      let last: StoredRow | undefined;
      for (const packed of page) {
        last = decodeStored(packed);
        yield last.row;
      }
      if (last === undefined || page.length < PAGE) return;
      ({ parent, name } = last);
    }
  }

  *found(): IterableIterator<IndexRow> {
    for (let after = -1; ; ) {
      const page = this.#sqlite
        .prepare<PackedRow>(
          `SELECT ${ROW} FROM directory_file WHERE share = ? AND found <> 0 AND id > ? ORDER BY id LIMIT ${PAGE}`,
        )
        .all(this.#share, after);
      let last: StoredRow | undefined;
      for (const packed of page) {
        last = decodeStored(packed);
        yield last.row;
      }
      if (last === undefined || page.length < PAGE) return;
      after = last.id;
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

  compare(directory: string, entries: ReadonlyMap<string, FileFacts>): Comparison {
    // Built by hand: an object would take a name like __proto__ for something else.
    const members = Array.from(entries, ([name, facts]) => `${JSON.stringify(name)}:"${stampOf(facts)}"`);
    const differing = this.#sqlite
      .prepare<{ name: string; known: bigint }>(
        `SELECT listed.key AS name, f.id IS NOT NULL AS known
         FROM json_each(?) AS listed LEFT JOIN directory_file AS f
         ON f.share = ? AND f.parent = ? AND f.name = listed.key
         WHERE f.id IS NULL OR f.mark <> 0 OR ${STAMP} <> listed.value`,
      )
      .all(`{${members.join(',')}}`, this.#share, directory)
      .map(({ name, known }) => ({ name, isKnown: known === 1n }));
    const unknown = differing.reduce((count, { isKnown }) => count + (isKnown ? 0 : 1), 0);
    return { known: entries.size - unknown, differing };
  }

  emptyFound(): string[] {
    return this.#sqlite
      .prepare<{ path: string }>(
        `SELECT f.parent || iif(f.parent = '/', '', '/') || f.name AS path FROM directory_file AS f
         WHERE share = ? AND found <> 0 AND directory = 1 AND uuid IS NULL AND name <> '' AND NOT EXISTS (
           SELECT 1 FROM directory_file AS c WHERE c.share = f.share AND c.name <> ''
             AND c.parent = f.parent || iif(f.parent = '/', '', '/') || f.name)
         LIMIT ${MAX_MARKED}`,
      )
      .all(this.#share)
      .map(({ path }) => path);
  }

  rename(path: string, name: string): void {
    const to = joinPath(parentOf(path), name);
    const [after, before] = pathRange(path);
    this.transaction(() => {
      this.#sqlite
        .prepare(
          `UPDATE directory_file SET parent = ? || substr(parent, ?)
           WHERE share = ? AND (parent = ? OR parent > ? AND parent < ?)`,
        )
        .run(to, Array.from(path).length + 1, this.#share, path, after, before);
      this.#sqlite
        .prepare('UPDATE directory_file SET name = ? WHERE share = ? AND parent = ? AND name = ?')
        .run(name, this.#share, ...split(path));
    });
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

  markUnrecorded(): void {
    this.#sqlite
      .prepare(
        'UPDATE directory_file SET mark = ? WHERE share = ? AND uuid IS NULL AND found = 0 AND mark = 0',
      )
      .run(MARKS.indexOf('examine'), this.#share);
  }

  marked(mark: Mark, after: number, limit: number): { readonly id: number; readonly row: IndexRow }[] {
    return this.#sqlite
      .prepare<PackedRow>(
        `SELECT ${ROW} FROM directory_file WHERE share = ? AND mark = ${MARKS.indexOf(mark)} AND mark <> 0 AND id > ?
         ORDER BY id LIMIT ${MAX_MARKED}`,
      )
      .all(this.#share, after)
      .slice(0, limit)
      .map(decodeStored);
  }

  hasMarked(mark: Mark): boolean {
    return (
      this.#sqlite
        .prepare(
          `SELECT 1 FROM directory_file WHERE share = ? AND mark = ${MARKS.indexOf(mark)} AND mark <> 0 LIMIT 1`,
        )
        .get(this.#share) !== undefined
    );
  }

  unread(): { readonly files: number; readonly bytes: bigint } {
    const row = this.#sqlite
      .prepare<{ files: bigint; bytes: bigint }>(
        'SELECT unread AS files, unread_bytes AS bytes FROM directory_share WHERE id = ?',
      )
      .get(this.#share);
    return { files: Number(row?.files ?? 0n), bytes: row?.bytes ?? 0n };
  }

  countLost(): number {
    const row = this.#sqlite
      .prepare<{ count: bigint }>(
        `SELECT count(*) AS count FROM directory_file AS f
         WHERE share = ? AND mark = ? AND mark <> 0 AND directory = 0 AND uuid IS NOT NULL AND NOT EXISTS (
           SELECT 1 FROM directory_file AS t WHERE t.ino = f.ino AND t.share = f.share AND t.mark IN (?, ?) AND t.uuid IS NULL)`,
      )
      .get(this.#share, MARKS.indexOf('gone'), MARKS.indexOf('examine'), MARKS.indexOf('blocked'));
    return Number(row?.count ?? 0n);
  }

  mayHaveMoved(row: IndexRow): boolean {
    return (
      this.#sqlite
        .prepare(
          `SELECT 1 FROM directory_file
           WHERE ino = ? AND share = ? AND mark IN (?, ?) AND uuid IS NULL AND directory = ? LIMIT 1`,
        )
        .get(
          BigInt.asIntN(64, row.ino),
          this.#share,
          MARKS.indexOf('examine'),
          MARKS.indexOf('blocked'),
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
}
