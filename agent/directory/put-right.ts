/**
 * Where we may not change records, or something was found at joining: what differs from its record goes to the archive,
 * and what the record says is pending.
 */

import type { FileFacts } from '../platform/files.ts';
import type { IndexRow, LocalIndex } from './local-index.ts';
import type { Surroundings } from './surroundings.ts';

/**
 * @param now what is at the row's path; undefined: what the row says, or nothing
 * @param mustStay what is taken away would not come again by itself
 * @param settle compares record and index anew
 * @throws SkylarkError (environment) `files.changed` and others if it has changed again.
 */
export async function putRight(
  row: IndexRow,
  now: FileFacts | undefined,
  mustStay: boolean,
  surroundings: Surroundings,
  index: LocalIndex,
  settle: (uuid: string) => void,
): Promise<void> {
  if (now === undefined && row.found) return surroundings.takeAway(row, 'found_at_joining');
  const mode = (now?.mode ?? row.mode) & 0o777;
  const isOnlyTouched = now?.kind === row.kind && (row.kind === 'directory' || hasSameContents(row, now));
  if (now?.kind === 'file' && !isOnlyTouched && mustStay && row.kind === 'file') {
    // Until the right contents take its place.
    index.transaction(() => {
      index.put({ ...row, ...now, kind: 'file', mode, sha256: undefined });
      if (row.uuid !== undefined) settle(row.uuid);
    });
    return;
  }
  // Whatever it has become, it is not the record's.
  if (now?.kind === 'file' && !isOnlyTouched)
    return surroundings.takeAway({ ...row, ...now, kind: 'file', mode, sha256: undefined }, 'not_permitted');
  index.transaction(() => {
    if (now !== undefined && isOnlyTouched) index.put({ ...row, ...now, kind: row.kind, mode });
    else index.remove(row.path);
    if (row.uuid !== undefined) settle(row.uuid);
  });
}

function hasSameContents(row: IndexRow, facts: FileFacts): boolean {
  return row.size === facts.size && row.mtimeNs === facts.mtimeNs;
}
