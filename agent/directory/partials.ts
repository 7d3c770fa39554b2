/**
 * Contents that arrive in pieces: each grows in a temporary file of its own, and what of it is there is noted now and
 * then, so that an interrupted transfer goes on where it was. Only the SHA-256 of the whole proves anything; whatever a
 * crash does to a half-written file, it costs another transfer at most.
 */

import { fromHex, toHex } from '../base/bytes.ts';
import { isJsonObject, parseJson, stringifyJson } from '../base/json.ts';
import { openSha256, type RunningHash } from '../crypto/hash.ts';
import { type ShareRoot, type Temporary, temporaryPath } from '../platform/files.ts';
import type { Sqlite, SqlOutput } from '../platform/sqlite.ts';
import { type Interval, merged } from './intervals.ts';

const MIGRATIONS = [
  `
  CREATE TABLE directory_partial(
    club TEXT NOT NULL,
    sha256 BLOB NOT NULL,
    size INTEGER NOT NULL,
    have TEXT NOT NULL,
    PRIMARY KEY(club, sha256)
  ) STRICT, WITHOUT ROWID;
  `,
  `
  DROP TABLE directory_partial;
  CREATE TABLE directory_partial(
    club TEXT NOT NULL,
    sha256 BLOB NOT NULL,
    -- As the record says: what has come under the right one is not lost when a wrong one is tried.
    size INTEGER NOT NULL,
    have TEXT NOT NULL,
    PRIMARY KEY(club, sha256, size)
  ) STRICT, WITHOUT ROWID;
  `,
];

/** Bytes after which what is there is noted. */
const NOTE_EVERY = 33_554_432;
/** Most intervals that are noted: a transfer from many peers is never in more pieces. */
const MAX_INTERVALS = 4_096;
const PREFIX = 'get-';
/** What others (the firmware bridge) keep beside ours is theirs to go on with, but nobody comes back after so long. */
const FOREIGN = 'bridge-';
const FOREIGN_AGE_NS = 1_209_600_000_000_000n;

interface Stored extends Readonly<Record<string, SqlOutput>> {
  readonly sha256: Uint8Array;
  readonly size: bigint;
  readonly have: string;
}

interface Opened {
  readonly size: number;
  readonly opening: Promise<Partial>;
}

export class Partials {
  readonly #sqlite: Sqlite;
  readonly #club: string;
  readonly #root: ShareRoot;
  /** By SHA-256: only one size is tried at a time. */
  readonly #open = new Map<string, Opened>();
  /** By SHA-256: nobody gets a file that is still being let go of or removed. */
  readonly #lines = new Map<string, Promise<void>>();

  constructor(sqlite: Sqlite, club: string, root: ShareRoot) {
    this.#sqlite = sqlite;
    this.#club = club;
    this.#root = root;
    sqlite.migrate('directory_partial', MIGRATIONS);
  }

  /** Whether an earlier transfer has left something of these contents. */
  has(sha256: string): boolean {
    return this.#open.has(sha256) || this.#sizes(sha256).length > 0;
  }

