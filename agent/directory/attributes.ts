/** Mode and time of a file, as its record says. */

import type { FileFacts, KnownFile, ShareRoot } from '../platform/files.ts';
import type { FileEntry } from './entry.ts';
import { fileMode, isTimeOf } from './projection.ts';

/**
 * Sets what differs, and returns what the file is then.
 * @param expected what the file must be for us to touch it
 * @param facts what it was a moment ago
 * @throws SkylarkError (environment) `files.changed` if it is not as expected; other `files.*`.
 */
export function withAttributes(
  root: ShareRoot,
  local: string,
  entry: FileEntry,
  expected: KnownFile & { readonly mode: number },
  facts: FileFacts,
): Promise<FileFacts> {
  const mode = fileMode(entry, expected);
  const isTime = isTimeOf(facts, entry);
  const change = {
    ...(facts.mode === mode ? {} : { mode }),
    ...(isTime || entry.mtime === undefined ? {} : { mtimeNs: entry.mtime }),
  };
  return root.setAttributes(local, change, expected);
}
