/**
 * Files whose bytes the disk has changed by itself, and which nobody could repair: they stay where they are, are told as
 * a problem, are not given to others, and what their bytes have become is never taken for a change of the owner's.
 */

import { fromHex, toHex } from '../base/bytes.ts';
import type { ShareRoot } from '../platform/files.ts';
import type { Sqlite, SqlOutput } from '../platform/sqlite.ts';
import type { Hashing, HashOutcome } from './hashing.ts';
import type { IndexRow, LocalIndex } from './local-index.ts';
import type { Problem } from './problems.ts';

const MIGRATIONS = [
  `
  CREATE TABLE directory_damaged(
    club TEXT NOT NULL,
    -- Of the record.
    uuid TEXT NOT NULL,
    -- Of the right contents, and of what was found; NULL: it could not be read.
    sha256 BLOB NOT NULL,
    found BLOB,
    ino INTEGER NOT NULL,
    size INTEGER NOT NULL,
    PRIMARY KEY(club, uuid)
  ) STRICT, WITHOUT ROWID;
  `,
];

interface Damage {
  readonly sha256: string;
  readonly found: string | undefined;
  readonly ino: bigint;
  readonly size: bigint;
}

interface Stored extends Readonly<Record<string, SqlOutput>> {
  readonly uuid: string;
  readonly sha256: Uint8Array;
  readonly found: Uint8Array | null;
  readonly ino: bigint;
  readonly size: bigint;
}

const SHOWN_PATHS = 10;

export class Damages {
  readonly #sqlite: Sqlite;
  readonly #club: string;
  readonly #index: LocalIndex;
  /** By the record's uuid. A healthy disk has none. */
  readonly #known: Map<string, Damage>;
  readonly #listeners = new Set<() => void>();

  constructor(sqlite: Sqlite, club: string, index: LocalIndex) {
    this.#sqlite = sqlite;
    this.#club = club;
    this.#index = index;
    sqlite.migrate('directory_damaged', MIGRATIONS);
    this.#known = new Map(
      sqlite
        .prepare<Stored>('SELECT uuid, sha256, found, ino, size FROM directory_damaged WHERE club = ?')
        .all(club)
        .map(({ uuid, sha256, found, ino, size }) => [
          uuid,
          { sha256: toHex(sha256), found: found === null ? undefined : toHex(found), ino, size },
        ]),
    );
  }

  /** @param found SHA-256 of what is in the file now; undefined: it can't be read. */
  add(row: IndexRow, found: string | undefined): void {
    const { uuid, sha256, size } = row;
    if (uuid === undefined || sha256 === undefined) return;
    const ino = BigInt.asIntN(64, row.ino);
    this.#sqlite
      .prepare(
        'INSERT OR REPLACE INTO directory_damaged(club, uuid, sha256, found, ino, size) VALUES(?, ?, ?, ?, ?, ?)',
      )
      .run(this.#club, uuid, fromHex(sha256), found === undefined ? null : fromHex(found), ino, size);
    this.#known.set(uuid, { sha256, found, ino, size });
    this.#tell();
  }

  /** The file is whole again, or another one. */
  remove(uuid: string): void {
    if (!this.#known.has(uuid)) return;
    this.#forget(uuid);
    this.#tell();
  }

  /** Told when the problem may be another. @returns stops it. */
  listen(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }

  #forget(uuid: string): void {
    this.#known.delete(uuid);
    this.#sqlite.prepare('DELETE FROM directory_damaged WHERE club = ? AND uuid = ?').run(this.#club, uuid);
  }

  has(row: IndexRow): boolean {
    if (this.#known.size === 0 || row.uuid === undefined) return false;
    const damage = this.#known.get(row.uuid);
    return damage !== undefined && isStill(damage, row);
  }

  get isEmpty(): boolean {
    return this.#known.size === 0;
  }

  /** Of the files that are damaged still. */
  rows(): IndexRow[] {
    return [...this.#known.keys()].flatMap((uuid) => {
      const row = this.#index.byUuid(uuid);
      if (row !== undefined && this.has(row)) return [row];
      this.#forget(uuid);
      return [];
    });
  }

  /** SHA-256 of what really is in the file of this row, where that is known to be something else. */
  foundIn(row: IndexRow): string | undefined {
    return this.has(row) && row.uuid !== undefined ? this.#known.get(row.uuid)?.found : undefined;
  }

  problem(): Problem | undefined {
    const paths = this.rows().map(({ path }) => path);
    if (paths.length === 0) return undefined;
    return {
      code: 'share.damaged',
      message:
        paths.length === 1
          ? 'the disk has damaged a file, and no copy of it was found'
          : `the disk has damaged ${paths.length} files, and no copies of them were found`,
      remedy:
        "connect a member that has them, or take an earlier version with 'skylark restore'; check the disk",
      stops: 'files',
      count: paths.length,
      paths: paths.slice(0, SHOWN_PATHS),
    };
  }

  /**
   * For the detector: what a damaged file has become is still the version that it was when only its name, mode or time
   * is changed. Without this, `chmod` would make the damage everybody's.
   */
  hashingFor(hashing: Hashing): Hashing {
    return {
      hash: async (root: ShareRoot, path: string, size: bigint, signal: AbortSignal) =>
        this.#translated(await hashing.hash(root, path, size, signal)),
      close: () => hashing.close(),
    };
  }

  #translated(outcome: HashOutcome): HashOutcome {
    if (this.#known.size === 0 || outcome.state !== 'hashed') return outcome;
    for (const row of this.#index.byInode(outcome.facts.ino)) {
      const damage = row.uuid === undefined ? undefined : this.#known.get(row.uuid);
      if (row.uuid === undefined || damage === undefined || !isStill(damage, row)) continue;
      if (outcome.sha256 === damage.found) return { ...outcome, sha256: damage.sha256 };
      // Its owner has put it right.
      if (outcome.sha256 === damage.sha256) this.remove(row.uuid);
    }
    return outcome;
  }
}

function isStill({ sha256, ino, size }: Damage, row: IndexRow): boolean {
  return row.sha256 === sha256 && row.size === size && BigInt.asIntN(64, row.ino) === ino;
}
