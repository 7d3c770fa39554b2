/**
 * What the value of a record says about a file or directory (directory.md, "Database fields"). Members that we don't
 * know belong to other extensions and are kept as they are.
 */

import { peerError } from '../base/errors.ts';
import { isJsonObject, type Json, type JsonObject, jsonObject } from '../base/json.ts';
import {
  field,
  hex,
  type Infer,
  nullable,
  object,
  optionalField,
  text,
  timestamp,
  u63,
} from '../base/schema.ts';
import { formatTimestamp, parseTimestamp } from '../base/timestamp.ts';

/** The record's key of the share's root directory. */
export const ROOT_KEY = '/';

export interface FileEntry {
  readonly kind: 'file';
  /** Bytes. */
  readonly size: bigint;
  /** Of the contents, 64 lower-case hexadecimal digits. */
  readonly sha256: string;
  /** Time of the last change, nanoseconds since 1970. */
  readonly mtime: bigint | undefined;
  /** Permission bits, 0 to 0o777. */
  readonly mode: number | undefined;
}

export interface DirectoryEntry {
  readonly kind: 'directory';
  readonly mtime: bigint | undefined;
  readonly mode: number | undefined;
}

export type Entry = FileEntry | DirectoryEntry;

/** SHA-256 of no bytes at all: contents that nobody needs to be asked for. */
export const EMPTY_SHA256 = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';

/** Most permission bits that are taken from a peer: no set-user-id, set-group-id or sticky bit. */
const MODE_MASK = 0o777;

const value = object({
  size: field('size', nullable(u63)),
  sha256: field('sha256', nullable(hex(32))),
  mtime: optionalField('mtime', nullable(timestamp)),
  mode: optionalField('unix_mode', nullable(text({ min: 1, max: 11 }))),
});

/**
 * @throws SkylarkError (peer) `schema.mismatch` or `directory.entry_malformed` for a value that describes neither a
 *   file nor a directory.
 */
export function decodeEntry(json: Json): Entry {
  const { size, sha256, mtime, mode } = value.decode(json, 'value');
  const common = {
    mtime: mtime === undefined || mtime === null ? undefined : parseTimestamp(mtime),
    mode: mode === undefined || mode === null ? undefined : decodeMode(mode),
  };
  if (size === null && sha256 === null) return { kind: 'directory', ...common };
  if (size === null || sha256 === null)
    throw peerError('directory.entry_malformed', 'a file has only one of size and SHA-256');
  if ((size === 0n) !== (sha256 === EMPTY_SHA256))
    throw peerError('directory.entry_malformed', 'the size of a file contradicts its SHA-256');
  return { kind: 'file', size, sha256, ...common };
}

/** The value of a record; `previous` is the value that it replaces, whose foreign members are kept. */
export function encodeEntry(entry: Entry, previous?: Json): JsonObject {
  const encoded: Infer<typeof value> = {
    size: entry.kind === 'file' ? entry.size : null,
    sha256: entry.kind === 'file' ? entry.sha256 : null,
    ...(entry.mtime === undefined ? {} : { mtime: formatTimestamp(entry.mtime) }),
    ...(entry.mode === undefined
      ? {}
      : { mode: `0${(entry.mode & MODE_MASK).toString(8).padStart(3, '0')}` }),
  };
  const own = value.encode(encoded);
  if (previous === undefined || !isJsonObject(previous)) return own;
  return jsonObject([...Object.entries(previous), ...Object.entries(own)]);
}

/** An octal number; `0644`, `644` and `100644` are the same permissions. */
function decodeMode(octal: string): number {
  if (!/^[0-7]+$/.test(octal)) throw peerError('directory.entry_malformed', 'unix_mode is not octal');
  return Number.parseInt(octal, 8) & MODE_MASK;
}
