/** What the local index says about one file or directory. */

import type { KnownFile } from '../platform/files.ts';

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

/** What the detector still has to do about a row. Survives restarts. */
export type Mark = 'none' | 'examine' | 'gone';

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
