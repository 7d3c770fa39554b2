/** Listing a directory in batches, names as bytes until they prove to be text. */

import fs, { type Dir } from 'node:fs';
import { fromUtf8 } from '../base/bytes.ts';
import type { SkylarkError } from '../base/errors.ts';
import { type FileFacts, fileError, isAbsent, lstat, lstatSync } from './files-calls.ts';
import type { DirectoryHandle } from './files-directories.ts';
import { isOwnName } from './files-names.ts';

/** Entries in a batch. */
const BATCH = 256;
/** Looks at the first of a batch this many at once, to learn whether the disk answers from memory. */
const PROBE = 8;
/** Milliseconds for the probe: a warm cache needs 0.1, any disk more than 1. */
const WARM_PROBE_MS = 0.4;
/** Looks at the same time, when the disk has to work. */
const LOOKS_AT_ONCE = 16;

/** What stands in a directory under one name. */
export type ListedEntry =
  | { readonly name: string; readonly facts: FileFacts }
  /** A name that is not UTF-8, which can't be synced: shown with replacement characters. */
  | { readonly name: undefined; readonly shown: string }
  /** It is there, but the system would not say what it is. */
  | { readonly name: string; readonly facts: undefined; readonly error: SkylarkError };

export async function* listDirectory(
  handle: DirectoryHandle,
): AsyncGenerator<readonly ListedEntry[], void, void> {
  // latin1 keeps every byte of a name as one character.
  const directory = await fs.promises.opendir(handle.prefix, { encoding: 'latin1', bufferSize: BATCH });
  try {
    for (;;) {
      const names = await readBatch(directory);
      if (names.length === 0) return;
      const batch = await look(handle, names);
      if (batch.length > 0) yield batch;
    }
  } finally {
    await directory.close();
  }
}

/**
 * The first read fills Node's buffer on another thread; the rest of the batch is then in memory, without a promise for
 * each name. At the end of the directory one call reads nothing on this thread.
 */
async function readBatch(directory: Dir): Promise<string[]> {
  const names: string[] = [];
  for (let entry = await directory.read(); entry !== null; entry = directory.readSync()) {
    names.push(entry.name);
    if (names.length === BATCH) break;
  }
  return names;
}

async function look(handle: DirectoryHandle, raw: readonly string[]): Promise<ListedEntry[]> {
  const entries: ListedEntry[] = [];
  const names: string[] = [];
  for (const bytes of raw) {
    const name = decodeName(bytes);
    if (name === undefined) entries.push({ name, shown: Buffer.from(bytes, 'latin1').toString('utf8') });
    else if (!isOwnName(name)) names.push(name);
  }
  const start = performance.now();
  let next = 0;
  for (; next < Math.min(PROBE, names.length); next++) push(entries, lookSync(handle, names[next]!));
  // Looking on this thread is twice as fast, as long as nothing has to come from the disk.
  const warm = performance.now() - start < WARM_PROBE_MS;
  if (warm) {
    for (; next < names.length; next++) push(entries, lookSync(handle, names[next]!));
    return entries;
  }
  const lookOn = async (): Promise<void> => {
    while (next < names.length) {
      const name = names[next++]!;
      try {
        entries.push({ name, facts: await lstat(handle.prefix + name) });
      } catch (thrown) {
        push(entries, failed(name, thrown));
      }
    }
  };
  await Promise.all(Array.from({ length: LOOKS_AT_ONCE }, lookOn));
  return entries;
}

function lookSync(handle: DirectoryHandle, name: string): ListedEntry | undefined {
  try {
    return { name, facts: lstatSync(handle.prefix + name) };
  } catch (thrown) {
    return failed(name, thrown);
  }
}

/** Undefined for what disappeared since it was listed. */
function failed(name: string, error: unknown): ListedEntry | undefined {
  return isAbsent(error) ? undefined : { name, facts: undefined, error: fileError('look at', name, error) };
}

function push(entries: ListedEntry[], entry: ListedEntry | undefined): void {
  if (entry !== undefined) entries.push(entry);
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: the whole of ASCII is meant.
const ASCII = /^[\u0000-\u007f]*$/;

/** @param latin1 one character for each byte. Undefined if the bytes are not UTF-8. */
export function decodeName(latin1: string): string | undefined {
  if (ASCII.test(latin1)) return latin1;
  try {
    return fromUtf8(Buffer.from(latin1, 'latin1'));
  } catch {
    return undefined;
  }
}
