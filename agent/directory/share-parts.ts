/** What a share is made of, wired together. */

import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import type { ClubDatabase } from '../database/club-database.ts';
import type { ShareRoot } from '../platform/files.ts';
import type { Sqlite } from '../platform/sqlite.ts';
import { Absences } from './absences.ts';
import { Archive, type ArchiveLimits } from './archive.ts';
import { ContentCache } from './cache.ts';
import { DiskChanges } from './changes.ts';
import { Custody } from './custody.ts';
import { DiskRoom, NO_ROOM } from './disk-room.ts';
import { Fetcher } from './fetch.ts';
import { conflictSource, type Follower, follow } from './follow.ts';
import type { Hashing } from './hashing.ts';
import { ShareHoldings } from './holdings.ts';
import { type LocalIndex, openLocalIndex } from './local-index.ts';
import { type Flows, freeFlows } from './manners/flow.ts';
import { Obstructions } from './obstructions.ts';
import { OwnChanges } from './own-changes.ts';
import { Partials } from './partials.ts';
import { PendingStore } from './pending.ts';
import { PendingCount } from './pending-count.ts';
import { Placer } from './place.ts';
import { isWithMember } from './possession.ts';
import { Reconciler } from './reconcile.ts';
import { FolderStart } from './recovery.ts';
import { RefusalStore } from './refusals.ts';
import { Selecting } from './selecting.ts';
import { Selection } from './selection.ts';
import { LocalContents } from './supply.ts';
import { TimeLeft } from './time-left.ts';
import { Troubles } from './troubles.ts';

export interface ShareParts {
  readonly index: LocalIndex;
  readonly pending: PendingStore;
  readonly archive: Archive;
  readonly partials: Partials;
  readonly changes: DiskChanges;
  readonly placer: Placer;
  readonly reconciler: Reconciler;
  readonly fetcher: Fetcher;
  readonly follower: Follower;
  readonly obstructions: Obstructions;
  readonly troubles: Troubles;
  readonly custody: Custody;
  readonly ownChanges: OwnChanges;
  readonly room: DiskRoom;
  readonly holdings: ShareHoldings;
  readonly absences: Absences;
  readonly selection: Selection;
  readonly selecting: Selecting;
  readonly count: PendingCount;
  readonly cache: ContentCache;
  readonly start: FolderStart;
  readonly flows: Flows;
  readonly timeLeft: TimeLeft;
}

export interface SharePartsOptions {
  readonly club: string;
  readonly database: ClubDatabase;
  readonly sqlite: Sqlite;
  readonly hashing: Hashing;
  readonly clock: Clock;
  readonly log: Logger;
  readonly root: ShareRoot;
  readonly signal: AbortSignal;
  readonly archive: ArchiveLimits | undefined;
  /** See `DiskRoom`. */
  readonly reserve?: bigint | undefined;
  /** See `ContentCache`. */
  readonly cache?: bigint | undefined;
  /** See `Absences`. */
  readonly missingAfter?: number | undefined;
  /** Of all shares together. Default: contents pass as they come. */
  readonly flows?: Flows | undefined;
  /** Of the detector. */
  readonly hold: (paths: readonly string[]) => () => void;
  readonly nudge: (path: string) => void;
  readonly mayPlace: () => boolean;
  readonly mayMend: () => boolean;
  readonly mayTidy: () => boolean;
  readonly mayFetch: () => boolean;
  readonly received: (bytes: number) => void;
  /** These contents are here now. */
  readonly announce: (sha256: string) => void;
  readonly onPlaced: (path: string, sha256: string, size: bigint) => void;
  readonly onConflict: (key: string, uuid: string) => void;
  /** Records have changed. */
  readonly onChanges: () => void;
  /** See `Selecting`. */
  readonly halt: () => Promise<void>;
  readonly proceed: () => void;
}

