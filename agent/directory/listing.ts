/** What is in a folder of a share, by its records: also what is not here yet. */

import { SkylarkError } from '../base/errors.ts';
import { decodeEntry, type Entry } from './entry.ts';
import { isFileKey, joinPath } from './paths.ts';
import type { FileRecord } from './projection.ts';

export interface ListedFile {
  readonly path: string;
  readonly kind: 'file' | 'directory';
  /** Bytes; undefined for folders. */
  readonly size: bigint | undefined;
  readonly sha256: string | undefined;
  /** Nanoseconds since 1970. */
  readonly mtime: bigint | undefined;
  readonly mode: number | undefined;
  /** The folder shows it as the record says. */
  readonly isHere: boolean;
}

/** The database, as far as listing needs it. */
export interface ListedRecords {
  get(key: string): FileRecord | undefined;
  iterate(options: { readonly prefix?: string; readonly after?: string }): IterableIterator<FileRecord>;
}

/** Behind everything that begins with the same text. */
const LAST_CHARACTER = '\u{10ffff}';

/**
 * What is directly in the folder, by name; for the path of a file, the file itself. What lies deeper is passed over
 * without being read. Folders that no record describes are listed too if something is in them.
 */
export function* list(
  records: ListedRecords,
  isHere: (uuid: string) => boolean,
  path: string,
): IterableIterator<ListedFile> {
  const own = path === '/' ? undefined : records.get(path);
  const ownEntry = own && entryOf(own);
  if (own !== undefined && ownEntry?.kind === 'file') {
    yield listed(own, ownEntry, isHere);
    return;
  }
  const prefix = joinPath(path, '');
  let implied: string | undefined;
  for (let after: string | undefined = path; after !== undefined; ) {
    let next: string | undefined;
    for (const record of records.iterate({ prefix, after })) {
      const { key } = record;
      if (!isFileKey(key) || key === '/') continue;
      const slash = key.indexOf('/', prefix.length);
      const child = slash === -1 ? key : key.slice(0, slash);
      if (slash === -1) {
        const entry = entryOf(record);
        if (entry !== undefined) yield listed(record, entry, isHere);
      } else {
        if (child !== implied && entryOf(records.get(child))?.kind !== 'directory') yield folder(child);
        implied = child;
        next = `${child}/${LAST_CHARACTER}`;
        break;
      }
    }
    after = next;
  }
}

function entryOf(record: FileRecord | undefined): Entry | undefined {
  if (record === undefined) return undefined;
  try {
    return decodeEntry(record.value);
  } catch (thrown) {
    if (thrown instanceof SkylarkError) return undefined;
    throw thrown;
  }
}

function listed(record: FileRecord, entry: Entry, isHere: (uuid: string) => boolean): ListedFile {
  return {
    path: record.key,
    kind: entry.kind,
    size: entry.kind === 'file' ? entry.size : undefined,
    sha256: entry.kind === 'file' ? entry.sha256 : undefined,
    mtime: entry.mtime,
    mode: entry.mode,
    isHere: isHere(record.uuid),
  };
}

function folder(path: string): ListedFile {
  return {
    path,
    kind: 'directory',
    size: undefined,
    sha256: undefined,
    mtime: undefined,
    mode: undefined,
    isHere: true,
  };
}
