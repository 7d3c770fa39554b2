/**
 * Where replaced and deleted files go: a hidden folder of the share, within limits of age and size. What is kept is also
 * a source of contents, so that nothing is fetched that lies here.
 *
 * The row is written before the file is moved, together with the intent to move it; a row without a file is dropped when
 * it is found out.
 */

import { fromHex, toHex, utf8 } from '../base/bytes.ts';
import { type Clock, countable, YEAR_2020 } from '../base/clock.ts';
import { environmentError, errorCode } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { randomBytes } from '../crypto/random.ts';
import { type KnownFile, nameOf, type ShareRoot, STATE_FOLDER } from '../platform/files.ts';
import type { Sqlite, SqlOutput } from '../platform/sqlite.ts';
import type { DiskRoom } from './disk-room.ts';

export interface ArchiveLimits {
  /** Nanoseconds that a file is kept. */
  readonly age: bigint;
  /** Bytes in all. The newest file is kept even if it alone is larger. */
  readonly bytes: bigint;
}

/** 30 days, 4 GiB. */
export const ARCHIVE_LIMITS: ArchiveLimits = { age: 2_592_000_000_000_000n, bytes: 4_294_967_296n };

/** `damaged`: the disk had changed its bytes, nobody else had; see verify.ts. */
export type ArchiveReason = 'replaced' | 'deleted' | 'found_at_joining' | 'not_permitted' | 'damaged';

export interface ArchivedFile {
  readonly id: bigint;
  /** Where it was in the share. */
  readonly key: string;
  /** As it was known; an open editor may have written to it since. */
  readonly sha256: string | undefined;
  readonly size: bigint;
  /** Nanoseconds since 1970: of its contents, and when it was archived. */
  readonly mtime: bigint;
  readonly at: bigint;
  readonly mode: number;
  readonly reason: ArchiveReason;
  /** Local path of the kept file. */
  readonly path: string;
}

export interface ToArchive {
  readonly key: string;
  readonly sha256: string | undefined;
  readonly size: bigint;
  readonly mtime: bigint;
  readonly mode: number;
  readonly reason: ArchiveReason;
}

const MIGRATIONS = [
  `
  CREATE TABLE directory_archive(
    id INTEGER PRIMARY KEY,
    club TEXT NOT NULL,
    key TEXT NOT NULL,
    sha256 BLOB,
    size INTEGER NOT NULL,
    mtime INTEGER NOT NULL,
    mode INTEGER NOT NULL,
    at INTEGER NOT NULL,
    reason TEXT NOT NULL
  ) STRICT;
  CREATE INDEX directory_archive_sha256 ON directory_archive(sha256, club) WHERE sha256 IS NOT NULL;
  CREATE INDEX directory_archive_key ON directory_archive(club, key, id);
  `,
  // Null for files that were kept before: their names have none.
  'ALTER TABLE directory_archive ADD COLUMN tag TEXT',
];

const FOLDER = `/${STATE_FOLDER}/archive`;
const BLOCKED = 'files.archive_blocked';
/** Files in one folder of the archive. */
const FOLDER_SIZE = 1_024n;
/** Bytes of the original name that are kept in the archive's own. */
const NAME_BYTES = 200;
/**
 * Of the random part of a name. IDs begin again after a share was left, or its database lost, and what was kept before
 * stays in the folder: it must neither be in the way nor be taken for ours.
 */
const TAG_BYTES = 4;
const PRUNE_BATCH = 64;
/** After so long the network has told a device what time it is, milliseconds. Until then nothing is too old. */
const SETTLED_MS = 3_600_000;

/** A row of the table. */
export interface Stored extends Readonly<Record<string, SqlOutput>> {
  readonly id: bigint;
  readonly key: string;
  readonly sha256: Uint8Array | null;
  readonly size: bigint;
  readonly mtime: bigint;
  readonly mode: bigint;
  readonly at: bigint;
  readonly reason: string;
  readonly tag: string | null;
}

export interface ArchiveOptions {
  readonly sqlite: Sqlite;
  readonly club: string;
  readonly root: ShareRoot;
  readonly clock: Clock;
  readonly log: Logger;
  readonly limits?: ArchiveLimits;
  readonly room?: Pick<DiskRoom, 'during'>;
}

export class Archive {
  readonly #sqlite: Sqlite;
  readonly #club: string;
  readonly #root: ShareRoot;
  readonly #clock: Clock;
  readonly #openedAt: number;
  readonly #log: Logger;
  readonly #limits: ArchiveLimits;
  readonly #room: Pick<DiskRoom, 'during'> | undefined;
  readonly #folders = new Set<string>();
  #bytes: bigint;
  #files: bigint;
  #pruning: Promise<void> | undefined;

