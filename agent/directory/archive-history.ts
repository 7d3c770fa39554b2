/**
 * What the archive has kept, for people: by the path at which it was, or below a folder, newest first. Each version has a
 * number of its own, that of its row in the archive, for as long as it is kept.
 */

import { environmentError, SkylarkError, userError } from '../base/errors.ts';
import { printable } from '../base/printable.ts';
import type { ShareRoot } from '../platform/files.ts';
import type { Sqlite } from '../platform/sqlite.ts';
import { type Archive, type ArchivedFile, fromStored, type Stored } from './archive.ts';

export interface ArchiveHistoryOptions {
  readonly sqlite: Sqlite;
  readonly club: string;
  readonly archive: Archive;
  readonly root: Pick<ShareRoot, 'look'>;
}

export interface HistoryPage {
  readonly versions: readonly ArchivedFile[];
  /** `before` of the next page; undefined after the last one. */
  readonly next: bigint | undefined;
}

/** Rows that are read for one page, at most: some may have lost their files. */
const MAX_PAGE = 1_000;
/** Behind all numbers. */
const NEWEST = 9_223_372_036_854_775_807n;

export class ArchiveHistory {
  readonly #options: ArchiveHistoryOptions;

  constructor(options: ArchiveHistoryOptions) {
    this.#options = options;
  }

  /**
   * Versions of the file at `path`, and of everything that was below it if it was a folder.
   * @param before only older ones than this number
   * @param limit at most 1,000
   */
  async page(path: string, before: bigint | undefined, limit: number): Promise<HistoryPage> {
    const rows = this.#rows(path, before ?? NEWEST, Math.min(limit, MAX_PAGE));
    const { root } = this.#options;
    const versions: ArchivedFile[] = [];
    // Its owner may have removed files from the archive by hand.
    for (const row of rows) if ((await root.look(row.path)) !== undefined) versions.push(row);
    return { versions, next: rows.length < Math.min(limit, MAX_PAGE) ? undefined : rows.at(-1)?.id };
  }

  /** Whether anything is kept of this path or below it. */
  has(path: string): boolean {
    return this.#rows(path, NEWEST, 1).length > 0;
  }

  /**
   * The version of the file at `path` with this number; without one, the newest that was not damaged.
   * @throws SkylarkError (user) `archive.no_version`, `archive.is_folder`, `archive.only_damaged`.
   */
  version(path: string, number: bigint | undefined): ArchivedFile {
    const { archive } = this.#options;
    if (number !== undefined) {
      const found = archive.get(number);
      if (found?.key === path) return found;
      const other = found === undefined ? '' : `; it is one of ${printable(found.key, 500)}`;
      throw noVersion(`${number} is no version of ${printable(path, 500)} in the archive${other}`);
    }
    let damaged = 0;
    for (const found of archive.history(path)) {
      if (found.reason !== 'damaged') return found;
      damaged += 1;
    }
    if (damaged > 0) {
      throw userError(
        'archive.only_damaged',
        `of ${printable(path, 500)} the archive has only what the disk had damaged`,
        { remedy: "choose one with --version if that is what you want; 'skylark history' lists them" },
      );
    }
    if (this.has(path)) {
      throw userError(
        'archive.is_folder',
        `${printable(path, 500)} was no file: the archive has files that were below it`,
        { remedy: "restore them one by one; 'skylark history' lists them" },
      );
    }
    throw noVersion(`the archive has no version of ${printable(path, 500)}`);
  }

  #rows(path: string, before: bigint, limit: number): ArchivedFile[] {
    const { sqlite, club } = this.#options;
    if (path === '/') {
      return sqlite
        .prepare<Stored>('SELECT * FROM directory_archive WHERE club = ? AND id < ? ORDER BY id DESC LIMIT ?')
        .all(club, before, limit)
        .map(fromStored);
    }
    // Everything that begins with the path and a slash lies before the path and the character behind the slash.
    return sqlite
      .prepare<Stored>(
        `SELECT * FROM directory_archive WHERE club = ?1 AND id < ?2 AND (key = ?3 OR (key > ?4 AND key < ?5))
         ORDER BY id DESC LIMIT ?6`,
      )
      .all(club, before, path, `${path}/`, `${path}0`, limit)
      .map(fromStored);
  }
}

/**
 * What is known of an archived file once it was read.
 * @param facts of the file in the archive, and the SHA-256 of what was read from it
 * @returns whether it was written to after it had been archived, by a program that still had it open
 * @throws SkylarkError (environment) `archive.damaged`: neither what was archived nor written to since.
 */
export function judge(
  version: ArchivedFile,
  facts: { readonly size: bigint; readonly mtimeNs: bigint },
  sha256: string | undefined,
): boolean {
  if (sha256 !== undefined && (version.sha256 === undefined || version.sha256 === sha256)) return false;
  // A copy of a file has its time to the microsecond.
  const apart = facts.mtimeNs - version.mtime;
  if (sha256 !== undefined && (apart >= 1_000n || apart <= -1_000n)) return true;
  throw environmentError(
    'archive.damaged',
    `version ${version.id} of ${printable(version.key, 500)} is damaged: its bytes are not those that were archived`,
    {
      remedy: `take another version; what is left of this one is in ${printable(version.path, 500)} below the folder`,
    },
  );
}

/** The archived file is not there, or can't be read. */
export function unreadable(version: ArchivedFile, thrown: unknown): unknown {
  if (!(thrown instanceof SkylarkError) || thrown.code !== 'files.absent') return thrown;
  return environmentError(
    'archive.gone',
    `version ${version.id} of ${printable(version.key, 500)} was removed from the archive`,
    { remedy: "'skylark history' lists what is left", cause: thrown },
  );
}

function noVersion(message: string) {
  return userError('archive.no_version', message, { remedy: "'skylark history' lists what is kept" });
}
