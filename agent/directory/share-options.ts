/** What a share is opened with. */

import type { Clock } from '../base/clock.ts';
import { errorCode } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { ClubDatabase } from '../database/club-database.ts';
import { openShareRoot, ShareRoot } from '../platform/files.ts';
import type { Sqlite } from '../platform/sqlite.ts';
import type { ArchiveLimits } from './archive.ts';
import type { DebounceTimes } from './debounce.ts';
import type { Hashing } from './hashing.ts';
import type { Flows } from './manners/flow.ts';
import type { SelectionRules } from './selection.ts';

export interface ShareOptions {
  /** Our own name for the club. */
  readonly club: string;
  /** The folder, absolute. */
  readonly path: string;
  readonly database: ClubDatabase;
  /** The database's own connection: the directory's tables lie beside the records. */
  readonly sqlite: Sqlite;
  /** Shared by all shares; stays the caller's. */
  readonly hashing: Hashing;
  readonly clock: Clock;
  readonly log: Logger;
  /** The first opening after joining a club: what is in the folder already is nobody's change. Remembered from then on. */
  readonly isJoining?: boolean;
  /** What is kept here, until `select` says otherwise. Default: everything, in both directions. */
  readonly rules?: SelectionRules;
  readonly archive?: ArchiveLimits;
  /** Bytes of the file system that stay free. Default: see `defaultReserve`. */
  readonly reserve?: bigint | undefined;
  /** Bytes of contents that were asked for and that the folder does not show. Default: 256 MiB. */
  readonly cache?: bigint | undefined;
  /** What holds for contents over all shares. Default: they pass as they come. */
  readonly flows?: Flows | undefined;
  /** Milliseconds after which a conflict copy whose contents nobody has no longer counts as pending. Default: a minute. */
  readonly missingAfter?: number;
  readonly debounce?: DebounceTimes;
  /** Milliseconds between full scans while everything is watched. */
  readonly rescanPeriod?: number;
  /** Milliseconds without anything new, after which a first synchronisation is over. Default 10,000. */
  readonly joiningQuiet?: number;
}

/** Also for a folder that is not there: that is told, and over when it is back. */
export async function openRoot(path: string, clock: Clock): Promise<ShareRoot> {
  try {
    return await openShareRoot(path, { clock });
  } catch (thrown) {
    if (errorCode(thrown) !== 'share.root_missing') throw thrown;
    return new ShareRoot(path, clock);
  }
}