  constructor(options: ArchiveOptions) {
    this.#sqlite = options.sqlite;
    this.#club = options.club;
    this.#root = options.root;
    this.#clock = options.clock;
    this.#openedAt = options.clock.monotonic();
    this.#log = options.log;
    this.#limits = options.limits ?? ARCHIVE_LIMITS;
    this.#room = options.room;
    options.sqlite.migrate('directory_archive', MIGRATIONS);
    const row = options.sqlite
      .prepare<{ files: bigint; bytes: bigint }>(
        'SELECT count(*) AS files, coalesce(sum(size), 0) AS bytes FROM directory_archive WHERE club = ?',
      )
      .get(options.club);
    this.#files = row?.files ?? 0n;
    this.#bytes = row?.bytes ?? 0n;
  }

  /** Bytes that are kept. */
  get bytes(): bigint {
    return this.#bytes;
  }

  /** Writes the row; to be called in the transaction that also notes the intent. The file is to follow. */
  reserve(file: ToArchive): ArchivedFile {
    const at = countable(this.#clock.now());
    const tag = toHex(randomBytes(TAG_BYTES));
    const { id } = this.#sqlite
      .prepare<{ id: bigint }>(
        `INSERT INTO directory_archive(club, key, sha256, size, mtime, mode, at, reason, tag)
         VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id`,
      )
      .get(
        this.#club,
        file.key,
        file.sha256 === undefined ? null : fromHex(file.sha256),
        file.size,
        file.mtime,
        file.mode,
        at,
        file.reason,
        tag,
      ) ?? { id: 0n };
    this.#count(1n, file.size);
    return { ...file, id, at, path: pathOf(id, tag, file.key) };
  }

  /** Removes a row whose file did not come, or is gone. */
  forget(file: { readonly id: bigint; readonly size: bigint }): void {
    const removed = this.#sqlite
      .prepare('DELETE FROM directory_archive WHERE club = ? AND id = ?')
      .run(this.#club, file.id);
    if (removed === 0n) return;
    this.#count(-1n, -file.size);
  }

  /** Not before it is durable: the transaction may be undone. */
  #count(files: bigint, bytes: bigint): void {
    this.#sqlite.afterCommit(() => {
      this.#files += files;
      this.#bytes += bytes;
    });
  }

  /** Moves the file at `path` into its reserved place. @throws `files.changed`, `files.absent`, `files.archive_blocked`, other `files.*`. */
  async move(path: string, file: ArchivedFile, expected: KnownFile): Promise<void> {
    await this.#inFolder(file.path, () => this.#root.move(path, file.path, expected));
  }

  /**
   * Keeps the contents of the file at `path`, which stays where it is until something takes its place. Returns the
   * facts of the file at `path`, which a link changes.
   * @throws `files.changed`, `files.absent`, `files.archive_blocked`, other `files.*`.
   */
  async keep(path: string, file: ArchivedFile, expected: KnownFile): Promise<KnownFile> {
    try {
      return await this.#inFolder(file.path, () => this.#root.link(path, file.path, expected));
    } catch (thrown) {
      const code = errorCode(thrown);
      if (code !== 'files.not_permitted' && code !== 'files.cross_device' && code !== 'files.failed')
        throw thrown;
    }
    // A file system without hard links.
    const copying = () => this.#copy(path, file);
    await (this.#room?.during(undefined, expected.size, copying) ?? copying());
    return expected;
  }

  /** Takes back `keep`. */
  async discard(file: ArchivedFile): Promise<void> {
    await this.#removeFile(file);
  }

  /**
   * Files with these contents that were part of the share, newest first. What was found at joining, or changed where
   * that is not permitted, never was: no record of another member's may bring it to light.
   */
  bySha256(sha256: string): ArchivedFile[] {
    if (this.#files === 0n) return [];
    return this.#sqlite
      .prepare<Stored>(
        `SELECT * FROM directory_archive WHERE sha256 = ? AND club = ? AND reason IN ('replaced', 'deleted')
         ORDER BY id DESC LIMIT 8`,
      )
      .all(fromHex(sha256), this.#club)
      .map(fromStored);
  }

  /** What was at a path of the share, newest first. */
  *history(key: string): IterableIterator<ArchivedFile> {
    const rows = this.#sqlite.prepare<Stored>(
      'SELECT * FROM directory_archive WHERE club = ? AND key = ? ORDER BY id DESC',
    );
    for (const row of rows.iterate(this.#club, key)) yield fromStored(row);
  }

  get(id: bigint): ArchivedFile | undefined {
    const row = this.#sqlite
      .prepare<Stored>('SELECT * FROM directory_archive WHERE club = ? AND id = ?')
      .get(this.#club, id);
    return row && fromStored(row);
  }

  /** Removes what is beyond the limits. Never rejects: what can't be removed now is tried again another time. */
  prune(): Promise<void> {
    this.#pruning ??= this.#prune()
      .catch((thrown: unknown) => {
        this.#log.warn('the archive could not be cleaned up', { code: errorCode(thrown) });
      })
      .finally(() => {
        this.#pruning = undefined;
      });
    return this.#pruning;
  }

  async #prune(): Promise<void> {
    for (;;) {
      const batch = this.#expired();
      if (batch.length === 0) return;
      for (const file of batch) await this.#removeFile(file);
      this.#sqlite.transaction(() => {
        for (const file of batch) this.forget(file);
      });
    }
  }

  /** Oldest first; never the newest. */
  #expired(): ArchivedFile[] {
    const now = this.#clock.now();
    const rows = this.#sqlite
      .prepare<Stored>(
        `SELECT * FROM directory_archive WHERE club = ?1
         AND id < (SELECT max(id) FROM directory_archive WHERE club = ?1) ORDER BY id LIMIT ${PRUNE_BATCH}`,
      )
      .all(this.#club)
      .map(fromStored);
    // What was archived before something that is old is old too, whatever the clock said then.
    const lastOld = rows.findLastIndex(({ at }) => this.#isOld(at, now));
    let bytes = this.#bytes;
    const expired: ArchivedFile[] = [];
    for (const [i, file] of rows.entries()) {
      if (bytes <= this.#limits.bytes && i > lastOld) break;
      expired.push(file);
      bytes -= file.size;
    }
    return expired;
  }

  /**
   * Not by a clock that may be wrong: one that was not set yet, or wrongly; and what seems to be of the future tells that
   * the clock was set back since. Then the size alone decides.
   */
  #isOld(at: bigint, now: bigint): boolean {
    const isSettled = this.#clock.monotonic() - this.#openedAt >= SETTLED_MS;
    return isSettled && now === countable(now) && at >= YEAR_2020 && now - at > this.#limits.age;
  }

  async #removeFile({ path }: ArchivedFile): Promise<void> {
    const facts = await this.#root.look(path);
    if (facts !== undefined) await this.#root.removeFile(path, facts);
  }

  async #copy(path: string, { id, path: target, mode, mtime }: ArchivedFile): Promise<void> {
    const source = await this.#root.openFile(path);
    try {
      const temporary = await this.#root.openTemporary(`archive-${id}`, { resume: true });
      try {
        await temporary.copyFrom(source);
        const options = { mode, mtimeNs: mtime, expected: 'absent' } as const;
        await this.#inFolder(target, () => temporary.commit(target, options));
      } catch (thrown) {
        await temporary.discard();
        throw thrown;
      }
    } finally {
      await source.close();
    }
  }

  async #inFolder<T>(path: string, work: () => Promise<T>): Promise<T> {
    const folder = path.slice(0, path.lastIndexOf('/'));
    try {
      if (this.#folders.has(folder)) {
        try {
          return await work();
        } catch (thrown) {
          // The owner may have emptied the archive by hand, or put something into its place.
          const code = errorCode(thrown);
          if (code !== 'files.absent' && code !== 'files.symlink') throw thrown;
        }
      }
      for (const made of [`/${STATE_FOLDER}`, FOLDER, folder]) await this.#root.makeDirectory(made, 0o700);
      this.#folders.clear();
      this.#folders.add(folder);
      return await work();
    } catch (cause) {
      // Only the archive's own side is new. Told apart, since the same about the file itself would be its owner's change.
      if (errorCode(cause) !== 'files.exists') throw cause;
      throw environmentError(BLOCKED, `something in ${FOLDER.slice(1)} is in the way of the archive`, {
        remedy: `move ${FOLDER.slice(1)} of the share's folder elsewhere`,
        cause,
      });
    }
  }
}

/** A name by which a person who looks into the hidden folder recognises the file. */
function pathOf(id: bigint, tag: string | null, key: string): string {
  const folder = (id / FOLDER_SIZE).toString(16).padStart(4, '0');
  let name = '';
  let length = 0;
  for (const character of nameOf(key)) {
    length += utf8(character).length;
    if (length > NAME_BYTES) break;
    name += character;
  }
  const number = id.toString(16).padStart(8, '0');
  return `${FOLDER}/${folder}/${tag === null ? number : `${number}-${tag}`}-${name}`;
}

export function fromStored(row: Stored): ArchivedFile {
  return {
    id: row.id,
    key: row.key,
    sha256: row.sha256 === null ? undefined : toHex(row.sha256),
    size: row.size,
    mtime: row.mtime,
    at: row.at,
    mode: Number(row.mode),
    reason: row.reason as ArchiveReason,
    path: pathOf(row.id, row.tag, row.key),
  };
}