export function makeParts(options: SharePartsOptions): ShareParts {
  const { club, database, sqlite, root, clock, log, nudge, hashing, signal } = options;
  const index = openLocalIndex(sqlite, club);
  const pending = new PendingStore(sqlite, club);
  const selection = new Selection();
  const limits = options.archive === undefined ? {} : { limits: options.archive };
  const room = new DiskRoom({
    root,
    clock,
    reserve: options.reserve,
    isWanted: (sha256) => pending.isWanted(sha256),
    onShort: (error) => troubles.add(error),
    onRoom: () => fetcher.lookAgain(),
    onEnough: () => troubles.over(NO_ROOM),
  });
  const archive = new Archive({ sqlite, club, root, clock, log, room, ...limits });
  const partials = new Partials(sqlite, club, root);
  const refusals = new RefusalStore(sqlite, club, clock);
  const changes = new DiskChanges({
    sqlite,
    club,
    archive,
    clock,
    signal,
    onTrouble: (error) => troubles.add(error),
    hold: options.hold,
  });
  const cache = new ContentCache({
    sqlite,
    club,
    root,
    log,
    limit: options.cache,
    isElsewhere: (sha256) => pending.isKnown(sha256) && !pending.isWanted(sha256),
    onKept: options.announce,
  });
  const flows = options.flows ?? freeFlows(clock);
  const { download } = flows;
  const timeLeft = new TimeLeft(clock);
  const received = (bytes: number) => {
    options.received(bytes);
    download.passed(bytes);
    timeLeft.came(bytes);
  };
  const local = new LocalContents({
    ...{ root, index, archive, cache, hashing, log, signal, room },
    isWithMember: (file, sha256) => isWithMember(file, sha256, custody.demand, signal),
  });
  const custody = new Custody({
    ...options,
    received,
    download,
    index,
    selection,
    pending,
    cache,
    archive,
    changes,
    local,
    room,
  });
  const { damages } = custody;
  const holdings = new ShareHoldings({
    sqlite,
    club,
    selection,
    root,
    index,
    archive,
    pending,
    cache,
    damages,
    hashing,
    log,
    signal,
    nudge,
  });
  const absences = new Absences({
    clock,
    waitingFor: (sha256) => pending.waitingFor(sha256),
    isConflictCopy: (uuid) => conflictSource(database.getByUuid(uuid)?.value ?? null) !== undefined,
    missingAfter: options.missingAfter,
  });
  const count = new PendingCount({ pending, missing: () => absences.missing(), clock });
  const ownChanges = new OwnChanges({
    sqlite,
    club,
    mayWrite: database.writable,
    writable: () => database.writable && selection.rules.direction !== 'receive',
  });
  const troubles = new Troubles({
    ownChanges,
    damages,
    pending,
    missing: () => absences.missing(),
    countRefused: () => count.totals.refused,
    keyOf: (uuid) => database.getByUuid(uuid)?.key,
    log,
  });
  const obstructions = new Obstructions({ records: database, clock, log });
  const placer = new Placer({
    records: database,
    onObstruction: (path) => obstructions.note(path),
    index,
    archive,
    root,
    changes,
    log,
    clock,
    pending,
    selection,
    local,
    nudge,
    onPlaced: options.onPlaced,
  });
  const running = {
    pending,
    placer,
    clock,
    log,
    mayPlace: options.mayPlace,
    mayTidy: options.mayTidy,
    mayFetch: options.mayFetch,
    onTrouble: (error: Error) => troubles.add(error),
    onPlaced: () => {
      troubles.clear();
      selecting.check();
    },
  };
  const reconciler = new Reconciler(running);
  const fetcher = new Fetcher({
    ...running,
    partials,
    refusals,
    local,
    room,
    absences,
    root,
    hashing,
    signal,
    received,
    download,
  });
  const follower = follow({
    changes: database,
    index,
    pending,
    selection,
    placer,
    onChanges: () => {
      obstructions.disturb();
      options.onChanges();
    },
    onObsolete: (sha256) => {
      fetcher.obsolete(sha256);
      cache.obsolete(sha256);
    },
    onConflict: options.onConflict,
    onRefused: (key, reason) => troubles.refused(key, reason),
  });
  const selecting = new Selecting({
    selection,
    index,
    pending,
    root,
    recordAt: (key) => database.get(key),
    settle: (uuid) => placer.settle(uuid),
    onObsolete: (sha256) => fetcher.obsolete(sha256),
    halt: options.halt,
    proceed: options.proceed,
    signal,
    log,
  });
  const start = new FolderStart({
    ...{
      sqlite,
      club,
      index,
      archive,
      root,
      selection,
      hashing,
      log,
      signal,
      pending,
      partials,
      cache,
      clock,
    },
    settle: (uuid) => placer.settle(uuid),
  });
  return {
    start,
    index,
    pending,
    archive,
    partials,
    changes,
    placer,
    reconciler,
    fetcher,
    follower,
    obstructions,
    troubles,
    custody,
    ownChanges,
    room,
    holdings,
    absences,
    selection,
    selecting,
    count,
    cache,
    flows,
    timeLeft,
  };
}
