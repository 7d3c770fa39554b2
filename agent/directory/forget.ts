/** What becomes of a share's tables when it was left. Its files stay, and so does the archive in its folder. */

import type { Sqlite } from '../platform/sqlite.ts';
import { hasTable, type OwnedRows, ownersIn, removeSome } from '../platform/sqlite-removal.ts';
import { preparePending } from './pending.ts';

/** By our own id of the club. */
const ROWS: readonly OwnedRows[] = [
  { table: 'directory_refusal', key: 'club, sha256, peer, size', owner: 'club' },
  { table: 'directory_partial', key: 'club, sha256, size', owner: 'club' },
  { table: 'directory_archive', key: 'id', owner: 'club' },
  { table: 'directory_archive_time', key: 'club', owner: 'club' },
  { table: 'directory_cache', key: 'club, sha256', owner: 'club' },
  { table: 'directory_intent', key: 'id', owner: 'club' },
  { table: 'directory_damaged', key: 'club, uuid', owner: 'club' },
];
/** By the share's number. */
const SHARE_ROWS: readonly OwnedRows[] = [
  { table: 'directory_pending', key: 'id', owner: 'share' },
  { table: 'directory_pending_count', key: 'share, kind', owner: 'share' },
  { table: 'directory_file', key: 'id', owner: 'share' },
  { table: 'directory_setting', key: 'share, name', owner: 'share' },
];
const SHARE: OwnedRows = { table: 'directory_share', key: 'id', owner: 'club' };

/** The clubs that there is anything of; some may come twice. */
export function* clubsWithShares(sqlite: Sqlite): Iterable<string> {
  for (const rows of [SHARE, ...ROWS]) yield* ownersIn(sqlite, rows);
}

/** Removes up to `limit` rows of a club, whose share must be closed. @returns whether there is more. */
export function forgetSomeOfShare(sqlite: Sqlite, club: string, limit: number): boolean {
  return sqlite.transaction(() => {
    // With no share open, the tables may be as an earlier version left them.
    if (hasTable(sqlite, 'directory_pending')) preparePending(sqlite);
    for (const rows of ROWS) if (removeSome(sqlite, rows, club, limit) > 0) return true;
    if (!hasTable(sqlite, SHARE.table)) return false;
    const share = sqlite.prepare<{ id: bigint }>('SELECT id FROM directory_share WHERE club = ?').get(club);
    if (share === undefined) return false;
    for (const rows of SHARE_ROWS) if (removeSome(sqlite, rows, share.id, limit) > 0) return true;
    // Last: it is the way to the others.
    sqlite.prepare('DELETE FROM directory_share WHERE id = ?').run(share.id);
    return false;
  });
}
