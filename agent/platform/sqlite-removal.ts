/** Removing many rows in steps of bounded length, so that nothing else waits long for the database. */

import type { Sqlite } from './sqlite.ts';

/** Rows of one owner in one table. All names are constants of the program. */
export interface OwnedRows {
  readonly table: string;
  /** The columns of its primary key, separated by commas. */
  readonly key: string;
  /** The column that names the owner. */
  readonly owner: string;
}

/** Whether the table was ever made. */
export function hasTable(sqlite: Sqlite, table: string): boolean {
  const found = sqlite.prepare("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?").get(table);
  return found !== undefined;
}

/** Removes at most `limit` rows of an owner. @returns how many; 0: there are none, or the table was never made. */
export function removeSome(
  sqlite: Sqlite,
  { table, key, owner }: OwnedRows,
  whose: string | bigint,
  limit: number,
): number {
  if (!hasTable(sqlite, table)) return 0;
  const statement = sqlite.prepare(
    `DELETE FROM ${table} WHERE (${key}) IN (SELECT ${key} FROM ${table} WHERE ${owner} = ? LIMIT ?)`,
  );
  return Number(statement.run(whose, limit));
}

/** All owners in a table, found by its index, not by reading all rows. */
export function* ownersIn(sqlite: Sqlite, { table, owner }: OwnedRows): Iterable<string> {
  if (!hasTable(sqlite, table)) return;
  const next = sqlite.prepare<{ owner: string }>(
    `SELECT ${owner} AS owner FROM ${table} WHERE ${owner} > ? ORDER BY ${owner} LIMIT 1`,
  );
  for (let row = next.get(''); row !== undefined; row = next.get(row.owner)) yield row.owner;
}
