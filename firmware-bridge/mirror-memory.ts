/** What is remembered of a device between runs, so that nothing is read twice and nothing is mistaken. */

import type { Digest } from './drivers/driver.ts';

/** A file of the device, and where it lies in the share. */
export interface MirroredFile {
  /** As the driver calls it. */
  readonly key: string;
  readonly version: string;
  readonly name: string;
  readonly size: number;
  /** CRC-32C of the content. */
  readonly digest: Digest;
  /** Within the share's folder, with one leading slash. */
  readonly path: string;
  /** What was placed there; if something else is there now, it is the owner's. Time in nanoseconds since 1970. */
  readonly placedMtimeNs: bigint;
}

/** A file of the owner's that was written to the device, as it was then. */
export interface SentFile {
  /** Within the share's folder, with one leading slash. */
  readonly path: string;
  readonly size: number;
  /** Nanoseconds since 1970. */
  readonly mtimeNs: bigint;
}

export interface MirroredDevice {
  /** Up to where the device's changes are known. */
  readonly mark: string | undefined;
  readonly files: Iterable<MirroredFile>;
  readonly sent: Iterable<SentFile>;
}

export type MemoryChange =
  /** Replaces the file with the same key, if any. */
  | { readonly kind: 'put'; readonly file: MirroredFile }
  | { readonly kind: 'forget'; readonly key: string }
  /** Replaces that of the same path, if any. */
  | { readonly kind: 'sent'; readonly file: SentFile }
  | { readonly kind: 'unsent'; readonly path: string }
  | { readonly kind: 'mark'; readonly mark: string | undefined };

/**
 * Keeps it. Implemented by whoever has a place for it. Losing it costs time (files are read and compared again), never
 * files.
 */
export interface MirrorMemory {
  /** @param id of the device in this folder; at most 600 characters. */
  load(id: string): Promise<MirroredDevice | undefined>;
  /** All of the changes or none; durable when it resolves. */
  save(id: string, changes: readonly MemoryChange[]): Promise<void>;
}
