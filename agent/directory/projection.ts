/**
 * What a record asks of the folder, and whether the folder already shows it. Pure: the record is compared with what the
 * index knows to be on the disk.
 */

import { SkylarkError } from '../base/errors.ts';
import type { Json } from '../base/json.ts';
import { type DirectoryEntry, decodeEntry, EMPTY_SHA256, type FileEntry, ROOT_KEY } from './entry.ts';
import type { IndexRow, VectorClock } from './local-index.ts';
import { isFileKey, refusalOf } from './paths.ts';
import type { NewPending } from './pending.ts';

/** What the directory needs of a database's record. */
export interface FileRecord {
  readonly uuid: string;
  readonly key: string;
  readonly value: Json;
  readonly deleted: boolean;
  readonly vectorClock: VectorClock;
}

/** What should be on the disk for a record. */
export type Desired =
  /** Deleted, or not about a file at all. */
  | { readonly kind: 'nothing' }
  | { readonly kind: 'refused'; readonly reason: string }
  | { readonly kind: 'file'; readonly path: string; readonly entry: FileEntry }
  | { readonly kind: 'directory'; readonly path: string; readonly entry: DirectoryEntry };

/** Largest file: beyond 2^53-1 bytes JavaScript can't count, and no file system stores one. */
const MAX_SIZE = BigInt(Number.MAX_SAFE_INTEGER);
/** How far the time of a file may be from its record's: what is lost between nanoseconds and a double. */
const TIME_TOLERANCE_NS = 1_000n;
/** For records without a mode. */
const DEFAULT_FILE_MODE = 0o644;
const DEFAULT_DIRECTORY_MODE = 0o755;

export function desiredOf(record: FileRecord): Desired {
  const { key, value, deleted } = record;
  if (deleted || !isFileKey(key)) return { kind: 'nothing' };
  const refusal = refusalOf(key);
  if (refusal !== undefined) return { kind: 'refused', reason: `path.${refusal}` };
  try {
    const entry = decodeEntry(value);
    if (entry.kind === 'directory') return { kind: 'directory', path: key, entry };
    if (key === ROOT_KEY) return { kind: 'refused', reason: 'directory.root_is_a_file' };
    if (entry.size > MAX_SIZE) return { kind: 'refused', reason: 'directory.too_large' };
    return { kind: 'file', path: key, entry };
  } catch (thrown) {
    if (thrown instanceof SkylarkError && thrown.fault === 'peer')
      return { kind: 'refused', reason: thrown.code };
    throw thrown;
  }
}

/**
 * What is to be done so that the folder shows the record; undefined if it does.
 * @param row what the index has for the record's uuid (not for its path)
 * @param desired what `desiredOf` says, if it was asked already
 */
export function missingFor(
  record: FileRecord,
  row: IndexRow | undefined,
  desired: Desired = desiredOf(record),
): NewPending | undefined {
  const { uuid } = record;
  switch (desired.kind) {
    case 'refused':
      // What was there before under this record stays: nobody asked for its removal.
      return { uuid, kind: 'refused', reason: desired.reason };
    case 'nothing':
      if (row === undefined || row.path === ROOT_KEY) return undefined;
      return row.kind === 'directory'
        ? { uuid, kind: 'folder_removal', rank: -depthOf(row.path) }
        : { uuid, kind: 'removal' };
    case 'directory': {
      const isThere = row?.kind === 'directory' && row.path === desired.path;
      if (isThere && (row.path === ROOT_KEY || row.mode === directoryMode(desired.entry, row)))
        return undefined;
      return { uuid, kind: 'folder', rank: depthOf(desired.path) };
    }
    case 'file': {
      const { entry, path } = desired;
      if (row?.kind !== 'file' || row.sha256 !== entry.sha256)
        return { uuid, kind: 'content', sha256: entry.sha256, size: entry.size };
      if (row.path === path && row.mode === fileMode(entry, row) && isTimeOf(row, entry)) return undefined;
      return { uuid, kind: 'here' };
    }
  }
}

/** Whether contents with this SHA-256 need not come from anywhere. */
export function isEmptyContent(sha256: string): boolean {
  return sha256 === EMPTY_SHA256;
}

/** The permissions that the file gets. Always readable for its owner: otherwise we could not give it to anybody. */
export function fileMode({ mode }: FileEntry, present: { readonly mode: number } | undefined): number {
  return mode === undefined ? (present?.mode ?? DEFAULT_FILE_MODE) : mode | 0o400;
}

/** Always usable for its owner: otherwise we could put nothing into it. */
export function directoryMode(
  { mode }: DirectoryEntry,
  present: { readonly mode: number } | undefined,
): number {
  return mode === undefined ? (present?.mode ?? DEFAULT_DIRECTORY_MODE) : mode | 0o700;
}

export function isTimeOf(file: { readonly mtimeNs: bigint }, { mtime }: FileEntry): boolean {
  if (mtime === undefined) return true;
  const difference = file.mtimeNs - mtime;
  return difference < TIME_TOLERANCE_NS && difference > -TIME_TOLERANCE_NS;
}

export function sameClock(a: VectorClock | undefined, b: VectorClock): boolean {
  if (a === undefined || a.size !== b.size) return false;
  for (const [peer, count] of a) if (b.get(peer) !== count) return false;
  return true;
}

export function depthOf(path: string): number {
  return path.split('/').length;
}
