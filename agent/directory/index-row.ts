/** What the local index says about a file or directory, and what it can be asked. See local-index.ts. */

import type { FileFacts, KnownFile } from '../platform/files.ts';

export type VectorClock = ReadonlyMap<string, bigint>;

/** One file or directory. As a `KnownFile` it says what must be on the disk for it to be unchanged. */
export interface IndexRow extends KnownFile {
  /** In the share, as in the record's key; where it lies on the disk: `LocalIndex.localPath`. */
  readonly path: string;
  readonly kind: 'file' | 'directory';
  /** Permission bits, 0 to 0o777. */
  readonly mode: number;
  /** Of the contents; undefined for directories, and for files that nobody has read yet. */
  readonly sha256: string | undefined;
  /** The record that this is a version of; undefined: none yet. */
  readonly uuid: string | undefined;
  /** Which version; undefined without a record. */
  readonly clock: VectorClock | undefined;
  /** Was there before we joined the club, and has not been touched since: no change of its owner's. */
  readonly found: boolean;
  /** The last component on the disk, where the file system can't hold its name beside another; mostly undefined. */
  readonly localName: string | undefined;
}

/**
 * What the detector still has to do about a row. Survives restarts. `blocked`: it could not be examined, and the next full
 * scan tries again.
 */
export type Mark = 'none' | 'examine' | 'gone' | 'blocked';

/** How a directory's listing compares with the index. */
export interface Comparison {
  /** How many of the names have a row. */
  readonly known: number;
  /** The names whose rows say something else, or are marked, or are missing. */
  readonly differing: readonly { readonly name: string; readonly isKnown: boolean }[];
}

export interface IndexTotals {
  readonly files: number;
  readonly directories: number;
  /** Sum of the sizes of the files. */
  readonly bytes: bigint;
}

export interface LocalIndex {
  byPath(path: string): IndexRow | undefined;
  /** As `byPath`, for what is asked for every file of a folder. */
  isDirectory(path: string): boolean;
  byUuid(uuid: string): IndexRow | undefined;
  /** Files with these contents, at most `limit` (default 16). */
  bySha256(sha256: string, limit?: number): IndexRow[];
  /** At most 16: an inode has several names when there are hard links. */
  byInode(ino: bigint): IndexRow[];
  /** What lies directly in the directory, by name. May be changed while it is read. */
  children(path: string): IterableIterator<IndexRow>;
  /** What lies below the directory at any depth, parents before their children. May be changed while it is read. */
  below(path: string): IterableIterator<IndexRow>;
  /** Everything with `found` set, in the order of insertion. May be changed while it is read. */
  found(): IterableIterator<IndexRow>;
  /** Inserts, or replaces the row of the same path. Clears its mark unless one is given. */
  put(row: IndexRow, mark?: Mark): void;
  /** False if there was none. */
  remove(path: string): boolean;
  /** Another name in the same folder, for a directory and for everything below it. Nothing may have that name yet. */
  rename(path: string, name: string): void;
  totals(): IndexTotals;

  /** Where a path of the share lies on the disk. Both are equal unless a name on the way had to be replaced. */
  localPath(path: string): string;
  /** The path of the share that lies at `localName` in the directory `directory` (a path of the share). */
  sharePath(directory: string, localName: string): string;

  /** Compares what is directly in the directory, by the names in the share, with its rows. */
  compare(directory: string, entries: ReadonlyMap<string, FileFacts>): Comparison;
  /** Directories with `found` set that belong to no record and have nothing in them any more; a few at a time. */
  emptyFound(): string[];
  /** How many rows stand directly in the directory. */
  countChildren(directory: string): number;
  setMark(path: string, mark: Mark): void;
  /** Marks the directory and everything below it. */
  markTree(path: string, mark: Mark): void;
  /** Marks every file without a record that was not found at joining to be examined. */
  markUnrecorded(): void;
  hasMarked(mark: Mark): boolean;
  /** At most `limit` rows (and at most 128) with the mark, in the order of insertion, after the row `after`. */
  marked(mark: Mark, after: number, limit: number): { readonly id: number; readonly row: IndexRow }[];
  /** Files that are marked to be examined. */
  unread(): { readonly files: number; readonly bytes: bigint };
  /** How many files of records are marked as gone and do not lie under another name that is still to be examined. */
  countLost(): number;
  /** Whether the inode lies under another path that is still to be examined: the row may have moved there. */
  mayHaveMoved(row: IndexRow): boolean;

  /** A fact about the share that must survive a restart (the identity of its marker). */
  setting(name: string): string | undefined;
  setSetting(name: string, value: string | undefined): void;

  /** Runs `work` in one durable transaction, which may be one that is already running. */
  transaction<T>(work: () => T): T;
  /** Forgets the share: all of its rows and settings. */
  erase(): void;
}
