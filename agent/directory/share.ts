/**
 * A folder as a member of a club: what its owner does in it becomes records, what records say becomes files. Joins the
 * two sides, the detector's and ours, around one index, and is the protocol extension "directory" towards other peers.
 */

import type { Timer } from '../base/clock.ts';
import { asError, errorCode, internalError } from '../base/errors.ts';
import type { AttachedExtension, Extension, Session } from '../club/session.ts';
import type { Holding } from '../database/in-step.ts';
import type { FileFacts, ShareRoot } from '../platform/files.ts';
import type { ArchivedFile } from './archive.ts';
import type { Custody } from './custody.ts';
import { type Detector, openDetector } from './detect.ts';
import { detectorRecords } from './detector-records.ts';
import { beginJoining, isJoining, Joining } from './joining.ts';
import { type ListedFile, list } from './listing.ts';
import type { IndexRow } from './local-index.ts';
import { DIRECTORY, payloadLimits } from './messages.ts';
import type { Problem } from './problems.ts';
import { EVERYTHING, IGNORE_FILE, type Selection, type SelectionRules } from './selection.ts';
import { openRoot, type ShareOptions } from './share-options.ts';
import { makeParts, type ShareParts } from './share-parts.ts';
import { SharePeers } from './share-peers.ts';
import {
  type ShareEvent,
  type ShareState,
  type ShareStatus,
  shareHolding,
  shareStatus,
} from './share-status.ts';

export type { ShareOptions } from './share-options.ts';
export type { ShareEvent, ShareStatus } from './share-status.ts';

const PRUNE_MS = 3_600_000;

/**
 * @throws SkylarkError (environment) `files.*` if the folder can't be used at all. One that is missing is a problem that
 *   is told in the status, and over when it is back.
 */
export async function openShare(options: ShareOptions): Promise<Share> {
  const share = new Share(options, await openRoot(options.path, options.clock));
  await share.open();
  return share;
}

export class Share {
  /** For the club's sessions. */
  readonly extension: Extension = {
    name: DIRECTORY,
    payloadLimits,
    attach: (session) => this.#attach(session),
  };
  /** History, restoring, verifying, reading. */
  readonly custody: Custody;
  readonly #options: ShareOptions;
  readonly #root: ShareRoot;
  readonly #controller = new AbortController();
  readonly #parts: ShareParts;
  readonly #peers: SharePeers;
  readonly #listeners = new Set<(event: ShareEvent) => void>();
  #detector: Detector | undefined;
  #joining: Joining | undefined;
  /** What is in the folder is known well enough to put something into it. */
  #isReady = false;
  /** The folder was looked at since the opening: until then, what was changed meanwhile is not known. */
  #isListed = false;
  #isPaused = false;
  #closing: Promise<void> | undefined;
  #pruning: Timer | undefined;
  /** What is kept is being changed. */
  #isHalted = false;

