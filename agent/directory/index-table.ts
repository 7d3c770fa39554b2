/** The table behind the local index: its schema, and rows to and from it. */

import { toHex } from '../base/bytes.ts';
import { isJsonObject, parseJson } from '../base/json.ts';
import { nameOf, parentOf } from '../platform/files.ts';
import type { SqlOutput } from '../platform/sqlite.ts';
import type { IndexRow, Mark, ScanRow, VectorClock } from './index-row.ts';
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
];

/** A mark's position is its number in the table. */
export const MARKS: readonly Mark[] = ['none', 'examine', 'gone'];

export interface Row extends Readonly<Record<string, SqlOutput>> {
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

/** Parent and name as the table has them. */
export function split(path: string): [string, string] {
  return path === '/' ? ['', ''] : [parentOf(path), nameOf(path)];
}

/** All paths p with from < p < to begin with the directory and a slash: '0' comes right after '/'. */
export function pathRange(directory: string): [string, string] {
  return directory === '/' ? ['/', '0'] : [`${directory}/`, `${directory}0`];
}

export function decodeRow(row: Row): IndexRow {
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

export function decodeScanRow(row: Row): ScanRow {
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
export function encodeClock(clock: VectorClock): string {
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
