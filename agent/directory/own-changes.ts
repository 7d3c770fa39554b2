/**
 * What was done in a folder whose share may only be read here, for status: files that lie beside the share, and edits that
 * were put right. Both are found in tables that are kept anyway.
 */

import type { Sqlite } from '../platform/sqlite.ts';
import { joinPath } from './paths.ts';
import type { Problem } from './problems.ts';

/** Neither index has a row where the share may be written: what is new there is marked until it has a record. */
const MIGRATIONS = [
  `
  CREATE INDEX directory_file_beside ON directory_file(share, parent, name)
    WHERE uuid IS NULL AND found = 0 AND mark = 0 AND directory = 0;
  CREATE INDEX directory_archive_put_right ON directory_archive(club) WHERE reason = 'not_permitted';
  `,
];
const SHOWN_PATHS = 10;
const BESIDE = 'uuid IS NULL AND found = 0 AND mark = 0 AND directory = 0';

export interface OwnChangesOptions {
  /** With the tables of the local index and of the archive. */
  readonly sqlite: Sqlite;
  readonly club: string;
  /** False for a read-only member. */
  readonly mayWrite: boolean;
  /** Whether what is done in the folder becomes a record. */
  readonly writable: () => boolean;
}

export class OwnChanges {
  readonly #options: OwnChangesOptions;

  constructor(options: OwnChangesOptions) {
    this.#options = options;
    options.sqlite.migrate('directory.own_changes', MIGRATIONS);
  }

  /** Files in the folder that are not in the share, since they may not be added here. */
  get beside(): number {
    const { sqlite, club, writable } = this.#options;
    if (writable()) return 0;
    const row = sqlite
      .prepare<{ count: bigint }>(
        `SELECT count(*) AS count FROM directory_file
         WHERE share = (SELECT id FROM directory_share WHERE club = ?) AND ${BESIDE}`,
      )
      .get(club);
    return Number(row?.count ?? 0n);
  }

  /** Edited files that made room for what the share has, and are still in the archive. */
  get putRight(): number {
    const { sqlite, club } = this.#options;
    const row = sqlite
      .prepare<{ count: bigint }>(
        "SELECT count(*) AS count FROM directory_archive WHERE club = ? AND reason = 'not_permitted'",
      )
      .get(club);
    return Number(row?.count ?? 0n);
  }

  /** That files lie beside the share: whoever put them there may think that they spread. */
  problem(): Problem | undefined {
    const count = this.beside;
    if (count === 0) return undefined;
    const { sqlite, club, mayWrite } = this.#options;
    const rows = sqlite
      .prepare<{ parent: string; name: string }>(
        `SELECT parent, name FROM directory_file
         WHERE share = (SELECT id FROM directory_share WHERE club = ?) AND ${BESIDE}
         ORDER BY parent, name LIMIT ${SHOWN_PATHS}`,
      )
      .all(club);
    const files = count === 1 ? '1 file in the folder is' : `${count} files in the folder are`;
    return {
      code: 'share.files_beside',
      message: `${files} not in the share and ${count === 1 ? 'does' : 'do'} not spread: ${mayWrite ? 'this device only receives' : 'the share is read-only here'}`,
      remedy: `move ${count === 1 ? 'it' : 'them'} elsewhere, or ${mayWrite ? 'let the share go in both directions (skylark set SHARE --direction both)' : 'join again with a code that was made with --mode read_write'}`,
      stops: 'files',
      count,
      paths: rows.map(({ parent, name }) => joinPath(parent, name)),
    };
  }
}
