/** What is to be done so that the folder shows a record, as far as this device wants to show it. Pure. */

import type { IndexRow } from './local-index.ts';
import type { NewPending, PendingKind } from './pending.ts';
import { type Desired, depthOf, desiredOf, type FileRecord, missingFor } from './projection.ts';
import { IGNORE_FILE, type Selection } from './selection.ts';

/**
 * Undefined if the folder shows the record. What it need not show is `unwanted`: known, and left as it is.
 * @param row what the index has for the record's uuid (not for its path)
 * @param desired what `desiredOf` says, if it was asked already
 */
export function neededFor(
  record: FileRecord,
  row: IndexRow | undefined,
  selection: Selection,
  desired: Desired = desiredOf(record),
): NewPending | undefined {
  const missing = missingFor(record, row, desired);
  if (missing === undefined || desired.kind === 'refused') return missing;
  const { direction, isShallow } = selection.rules;
  if (direction === 'send') return unwanted(record, desired, row);
  if (desired.kind === 'nothing') return missing;
  if (!selection.isWanted(desired.path, desired.kind)) {
    if (row === undefined || !selection.isWanted(row.path, row.kind)) return unwanted(record, desired, row);
    // It was moved to where nothing is kept here: from where it was, it is gone.
    return row.kind === 'directory'
      ? { uuid: record.uuid, kind: 'folder_removal', rank: -depthOf(row.path) }
      : { uuid: record.uuid, kind: 'removal' };
  }
  // What lies here is kept up to date; what does not, need not come.
  if (isShallow && row === undefined && desired.path !== IGNORE_FILE) return unwanted(record, desired, row);
  return missing;
}

export function isUnwanted(needed: NewPending): boolean {
  return needed.kind === 'unwanted' || needed.kind === 'unwanted_folder';
}

/** There is nothing to be done for a record that is noted so. */
export function isEnded(kind: PendingKind): boolean {
  return kind === 'refused' || kind === 'unwanted' || kind === 'unwanted_folder';
}

function unwanted({ uuid }: FileRecord, desired: Desired, row: IndexRow | undefined): NewPending {
  if (desired.kind === 'file') {
    const { sha256, size } = desired.entry;
    return { uuid, kind: 'unwanted', sha256, size };
  }
  const isFolder = desired.kind === 'directory' || row?.kind === 'directory';
  return { uuid, kind: isFolder ? 'unwanted_folder' : 'unwanted' };
}
