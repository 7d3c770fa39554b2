/** What a share tells of itself. */

import type { Holding } from '../database/in-step.ts';
import type { DetectorProgress } from './detect.ts';
import type { PendingKind } from './pending.ts';
import type { Problem } from './problems.ts';
import type { ShareParts } from './share-parts.ts';

export interface ShareStatus {
  /** Files in the folder, and their bytes. */
  readonly files: number;
  readonly bytes: bigint;
  /** Files that the folder does not show as their records say, and the bytes of contents to come. */
  readonly pendingFiles: number;
  readonly pendingBytes: bigint;
  /** About how many seconds these will take; undefined if that can't be told. */
  readonly secondsLeft: number | undefined;
  /** Files that are known and not kept here, or not in their newest version, and their bytes. */
  readonly unwantedFiles: number;
  readonly unwantedBytes: bigint;
  /** Nothing is pending, nothing is still to be read, and nothing is in the way. */
  readonly isSynced: boolean;
  /** What is in the folder is recorded, as far as anybody knows. */
  readonly isRecorded: boolean;
  readonly isPaused: boolean;
  readonly isScanning: boolean;
  /** The first synchronisation is not yet complete. */
  readonly isJoining: boolean;
  /** Bytes of contents per second, lately. */
  readonly receiving: number;
  readonly sending: number;
  readonly archivedBytes: bigint;
  /** Of contents that were asked for and that the folder does not show. */
  readonly cachedBytes: bigint;
  /** Where the share may only be read: files beside it, and edits whose files the archive keeps. */
  readonly besideFiles: number;
  readonly putRightFiles: number;
  readonly problems: readonly Problem[];
}

export interface ShareState
  extends Pick<ShareStatus, 'isPaused' | 'isJoining' | 'receiving' | 'sending' | 'problems'> {
  /** Undefined while nobody looks at the folder. */
  readonly progress: DetectorProgress | undefined;
  /** The folder has been listed since the opening. */
  readonly isListed: boolean;
}

export function shareStatus(
  { index, count, archive, ownChanges, cache, fetcher, flows, timeLeft }: ShareParts,
  { progress, isListed, ...state }: ShareState,
): ShareStatus {
  const { files, bytes } = index.totals();
  const pending = count.totals;
  const isStopped = state.problems.some(({ stops }) => stops !== 'files');
  const isAsKnown = isRecorded({ progress, isListed });
  return {
    ...state,
    files,
    bytes,
    ...count.told,
    secondsLeft:
      state.isPaused || flows.download.isHeld
        ? undefined
        : timeLeft.of(pending.bytes - BigInt(fetcher.partlyHere)),
    isRecorded: isAsKnown,
    isSynced: isAsKnown && !isStopped && pending.files + pending.folders === 0,
    isScanning: progress?.isScanning ?? false,
    archivedBytes: archive.bytes,
    cachedBytes: cache.bytes,
    besideFiles: ownChanges.beside,
    putRightFiles: ownChanges.putRight,
  };
}

function isRecorded({ progress, isListed }: Pick<ShareState, 'progress' | 'isListed'>): boolean {
  return progress !== undefined && isListed && progress.toExamine.files === 0 && !progress.isMissing;
}

/** See `Holding`. Without counting anything: it is asked often. */
export function shareHolding(
  { pending, custody }: ShareParts,
  state: Pick<ShareState, 'progress' | 'isListed' | 'isPaused' | 'problems'>,
): Holding {
  const isGone = state.problems.some(({ stops }) => stops === 'everything');
  if (isGone || PARTIAL.some((kind) => pending.has(kind)) || custody.damages.problem() !== undefined)
    return 'part';
  if (!isRecorded(state) || state.isPaused) return 'not_yet';
  return COMING.some((kind) => pending.has(kind)) ? 'not_yet' : 'all';
}

const PARTIAL: readonly PendingKind[] = ['refused', 'unwanted', 'unwanted_folder'];
const COMING: readonly PendingKind[] = ['content', 'here', 'folder', 'removal', 'folder_removal'];

export type ShareEvent =
  /** A file has arrived and is in its place. */
  | { readonly kind: 'placed'; readonly path: string; readonly sha256: string; readonly size: bigint }
  /** Two changes of one file did not know of each other; `path` is the copy of the loser. */
  | { readonly kind: 'conflict'; readonly path: string; readonly uuid: string }
  /** What was done to this file may not be done here: it goes to the archive, and the record's version comes back. */
  | { readonly kind: 'put_right'; readonly path: string }
  | { readonly kind: 'problems'; readonly problems: readonly Problem[] };
