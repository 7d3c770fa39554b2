/** The table behind the local index: its schema, and rows to and from it. */

import { internalError } from '../base/errors.ts';
import { type FileFacts, nameOf, parentOf } from '../platform/files.ts';
import type { Sqlite } from '../platform/sqlite.ts';
import type { IndexRow, Mark, VectorClock } from './index-row.ts';
import { joinPath } from './paths.ts';

export const MIGRATIONS = [
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
  // Neighbours in time are no neighbours here: each row changes a page of its own, and the fewer there are, the fewer are
  // written.
  `
  DROP INDEX directory_file_sha256;
  CREATE INDEX directory_file_sha256 ON directory_file(substr(sha256, 1, 4)) WHERE sha256 IS NOT NULL;
  `,
  // Counted as they change: to count what is still to be read of a million files takes half a second, and it is asked for
  // all the time.
  `
  ALTER TABLE directory_share ADD COLUMN unread INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE directory_share ADD COLUMN unread_bytes INTEGER NOT NULL DEFAULT 0;
  UPDATE directory_share SET
    unread = (SELECT count(*) FROM directory_file WHERE share = directory_share.id AND mark = 1 AND mark <> 0 AND directory = 0),
    unread_bytes = (SELECT coalesce(sum(size), 0) FROM directory_file
      WHERE share = directory_share.id AND mark = 1 AND mark <> 0 AND directory = 0);
  DROP TRIGGER directory_file_inserted;
  DROP TRIGGER directory_file_deleted;
  DROP TRIGGER directory_file_updated;
  CREATE TRIGGER directory_file_inserted AFTER INSERT ON directory_file BEGIN
    UPDATE directory_share SET files = files + (1 - NEW.directory), directories = directories + NEW.directory,
      bytes = bytes + NEW.size, unread = unread + (NEW.mark = 1) * (1 - NEW.directory),
      unread_bytes = unread_bytes + (NEW.mark = 1) * NEW.size WHERE id = NEW.share;
  END;
  CREATE TRIGGER directory_file_deleted AFTER DELETE ON directory_file BEGIN
    UPDATE directory_share SET files = files - (1 - OLD.directory), directories = directories - OLD.directory,
      bytes = bytes - OLD.size, unread = unread - (OLD.mark = 1) * (1 - OLD.directory),
      unread_bytes = unread_bytes - (OLD.mark = 1) * OLD.size WHERE id = OLD.share;
  END;
  CREATE TRIGGER directory_file_updated AFTER UPDATE ON directory_file
  WHEN NEW.size <> OLD.size OR NEW.directory <> OLD.directory OR (NEW.mark = 1) <> (OLD.mark = 1) BEGIN
    UPDATE directory_share SET files = files + OLD.directory - NEW.directory,
      directories = directories + NEW.directory - OLD.directory, bytes = bytes + NEW.size - OLD.size,
      unread = unread + (NEW.mark = 1) * (1 - NEW.directory) - (OLD.mark = 1) * (1 - OLD.directory),
      unread_bytes = unread_bytes + (NEW.mark = 1) * NEW.size - (OLD.mark = 1) * OLD.size WHERE id = NEW.share;
  END;
  `,
];

/** What the share of a club goes by in the tables. Gives it a number if it has none. */
export function shareNumber(sqlite: Sqlite, club: string): bigint {
  return sqlite.transaction(() => {
    sqlite.prepare('INSERT INTO directory_share(club) VALUES(?) ON CONFLICT(club) DO NOTHING').run(club);
    const row = sqlite.prepare<{ id: bigint }>('SELECT id FROM directory_share WHERE club = ?').get(club);
    if (row === undefined)
      throw internalError('directory.index_broken', 'the share is missing from the index');
    return row.id;
  });
}

/** A mark's position is its number in the table; the triggers know that of `examine`. */
export const MARKS: readonly Mark[] = ['none', 'examine', 'gone', 'blocked'];

/**
 * A whole row in one column: to Node, each column costs as much as finding the row. 64-bit numbers as text, since
 * JSON.parse rounds them.
 */
export const ROW = `json_array(id, parent, name, local_name, directory, CAST(size AS TEXT), CAST(mtime AS TEXT),
  CAST(ctime AS TEXT), CAST(ino AS TEXT), mode, hex(sha256), hex(uuid), clock, found) AS packed`;

export type PackedRow = { readonly packed: string };

type Unpacked = readonly [
  id: number,
  parent: string,
  name: string,
  localName: string | null,
  directory: number,
  size: string,
  mtime: string,
  ctime: string,
  ino: string,
  mode: number,
  sha256: string,
  uuid: string,
  clock: string | null,
  found: number,
];

/** Parent and name as the table has them. */
export function split(path: string): [string, string] {
  return path === '/' ? ['', ''] : [parentOf(path), nameOf(path)];
}

/** All paths p with from < p < to begin with the directory and a slash: '0' comes right after '/'. */
export function pathRange(directory: string): [string, string] {
  return directory === '/' ? ['/', '0'] : [`${directory}/`, `${directory}0`];
}

export interface StoredRow {
  /** Position in the table; rises with the time of insertion. */
  readonly id: number;
  readonly parent: string;
  readonly name: string;
  readonly row: IndexRow;
}

export function decodeStored({ packed }: PackedRow): StoredRow {
  const unpacked = JSON.parse(packed) as Unpacked;
  const [id, parent, name, localName, directory, size, mtime, ctime, ino, mode, sha256, uuid, clock, found] =
    unpacked;
  const row: IndexRow = {
    path: parent === '' ? '/' : joinPath(parent, name),
    kind: directory === 1 ? 'directory' : 'file',
    size: BigInt(size),
    mtimeNs: BigInt(mtime),
    ctimeNs: BigInt(ctime),
    ino: BigInt.asUintN(64, BigInt(ino)),
    mode,
    sha256: sha256 === '' ? undefined : sha256.toLowerCase(),
    uuid: uuid === '' ? undefined : uuid.toLowerCase(),
    clock: clock === null ? undefined : decodeClock(clock),
    found: found === 1,
    localName: localName ?? undefined,
  };
  return { id, parent, name, row };
}

export function decodeRow(packed: PackedRow): IndexRow {
  return decodeStored(packed).row;
}

/** What is on the disk, in the words of `STAMP`. */
export function stampOf(facts: FileFacts): string {
  const ino = BigInt.asIntN(64, facts.ino);
  const mode = facts.mode & 0o777;
  if (facts.kind === 'directory') return `1 ${ino} ${mode}`;
  return `0 ${ino} ${mode} ${facts.size} ${facts.mtimeNs} ${facts.ctimeNs}`;
}

/** What the row `f` says is on the disk: equal to `stampOf` if nothing changed. */
export const STAMP = `CASE f.directory WHEN 1 THEN '1 ' || f.ino || ' ' || f.mode
  ELSE '0 ' || f.ino || ' ' || f.mode || ' ' || f.size || ' ' || f.mtime || ' ' || f.ctime END`;

/** Peers in order, so that equal clocks have equal texts. */
export function encodeClock(clock: VectorClock): string {
  const peers = [...clock.keys()].sort();
  return peers.map((peer) => `${encodeURIComponent(peer)}=${clock.get(peer)}`).join('&');
}

function decodeClock(text: string): VectorClock {
  const clock = new Map<string, bigint>();
  if (text === '') return clock;
  for (const component of text.split('&')) {
    const [peer = '', count = '0'] = component.split('=');
    clock.set(decodeURIComponent(peer), BigInt(count));
  }
  return clock;
}
