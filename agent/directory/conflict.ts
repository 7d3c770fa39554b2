/**
 * Two changes of one file that did not know of each other (directory.md, "Conflicts"): which loser deserves a copy, and
 * what the copy is called. Pure functions of the records, because every peer must come to the same answer.
 */

import { utf8 } from '../base/bytes.ts';
import type { Json } from '../base/json.ts';
import { sha256 } from '../crypto/hash.ts';
import { MARK_LETTERS } from '../database/merge.ts';
import { decodeEntry, type FileEntry, ROOT_KEY } from './entry.ts';
import { refusalOf } from './paths.ts';

/** What this module needs to know of a record. */
export interface Contender {
  readonly key: string;
  readonly value: Json;
  readonly deleted: boolean;
}

/** Longest name of a file, in bytes (ext4, and every other file system that people use). */
const MAX_NAME_BYTES = 255;
/** Longer "extensions" are part of the name. */
const MAX_EXTENSION_BYTES = 64;
const EARLIER_MARK = /\.CONFLICT\.[0-9A-Za-z]{8}$/;

/**
 * Whether the loser of a conflict holds contents that would otherwise be gone: it is a live file, at a path that a file
 * can have, and the winner is not a live file with the same contents. Different permissions or times alone are not worth a second file.
 */
export function isConflictWorthy(loser: Contender, winner: Contender): boolean {
  const lost = liveFile(loser);
  return lost !== undefined && liveFile(winner)?.sha256 !== lost.sha256;
}

/**
 * The key of a loser's copy: `/foo.txt` and `q3x9k2ab` make `/foo.CONFLICT.q3x9k2ab.txt`. The last extension is kept,
 * so that the copy opens in the same program; an earlier mark is replaced, so that names don't grow; a name that would
 * exceed 255 bytes is cut before the mark.
 * @param mark eight alphanumeric characters, derived from the loser.
 */
export function conflictKey(key: string, mark: string): string {
  const slash = key.lastIndexOf('/');
  const folder = key.slice(0, slash + 1);
  const name = key.slice(slash + 1);
  const dot = name.lastIndexOf('.');
  // The dot of `.profile` begins a hidden name, not an extension.
  const hasExtension =
    dot > 0 && dot < name.length - 1 && utf8(name.slice(dot)).length <= MAX_EXTENSION_BYTES;
  const extension = hasExtension ? name.slice(dot) : '';
  const stem = (hasExtension ? name.slice(0, dot) : name).replace(EARLIER_MARK, '');
  const end = `.CONFLICT.${mark}${extension}`;
  return `${folder}${firstBytes(stem, MAX_NAME_BYTES - utf8(end).length)}${end}`;
}

/** Eight characters for a record that gets another name, the same on every peer. */
export function markOf(uuid: string): string {
  const hash = sha256(utf8(uuid));
  return Array.from(hash.subarray(0, 8), (byte) => MARK_LETTERS[byte & 31]).join('');
}

function liveFile({ key, value, deleted }: Contender): FileEntry | undefined {
  if (deleted || refusalOf(key) !== undefined || key === ROOT_KEY) return undefined;
  try {
    const entry = decodeEntry(value);
    return entry.kind === 'file' ? entry : undefined;
  } catch {
    // A value that is no file: whatever it is, we have no contents of it to keep.
    return undefined;
  }
}

/** As many whole characters of the text as fit into `limit` bytes of UTF-8. */
function firstBytes(text: string, limit: number): string {
  let length = 0;
  let result = '';
  for (const character of text) {
    length += utf8(character).length;
    if (length > limit) break;
    result += character;
  }
  return result;
}
