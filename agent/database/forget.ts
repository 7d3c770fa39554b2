/** What becomes of a club's records when it was left. */

import type { Sqlite } from '../platform/sqlite.ts';
import { type OwnedRows, ownersIn, removeSome } from '../platform/sqlite-removal.ts';
import { prepareDatabase } from './store.ts';

/** By the club's number. */
const ROWS: readonly OwnedRows[] = [
  { table: 'database_record', key: 'id', owner: 'club' },
  { table: 'database_contested', key: 'club, key', owner: 'club' },
  { table: 'database_since', key: 'club, remote, level, author', owner: 'club' },
  { table: 'database_remote', key: 'club, remote, level', owner: 'club' },
  { table: 'database_holder', key: 'club, peer', owner: 'club' },
];
const CLUB: OwnedRows = { table: 'database_club', key: 'id', owner: 'club' };

/** The clubs that there is anything of. */
export function* clubsWithRecords(sqlite: Sqlite): Iterable<string> {
  prepareDatabase(sqlite);
  yield* ownersIn(sqlite, CLUB);
}

/**
 * Removes up to `limit` rows of a club, whose database must be closed. All that stays in the end is the last revision that
 * it has given out: should an older copy of the keys come back, no revision is given out twice under their peer ID.
 * @returns whether there is more.
 */
export function forgetSomeOfClub(sqlite: Sqlite, club: string, limit: number): boolean {
  prepareDatabase(sqlite);
  return sqlite.transaction(() => {
    const row = sqlite
      .prepare<{ id: bigint; revision: bigint }>('SELECT id, revision FROM database_club WHERE club = ?')
      .get(club);
    if (row === undefined) return false;
    for (const rows of ROWS) if (removeSome(sqlite, rows, row.id, limit) > 0) return true;
    if (row.revision > 0n) {
      sqlite.prepare('INSERT OR REPLACE INTO database_forgotten VALUES(?, ?)').run(club, row.revision);
    }
    sqlite.prepare('DELETE FROM database_club WHERE id = ?').run(row.id);
    return false;
  });
}
