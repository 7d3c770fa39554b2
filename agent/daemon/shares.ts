/**
 * The clubs of this device, opened: for each its database, its replication and its folder. A share that can't be opened
 * is a problem that is told, and tried again; it stops no other.
 */

import type { Clock, Timer } from '../base/clock.ts';
import { asError, describeError, environmentError, errorCode, SkylarkError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { type Backoff, openBackoff } from '../base/retry.ts';
import type { Club } from '../club/club.ts';
import type { Registry } from '../club/registry.ts';
import type { Extension } from '../club/session.ts';
import { type Change, openClubDatabase, type ReplicatedDatabase } from '../database/database.ts';
import { clubsWithRecords } from '../database/forget.ts';
import { type InStep, openInStep } from '../database/in-step.ts';
import { openReplication, type Replication } from '../database/replication.ts';
import { conflictKey, isConflictWorthy } from '../directory/conflict.ts';
import type { Hashing } from '../directory/hashing.ts';
import type { Flows } from '../directory/manners/flow.ts';
import { openShare, type Share, type ShareEvent } from '../directory/share.ts';
import type { Sqlite } from '../platform/sqlite.ts';
import { Forgetting } from './forgetting.ts';
import { selectionOf } from './share-selection.ts';

export interface OpenShare {
  readonly club: Club;
  readonly database: ReplicatedDatabase;
  readonly replication: Replication;
  readonly inStep: InStep;
  readonly share: Share;
}

export interface SharesOptions {
  readonly registry: Registry;
  readonly sqlite: Sqlite;
  readonly hashing: Hashing;
  /** Milliseconds. */
  readonly rescanPeriod: number;
  /** Bytes of a share's file system that stay free; undefined: as the share finds fit. */
  readonly reserve?: bigint | undefined;
  /** Bytes of the cache of each share that is kept in part. */
  readonly cache?: bigint | undefined;
  /** What holds for contents over all shares. */
  readonly flows?: Flows | undefined;
  readonly clock: Clock;
  readonly log: Logger;
  readonly onShareEvent: (club: Club, event: ShareEvent) => void;
  readonly onRecords: (club: Club, changes: readonly Change[]) => void;
}

/** Milliseconds. */
const REOPEN = { first: 2_000, longest: 300_000 };

type Entry =
  | { readonly kind: 'open'; readonly open: OpenShare }
  | { readonly kind: 'failed'; readonly error: Error };

export class Shares {
  readonly #options: SharesOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #retries = new Map<string, { readonly backoff: Backoff; readonly timer: Timer }>();
  readonly #stopListening: () => void;
  readonly #forgetting: Forgetting;
  /** Left, and not yet closed. */
  readonly #leaving = new Set<string>();
  /** What is opened and closed, one after the other. */
  #work: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(options: SharesOptions) {
    this.#options = options;
    this.#forgetting = new Forgetting({
      ...options,
      isNeeded: (club) => options.registry.get(club) !== undefined || this.#leaving.has(club),
    });
    this.#stopListening = options.registry.onChange(({ kind, club }) => {
      if (kind === 'left') void this.#leave(club);
      else if (kind === 'peer') void this.#reopen(club);
      else if (kind === 'configured') this.#configure(club);
    });
  }

  /** Every club that is known. Resolves when all are open or have failed. What is left of others is removed, later. */
  async openAll(): Promise<void> {
    await this.#renameForgetful();
    await Promise.all(this.#options.registry.list().map((club) => this.#tryOpen(club)));
    this.#forgetting.begin();
  }

  /** @throws SkylarkError: why the folder can't be used. */
  async open(club: Club): Promise<OpenShare> {
    await this.#queued(() => this.#openNow(club));
    const entry = this.#entries.get(club.id);
    if (entry?.kind === 'open') return entry.open;
    throw entry?.error ?? environmentError('share.closing', 'the agent is being stopped');
  }

  get(club: string): OpenShare | undefined {
    const entry = this.#entries.get(club);
    return entry?.kind === 'open' ? entry.open : undefined;
  }

  /** Why a share is not open. */
  failure(club: string): Error | undefined {
    const entry = this.#entries.get(club);
    return entry?.kind === 'failed' ? entry.error : undefined;
  }

  /**
   * For sessions: records first, since contents are about records.
   * @throws SkylarkError (environment) `share.not_open`: a session without them would last and do nothing.
   */
  extensions(club: Club): readonly Extension[] {
    const open = this.get(club.id);
    if (open === undefined)
      throw environmentError('share.not_open', `the share ${club.name} is not open yet`);
    return [open.replication, open.inStep, open.share.extension];
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#stopListening();
    for (const { timer } of this.#retries.values()) timer.cancel();
    await this.#queued(async () => {
      await Promise.all([...this.#entries.keys()].map((id) => this.#closeNow(id)));
    });
    await this.#forgetting.close();
  }

  /** Without its records a device would give out its revisions again, under an ID by which others know the old ones. */
  async #renameForgetful(): Promise<void> {
    const { registry, sqlite, log } = this.#options;
    try {
      const remembered = new Set(clubsWithRecords(sqlite));
      for (const club of registry.list()) {
        if (remembered.has(club.id) || club.level !== 'read_write' || club.peers.length === 0) continue;
        log.warn('the records of a share are gone, and come again from its members', { share: club.name });
        await registry.mintPeer(club.id);
      }
    } catch (thrown) {
      // Others will notice when they meet us; and why a share can't be opened is told with that share.
      log.error('no new peer ID could be taken', { error: asError(thrown) });
    }
  }

  async #tryOpen(club: Club): Promise<void> {
    try {
      await this.open(club);
    } catch (thrown) {
      this.#options.log.error('a share could not be opened', {
        share: club.name,
        why: describeError(thrown),
      });
    }
  }

  async #openNow(club: Club): Promise<void> {
    if (this.#closed || this.#entries.get(club.id)?.kind === 'open') return;
    try {
      const open = await this.#openShare(club);
      this.#entries.set(club.id, { kind: 'open', open });
      // What is kept may have been changed meanwhile.
      this.#select(open.share, club);
      this.#retries.delete(club.id);
    } catch (thrown) {
      this.#retries.get(club.id)?.timer.cancel();
      this.#entries.set(club.id, { kind: 'failed', error: asError(thrown) });
      this.#retry(club);
    }
  }

  async #openShare(club: Club): Promise<OpenShare> {
    const { sqlite, hashing, rescanPeriod, reserve, cache, flows } = this.#options;
    const { clock, log, registry, onShareEvent, onRecords } = this.#options;
    const scoped = log.child('share', { share: club.name });
    const database = openClubDatabase({
      sqlite,
      club: club.id,
      self: club.peer,
      writable: club.level === 'read_write',
      conflicts: { conflictKey, isConflictWorthy },
      clock,
      log: scoped,
    });
    const replication = openReplication({
      database,
      signer: club.signer,
      clock,
      log: scoped,
      onRestored: () =>
        registry.mintPeer(club.id).catch((thrown: unknown) => {
          scoped.error('no new peer ID could be taken', { error: asError(thrown) });
          return false;
        }),
    });
    try {
      const share = await openShare({
        club: club.id,
        path: club.folder,
        database,
        sqlite,
        hashing,
        clock,
        log: scoped,
        isJoining: club.joined,
        rules: selectionOf(club),
        rescanPeriod,
        reserve,
        cache,
        flows,
      });
      const holding = () => share.holding;
      const inStep = openInStep({ database, replication, holding, clock, log: scoped });
      share.on((event) => {
        inStep.disturb();
        onShareEvent(club, event);
      });
      database.onCommit((changes) => onRecords(club, changes));
      if (club.paused) share.pause();
      return { club, database, replication, inStep, share };
    } catch (thrown) {
      replication.close();
      database.close();
      throw thrown;
    }
  }

  async #closeNow(id: string): Promise<void> {
    const entry = this.#entries.get(id);
    this.#entries.delete(id);
    if (entry?.kind !== 'open') return;
    const { share, replication, inStep, database } = entry.open;
    inStep.close();
    await share.close();
    replication.close();
    database.close();
  }

  #leave(club: Club): Promise<void> {
    this.#retries.get(club.id)?.timer.cancel();
    this.#retries.delete(club.id);
    this.#leaving.add(club.id);
    return this.#queued(async () => {
      try {
        await this.#closeNow(club.id);
      } finally {
        this.#leaving.delete(club.id);
        this.#forgetting.begin();
      }
    });
  }

  /** Under our new peer ID. */
  #reopen(club: Club): Promise<void> {
    return this.#queued(async () => {
      await this.#closeNow(club.id);
      await this.#openNow(club);
    });
  }

  #configure(club: Club): void {
    const share = this.get(club.id)?.share;
    if (share === undefined) return;
    if (club.paused) share.pause();
    else share.resume();
    this.#select(share, club);
  }

  #select(share: Share, club: Club): void {
    const failed = (thrown: unknown) =>
      this.#options.log.warn('what is kept of a share could not be changed', {
        share: club.name,
        why: describeError(thrown),
      });
    try {
      share.select(selectionOf(club)).catch(failed);
    } catch (thrown) {
      failed(thrown);
    }
  }

  #retry(club: Club): void {
    if (this.#closed) return;
    const { backoff } = this.#retries.get(club.id) ?? { backoff: openBackoff(REOPEN) };
    const timer = this.#options.clock.after(backoff.next(), () => {
      void this.#queued(async () => {
        if (this.#options.registry.get(club.id) === undefined) return;
        await this.#openNow(club);
      });
    });
    this.#retries.set(club.id, { backoff, timer });
  }

  #queued(work: () => Promise<void>): Promise<void> {
    const done = this.#work.then(work);
    this.#work = done.catch((thrown: unknown) => {
      const log = this.#options.log;
      if (thrown instanceof SkylarkError)
        log.warn('a share could not be changed', { why: describeError(thrown) });
      else log.error('a share could not be changed', { code: errorCode(thrown), error: asError(thrown) });
    });
    return done;
  }
}