  /** The file of these contents, which is made if it is not there. That of another size is let go of. */
  open(sha256: string, size: number): Promise<Partial> {
    const known = this.#open.get(sha256);
    if (known?.size === size) return known.opening;
    // What can't be noted of it is fetched once more.
    if (known !== undefined) this.close(sha256).catch(() => {});
    const opening = this.#inLine(sha256, () => this.#openFile(sha256, size));
    const opened = { size, opening };
    this.#open.set(sha256, opened);
    opening.catch(() => {
      if (this.#open.get(sha256) === opened) this.#open.delete(sha256);
    });
    return opening;
  }

  /** Lets go of the file and keeps it for later. */
  async close(sha256: string): Promise<void> {
    const opened = this.#open.get(sha256);
    this.#open.delete(sha256);
    if (opened === undefined) return;
    await this.#inLine(sha256, async () => {
      const partial = await opened.opening.catch(() => undefined);
      if (partial === undefined) return;
      await partial.settled();
      try {
        this.#note(partial);
      } finally {
        await partial.temporary.close();
      }
    });
  }

  /** Forgets what is there, also under other sizes unless `size` is given. */
  async discard(sha256: string, size?: number): Promise<void> {
    const known = this.#open.get(sha256);
    const opened = size === undefined || known?.size === size ? known : undefined;
    if (opened !== undefined) this.#open.delete(sha256);
    await this.#inLine(sha256, async () => {
      const partial = await opened?.opening.catch(() => undefined);
      if (partial !== undefined) {
        this.#forget(sha256, partial.size);
        await partial.settled();
        await partial.temporary.discard();
      }
      for (const other of this.#sizes(sha256)) {
        if (size !== undefined && other !== size) continue;
        this.#forget(sha256, other);
        await (await this.#root.openTemporary(labelOf(sha256, other), { resume: true })).discard();
      }
    });
  }

  /** The file took its place in the share. */
  used({ sha256, size }: Partial): void {
    this.#open.delete(sha256);
    this.#forget(sha256, size);
  }

  /** What can't be noted any more (the database's disk is full) is fetched once more. */
  async closeAll(): Promise<void> {
    await Promise.allSettled([...this.#open.keys()].map((sha256) => this.close(sha256)));
    await Promise.all(this.#lines.values());
  }

  /**
   * Removes what nobody wants any more. To be called while nothing is open.
   * @param now nanoseconds since 1970
   */
  async clean(isWanted: (sha256: string) => boolean, now: bigint): Promise<void> {
    const kept = new Set<string>();
    const rows = this.#sqlite
      .prepare<Stored>('SELECT * FROM directory_partial WHERE club = ?')
      .all(this.#club);
    for (const row of rows) {
      const [sha256, size] = [toHex(row.sha256), Number(row.size)];
      if (isWanted(sha256)) kept.add(labelOf(sha256, size));
      else this.#forget(sha256, size);
    }
    for (const label of await this.#root.listTemporaries()) {
      if (kept.has(label) || (label.startsWith(FOREIGN) && !(await this.#isOld(label, now)))) continue;
      await (await this.#root.openTemporary(label, { resume: true })).discard();
    }
  }

  /** A time in the future means that the clock was set back since: then nothing is known about its age. */
  async #isOld(label: string, now: bigint): Promise<boolean> {
    const facts = await this.#root.look(temporaryPath(label));
    return facts !== undefined && now - facts.mtimeNs > FOREIGN_AGE_NS;
  }

  #inLine<T>(sha256: string, work: () => Promise<T>): Promise<T> {
    const done = this.#lines.get(sha256)?.then(work) ?? work();
    const leave = () => {
      if (this.#lines.get(sha256) === over) this.#lines.delete(sha256);
    };
    const over: Promise<void> = done.then(leave, leave);
    this.#lines.set(sha256, over);
    return done;
  }

  async #openFile(sha256: string, size: number): Promise<Partial> {
    const temporary = await this.#root.openTemporary(labelOf(sha256, size), { resume: true });
    const stored = this.#stored(sha256, size);
    // Less is in the file than was noted if the power failed before it was on the disk.
    const there = Math.min(size, Number(temporary.resumedSize));
    const have = stored === undefined ? [] : decodeIntervals(stored.have, there);
    return new Partial(temporary, sha256, size, have, (partial) => this.#note(partial));
  }

  #stored(sha256: string, size: number): Stored | undefined {
    return this.#sqlite
      .prepare<Stored>('SELECT * FROM directory_partial WHERE club = ? AND sha256 = ? AND size = ?')
      .get(this.#club, fromHex(sha256), size);
  }

  #sizes(sha256: string): number[] {
    return this.#sqlite
      .prepare<{ size: bigint }>('SELECT size FROM directory_partial WHERE club = ? AND sha256 = ?')
      .all(this.#club, fromHex(sha256))
      .map(({ size }) => Number(size));
  }

  #note({ sha256, size, have }: Partial): void {
    this.#sqlite
      .prepare('INSERT OR REPLACE INTO directory_partial(club, sha256, size, have) VALUES(?, ?, ?, ?)')
      .run(this.#club, fromHex(sha256), size, encodeIntervals(have));
  }

  #forget(sha256: string, size: number): void {
    this.#sqlite
      .prepare('DELETE FROM directory_partial WHERE club = ? AND sha256 = ? AND size = ?')
      .run(this.#club, fromHex(sha256), size);
  }
}

/** Contents in the making. */
export class Partial {
  readonly temporary: Temporary;
  readonly sha256: string;
  readonly size: number;
  readonly #note: (partial: Partial) => void;
  #have: Interval[];
  #line: Promise<void> = Promise.resolve();
  #unnoted = 0;
  /** Of the first `hashed` bytes, while they come in order: then nothing has to be read again. */
  #hash: RunningHash | undefined;
  #hashed = 0;

  constructor(
    temporary: Temporary,
    sha256: string,
    size: number,
    have: Interval[],
    note: (partial: Partial) => void,
  ) {
    this.temporary = temporary;
    this.sha256 = sha256;
    this.size = size;
    this.#have = have;
    this.#note = note;
    // What an earlier run has left was never hashed.
    if (have.length === 0) this.#hash = openSha256();
  }

  /** What is there. */
  get have(): readonly Interval[] {
    return this.#have;
  }

  /** @throws `files.no_space`, `files.too_big`, other `files.*`. */
  write(bytes: Uint8Array, offset: number): Promise<void> {
    const written = this.#line.then(async () => {
      if (offset === this.#hashed) this.#hash?.update(bytes);
      else this.#hash = undefined;
      this.#hashed += bytes.length;
      await this.temporary.write(bytes, BigInt(offset));
      this.#have = merged([...this.#have, { start: offset, end: offset + bytes.length }]);
      this.#unnoted += bytes.length;
      if (this.#unnoted < NOTE_EVERY) return;
      this.#unnoted = 0;
      this.#note(this);
    });
    this.#line = written.catch(() => {});
    return written;
  }

  /** SHA-256 of all that was written, once, if it came in order and is complete; undefined: it has to be read. */
  hashed(): string | undefined {
    const hash = this.#hash;
    this.#hash = undefined;
    return this.#hashed === this.size && hash !== undefined ? toHex(hash.digest()) : undefined;
  }

  /** Resolves when no write is under way. */
  settled(): Promise<void> {
    return this.#line;
  }
}

/** The label of the temporary. */
export function labelOf(sha256: string, size: number): string {
  return `${PREFIX}${sha256}-${size}`;
}

function encodeIntervals(intervals: readonly Interval[]): string {
  return stringifyJson(intervals.slice(0, MAX_INTERVALS).map(({ start, end }) => ({ start, end })));
}

/** @param size what lies beyond is left out */
function decodeIntervals(text: string, size: number): Interval[] {
  const json = parseJson(text);
  if (!Array.isArray(json)) return [];
  const intervals: Interval[] = [];
  for (const item of json) {
    if (!isJsonObject(item)) continue;
    const { start, end } = item;
    if (typeof start !== 'number' || typeof end !== 'number') continue;
    if (start >= 0 && start < Math.min(end, size)) intervals.push({ start, end: Math.min(end, size) });
  }
  return merged(intervals);
}
