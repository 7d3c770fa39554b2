/** What an owner asks of a share beyond syncing: what it has kept, one file of it, and whether all of it is still right. */

import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import type { ClubDatabase } from '../database/club-database.ts';
import type { ShareRoot } from '../platform/files.ts';
import type { Sqlite } from '../platform/sqlite.ts';
import type { Archive } from './archive.ts';
import { ArchiveHistory } from './archive-history.ts';
import type { ContentCache } from './cache.ts';
import type { DiskChanges } from './changes.ts';
import { Damages } from './damages.ts';
import { Demand } from './demand.ts';
import type { DiskRoom } from './disk-room.ts';
import type { Hashing } from './hashing.ts';
import type { LocalIndex } from './local-index.ts';
import type { Inflow } from './manners/flow.ts';
import { Mending } from './mending.ts';
import type { PendingStore } from './pending.ts';
import { ContentReader } from './read-contents.ts';
import { Restorer } from './restore.ts';
import type { Selection } from './selection.ts';
import type { LocalContents } from './supply.ts';
import { Verifier } from './verify.ts';

export interface CustodyOptions {
  readonly club: string;
  readonly database: ClubDatabase;
  readonly sqlite: Sqlite;
  readonly hashing: Hashing;
  readonly clock: Clock;
  readonly log: Logger;
  readonly root: ShareRoot;
  readonly signal: AbortSignal;
  readonly index: LocalIndex;
  readonly pending: PendingStore;
  readonly archive: Archive;
  readonly cache: ContentCache;
  readonly selection: Selection;
  readonly changes: DiskChanges;
  readonly local: LocalContents;
  readonly room: Pick<DiskRoom, 'during'>;
  readonly mayPlace: () => boolean;
  /** See `Mending`. */
  readonly mayMend: () => boolean;
  readonly nudge: (path: string) => void;
  /** Bytes of contents that came. */
  readonly received: (bytes: number) => void;
  /** How much may be asked for. */
  readonly download: Inflow;
}

export class Custody {
  readonly history: ArchiveHistory;
  readonly damages: Damages;
  readonly demand: Demand;
  readonly reader: ContentReader;
  readonly restorer: Restorer;
  readonly verifier: Verifier;
  readonly mending: Mending;
  /** For the detector: see `Damages.hashingFor`. */
  readonly hashing: Hashing;

  constructor(options: CustodyOptions) {
    const { club, sqlite, database, index, clock, received, download, selection } = options;
    this.damages = new Damages(sqlite, club, index);
    this.demand = new Demand(clock, received, download);
    options.signal.addEventListener('abort', () => this.demand.close(), { once: true });
    this.history = new ArchiveHistory(options);
    this.reader = new ContentReader({ ...options, records: database, demand: this.demand });
    const { damages, reader } = this;
    this.restorer = new Restorer({
      ...options,
      // What is restored must spread, or it would be put right at once.
      get writable() {
        return database.writable && selection.rules.direction !== 'receive';
      },
      damages,
    });
    this.verifier = new Verifier({ ...options, damages, reader });
    this.mending = new Mending({ ...options, damages, verifier: this.verifier, mayRun: options.mayMend });
    this.hashing = damages.hashingFor(options.hashing);
  }
}
