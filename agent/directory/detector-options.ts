/** What a detector is opened with. */

import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import type { FileFacts, ShareRoot } from '../platform/files.ts';
import type { DebounceTimes } from './debounce.ts';
import type { Hashing } from './hashing.ts';
import type { IndexRow, LocalIndex } from './local-index.ts';
import type { RecordStore } from './record-changes.ts';
import type { Selection } from './selection.ts';

export interface DetectorOptions {
  readonly root: ShareRoot;
  readonly index: LocalIndex;
  readonly records: RecordStore;
  /** What is looked at. Must not change while the detector is open. Default: everything. */
  readonly selection?: Selection;
  readonly hashing: Hashing;
  readonly clock: Clock;
  readonly log: Logger;
  /** Ends everything, as `close` does. */
  readonly signal?: AbortSignal;
  /** What must be finished in the right folder before anything else; until then the folder is held. */
  readonly recovery?: { readonly isDone: boolean; run(): Promise<void> };
  /** We are joining a club with this folder: what is in it is nobody's change, until `endJoining`. */
  readonly isJoining?: boolean;
  /** Where we may not change records: the file of this row was changed (undefined: deleted), and should be put right. */
  readonly onDeviation: (row: IndexRow, now: FileFacts | undefined) => void;
  /** Told after something at the path was looked at and noted. */
  readonly onNoted?: (path: string) => void;
  readonly times?: DebounceTimes;
  /** Most directories to watch, see `openTreeWatch`. */
  readonly watchLimit?: number;
  /** Milliseconds between full scans of a folder that is watched. Default: an hour. */
  readonly rescanPeriod?: number;
}