  constructor(options: ShareOptions, root: ShareRoot) {
    this.#options = options;
    this.#root = root;
    this.#peers = new SharePeers(options.clock);
    this.#parts = makeParts({
      ...options,
      root,
      archive: options.archive,
      signal: this.#controller.signal,
      hold: (paths) => this.#detector?.hold(paths) ?? (() => undefined),
      nudge: (path) => this.#detector?.nudge(path),
      mayPlace: () => this.#mayPlace(),
      mayMend: () => this.#mayPlace() && !this.#isPaused,
      mayTidy: () => this.#joining === undefined,
      // What was found at joining may be just what is missing.
      mayFetch: () => this.#mayPlace() && (this.#joining === undefined || this.#joining.isRead),
      announce: (sha256) => this.#peers.announce(sha256),
      received: (bytes) => this.#peers.received(bytes),
      onPlaced: (path, sha256, size) => this.#onPlaced(path, sha256, size),
      onConflict: (path, uuid) => this.#tell({ kind: 'conflict', path, uuid }),
      onChanges: () => this.#wake(),
      halt: () => this.#halt(),
      proceed: () => this.#proceed(),
    });
    this.custody = this.#parts.custody;
    this.#parts.troubles.listen(() => this.#tellProblems());
    this.custody.damages.listen(() => this.#tellProblems());
  }

  async open(): Promise<void> {
    const { rules = EVERYTHING } = this.#options;
    const isFirst = this.#parts.index.byPath('/') === undefined;
    // Who only sends joins with what is in the folder: that is what is to be sent.
    if (isFirst && this.#options.isJoining && rules.direction !== 'send') beginJoining(this.#parts.index);
    const isOther = await this.#parts.selecting.begin(rules);
    try {
      await this.#parts.start.run();
    } catch (thrown) {
      // The detector begins with it when the folder is there.
      if (!errorCode(thrown)?.startsWith('share.')) throw thrown;
    }
    if (isOther) await this.#parts.selecting.apply();
    this.#startDetector();
    // A restart in the middle of the first listing of a folder that joins: what is in it is not yet known.
    if (!isFirst && this.#detector?.isCaptured !== false) this.#isReady = true;
    this.#wake();
    this.#prune();
  }

  status(): ShareStatus {
    return shareStatus(this.#parts, this.#state);
  }

  /** Whether the files of all records are here. */
  get holding(): Holding {
    return shareHolding(this.#parts, this.#state);
  }

  get #state(): ShareState {
    return {
      progress: this.#detector?.progress(),
      problems: this.problems(),
      isListed: this.#isListed,
      isPaused: this.#isPaused,
      isJoining: this.#joining !== undefined,
      ...this.#peers.rates,
    };
  }

  /** Bytes of contents since the opening. */
  traffic(): { readonly received: number; readonly sent: number } {
    return this.#peers.traffic;
  }

  problems(): readonly Problem[] {
    const { troubles, selecting } = this.#parts;
    return [...(this.#detector?.problems() ?? []), ...troubles.current, ...selecting.problems];
  }

  /** What is directly in a folder of the share, by its records. */
  ls(path: string): IterableIterator<ListedFile> {
    const isHere = (uuid: string) =>
      this.#parts.pending.get(uuid) === undefined && this.#parts.index.byUuid(uuid) !== undefined;
    return list(this.#options.database, isHere, path);
  }

  /** Earlier versions of the file at a path, newest first. */
  history(path: string): IterableIterator<ArchivedFile> {
    return this.#parts.archive.history(path);
  }

  /** Nothing changes in the folder, and nothing in it is noted, until `resume`. Peers are still served. */
  pause(): void {
    this.#isPaused = true;
    this.#detector?.pause();
    this.#parts.reconciler.pause();
    this.#parts.fetcher.pause();
  }

  resume(): void {
    this.#isPaused = false;
    if (this.#isHalted) return;
    this.#detector?.resume();
    this.#parts.reconciler.resume();
    this.#parts.fetcher.resume();
  }

  /**
   * Keeps another part of the share from now on. What is no longer kept stays on the disk, and counts as deleted nowhere.
   * Resolves when everything is known anew; the folder follows.
   * @throws SkylarkError (user) `ignore.*` for patterns that are too many or too long; nothing has changed then.
   */
  select(rules: SelectionRules): Promise<void> {
    return this.#parts.selecting.select(rules);
  }

  /** What is kept here. */
  get selection(): Pick<Selection, 'rules' | 'ignoreFile'> {
    return this.#parts.selection;
  }

  /** The owner's word that the folder is right as it is. @throws `share.*`, `files.*`. */
  async accept(): Promise<void> {
    await this.#detector?.accept();
    this.#wake();
  }

  /** Looks at everything below the path, and resolves when all that was found is noted. */
  async rescan(path = '/'): Promise<void> {
    await this.#detector?.rescan(path);
  }

  /**
   * Resolves when the folder has been listed for the first time since the opening: what is put into it from then on is
   * its owner's change, also while joining. Not before a missing folder is back.
   */
  async listed(): Promise<void> {
    await this.#detector?.ready;
  }

  /** Resolves when nothing is being looked at or placed; contents may still be missing. */
  async settled(): Promise<void> {
    await this.#detector?.settled();
    await this.#parts.reconciler.idle();
    await this.#parts.fetcher.idle();
  }

  /** @returns stops it. */
  on(listener: (event: ShareEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Sessions that are still attached are served no more. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#pruning?.cancel();
    this.#joining?.close();
    this.#parts.obstructions.close();
    this.#parts.room.close();
    this.#peers.detachAll();
    this.#controller.abort(internalError('share.closed', 'the share was closed'));
    await this.#parts.selecting.idle();
    await this.#detector?.close();
    await this.#parts.reconciler.close();
    await this.#parts.fetcher.close();
    await this.custody.mending.close();
    await Promise.all([this.#parts.changes.idle(), this.#parts.cache.idle()]);
    await this.#parts.archive.close();
    this.#parts.follower.close();
    this.#root.close();
  }

  #attach(session: Session): AttachedExtension {
    const peer = this.#peers.attach(session, this.#root, this.#parts);
    this.custody.mending.hope();
    this.#joining?.disturb();
    return peer;
  }

  #startDetector(): void {
    const { database, clock, log, debounce, rescanPeriod } = this.#options;
    const isJoiningNow = isJoining(this.#parts.index);
    const detector = openDetector({
      root: this.#root,
      index: this.#parts.index,
      selection: this.#parts.selection,
      records: detectorRecords({
        ...this.#parts,
        database,
        onContent: (sha256) => this.#parts.selection.isPartial && this.#peers.announce(sha256),
      }),
      onNoted: (path) => this.#onNoted(path),
      hashing: this.custody.hashing,
      clock,
      log,
      signal: this.#controller.signal,
      isJoining: isJoiningNow,
      recovery: this.#parts.start,
      // Said inside a transaction: what follows needs transactions of its own.
      onDeviation: (row, now) => {
        this.#tell({ kind: 'put_right', path: row.path });
        setImmediate(() => void this.#putRight(row, now));
      },
      ...(debounce === undefined ? {} : { times: debounce }),
      ...(rescanPeriod === undefined ? {} : { rescanPeriod }),
    });
    this.#detector = detector;
    void detector.ready.then(() => {
      if (this.#detector !== detector) return;
      this.#isReady = true;
      this.#isListed = true;
      this.#wake();
    });
    detector.onProblem(() => {
      this.#tellProblems();
      this.#wake();
    });
    if (isJoiningNow && this.#joining === undefined) this.#startJoining();
  }

  async #halt(): Promise<void> {
    const { reconciler, fetcher, changes } = this.#parts;
    this.#isHalted = true;
    reconciler.pause();
    fetcher.pause();
    await Promise.all([reconciler.idle(), fetcher.idle()]);
    const detector = this.#detector;
    this.#detector = undefined;
    this.#isReady = false;
    this.#isListed = false;
    await detector?.close();
    await changes.idle();
  }

  #proceed(): void {
    this.#isHalted = false;
    if (!this.#controller.signal.aborted) this.#startDetector();
    if (this.#isPaused) this.pause();
    else this.resume();
    this.#peers.renewPresence();
    // What was found in the folder meanwhile is part of what is here.
    void this.#detector?.settled().then(() => this.#peers.renewPresence());
  }

  /** Never rejects. What the disk refuses is found again by the next scan. */
  async #putRight(row: IndexRow, now: FileFacts | undefined): Promise<void> {
    try {
      await this.#parts.placer.putRight(row, now);
    } catch (thrown) {
      if (!this.#controller.signal.aborted) this.#parts.troubles.add(asError(thrown));
      return;
    }
    this.#wake();
  }

  #startJoining(): void {
    const { clock, log, database } = this.#options;
    this.#joining = new Joining({
      index: this.#parts.index,
      selection: this.#parts.selection,
      isPending: () => this.#parts.count.isPending,
      clock,
      log,
      isRead: () => this.#mayPlace() && this.#detector?.progress().toExamine.files === 0,
      onRead: () => this.#wake(),
      ...(this.#options.joiningQuiet === undefined ? {} : { quiet: this.#options.joiningQuiet }),
      isSupplied: () => this.#peers.count > 0 && database.get('/') !== undefined,
      toArchive: async (row) => {
        if (this.#parts.selecting.adopt(row)) this.#parts.reconciler.wake();
        else await this.#parts.placer.putRight(row, undefined);
      },
      onTrouble: (error) => this.#parts.troubles.add(error),
      onEnd: () => {
        this.#joining = undefined;
        this.#parts.troubles.clear();
        this.#detector?.endJoining();
        void this.#parts.selecting.reread();
      },
    });
  }

  /** The first time, everything that is in the folder must be known before anything is put into it. */
  #mayPlace(): boolean {
    return this.#isReady && this.#parts.start.isDone && this.#detector?.isHeld === false;
  }

  #wake(): void {
    this.#parts.count.forget();
    this.#joining?.disturb();
    this.#parts.reconciler.wake();
    this.#parts.fetcher.wake();
  }

  #onPlaced(path: string, sha256: string, size: bigint): void {
    this.#peers.announce(sha256);
    // The folder has it now.
    this.#parts.cache.obsolete(sha256);
    this.#onNoted(path);
    this.#tell({ kind: 'placed', path, sha256, size });
  }

  #onNoted(path: string): void {
    if (path === IGNORE_FILE) void this.#parts.selecting.reread();
  }

  #prune(): void {
    void this.#parts.archive.prune();
    this.#pruning = this.#options.clock.after(PRUNE_MS, () => this.#prune());
  }

  #tellProblems(): void {
    this.#tell({ kind: 'problems', problems: this.problems() });
  }

  #tell(event: ShareEvent): void {
    for (const listener of this.#listeners) listener(event);
  }
}
