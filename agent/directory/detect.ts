/**
 * What the owner does in the folder becomes changes of records, soon after he did it and whatever happens in between:
 * the kernel tells which paths changed, scans find what it did not tell, quiet paths are examined, and the differences
 * from the index are noted as new versions of records, in one transaction with the index.
 */

import type { Clock, Timer } from '../base/clock.ts';
import { asError, errorCode } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { type FileFacts, isOwnName, nameOf, type ShareRoot, STATE_FOLDER } from '../platform/files.ts';
import type { DebounceTimes } from './debounce.ts';
import { Examination } from './examination.ts';
import type { Finding } from './examine.ts';
import type { Hashing } from './hashing.ts';
import { PathHolds } from './holds.ts';
import type { IndexRow, LocalIndex } from './local-index.ts';
import { type Problem, ProblemList, type ProblemListener } from './problems.ts';
import type { Recorded, Recorder, RecordStore } from './record-changes.ts';
import { openRootGuard, type RootGuard } from './root-guard.ts';
import { type ScanResult, scanTree } from './scan.ts';
import { openSweeper, type Sweeper } from './sweep.ts';
import { openTreeWatch, type TreeWatch } from './watch.ts';

export interface DetectorOptions {
  readonly root: ShareRoot;
  readonly index: LocalIndex;
  readonly records: RecordStore;
  readonly hashing: Hashing;
  readonly clock: Clock;
  readonly log: Logger;
  /** Ends everything, as `close` does. */
  readonly signal?: AbortSignal;
  /** We are joining a club with this folder: what is in it is nobody's change, until `endJoining`. */
  readonly isJoining?: boolean;
  /** Where we may not change records: the file of this row was changed (undefined: deleted), and should be put right. */
  readonly onDeviation: (row: IndexRow, now: FileFacts | undefined) => void;
  readonly times?: DebounceTimes;
  /** Most directories to watch, see `openTreeWatch`. */
  readonly watchLimit?: number;
}

export interface DetectorProgress {
  readonly isScanning: boolean;
  /** Entries that the running scan has seen. */
  readonly scanned: number;
  /** What is still to be read. */
  readonly toExamine: { readonly files: number; readonly bytes: bigint };
}

export interface Detector {
  /** The first full scan is done: everything that is in the folder is known, though not all of it has been read. */
  readonly ready: Promise<void>;
  /** Looks at the tree below a path of the share (default: everything), and resolves when all that follows is done. */
  rescan(path?: string): Promise<void>;
  /** Resolves when nothing is left to do, or nothing can be done (paused, root gone). */
  settled(): Promise<void>;
  /** The path of the share should be looked at now. */
  nudge(path: string): void;
  /**
   * We change these paths of the share ourselves (and, if they are directories, what is below). Until the returned
   * function is called, nothing of them is noted; by then the index says what is on the disk.
   */
  hold(paths: readonly string[]): () => void;
  /** What is new from now on is a change. */
  endJoining(): void;
  /** Nothing is examined or noted until `resume`. */
  pause(): void;
  resume(): void;
  /** The owner's word: the folder is the right one, and what is gone was meant to go. @throws `share.*`, `files.*`. */
  accept(): Promise<void>;
  /** The folder is not as it should be: nothing may be written to it either. */
  readonly isHeld: boolean;
  progress(): DetectorProgress;
  problems(): readonly Problem[];
  onProblem(listener: ProblemListener): () => void;
  close(): Promise<void>;
}

/** Milliseconds between two full scans when every directory is watched, and when not. */
const PERIOD_WATCHED = 3_600_000;
const PERIOD_UNWATCHED = 300_000;
/** "Scanning overhead will be less than 10% of system load" (directory.md). */
const PERIOD_FACTOR = 10;
/** More changed paths than this are not remembered one by one. */
const MAX_WAITING = 20_000;
/** Milliseconds between a loss of events and the scan that makes up for it; at least twice as long as a scan takes. */
const LOSS_WAIT = 1_000;
const LOSS_FACTOR = 2;
const CAPTURED = 'captured';
const STATE_PATH = `/${STATE_FOLDER}`;

export function openDetector(options: DetectorOptions): Detector {
  const detector = new FolderDetector(options);
  detector.start();
  return detector;
}

class FolderDetector implements Detector {
  readonly ready: Promise<void>;
  readonly #options: DetectorOptions;
  readonly #controller = new AbortController();
  readonly #problems = new ProblemList();
  readonly #holds: PathHolds;
  readonly #guard: RootGuard;
  readonly #watch: TreeWatch;
  readonly #sweeper: Sweeper;
  readonly #examination: Examination;
  /** Scans to come: path of the share, and whether only what is directly in it. */
  readonly #scans = new Map<string, 'shallow' | 'deep'>();
  /** Directories in which something changed that has no name. */
  readonly #uncertain = new Set<string>();
  #settleWaiters: (() => void)[] = [];
  #scanning: Promise<void> | undefined;
  #scanned = 0;
  #periodic: Timer | undefined;
  /** Until the scan after a loss of events. */
  #loss: Timer | undefined;
  #lastScanMs = 0;
  #isPaused = false;
  #isJoining: boolean;
  #hasScanned = false;
  #markReady: () => void = () => undefined;

  constructor(options: DetectorOptions) {
    this.#options = options;
    this.#isJoining = options.isJoining ?? false;
    this.ready = new Promise((resolve) => {
      this.#markReady = resolve;
    });
    const { root, index, clock, log, records, onDeviation, times, watchLimit } = options;
    const problems = this.#problems;
    const { signal } = this.#controller;
    const recorder: Recorder = { index, records, onDeviation };
    const shared = { root, index, clock, log, problems, signal };
    this.#holds = new PathHolds((path) => this.#examination.hurry(path));
    this.#guard = openRootGuard({ ...shared, onReturn: () => this.#onReturn() });
    this.#watch = openTreeWatch({
      root,
      log,
      ...(watchLimit === undefined ? {} : { limit: watchLimit }),
      onChange: (localPath) => this.#onChange(localPath),
      onUncertain: (localPath) => this.#onUncertain(localPath),
      onLost: () => this.#onLost(),
    });
    this.#sweeper = openSweeper({
      ...shared,
      recorder,
      mayRun: async () => !this.#isPaused && this.#scanning === undefined && (await this.#guard.check()),
      isHeld: (path) => this.#holds.keepBack(path),
      onPresent: (path) => this.#examination.hurry(path),
      onIdle: () => this.#checkSettled(),
    });
    this.#examination = new Examination({
      examiner: () => ({
        root,
        index,
        signal,
        hashing: options.hashing,
        now: () => clock.now(),
        writable: records.writable,
      }),
      recorder,
      holds: this.#holds,
      problems,
      clock,
      log,
      ...(times === undefined ? {} : { times }),
      mayRun: () => !this.#isPaused && !this.#guard.isHeld && !this.#isCapturing && !signal.aborted,
      mayFeed: () => this.#scanning === undefined,
      onNoted: (finding, result) => this.#onNoted(finding, result),
      onRootTrouble: () => void this.#guard.check(),
      onIdle: () => this.#checkSettled(),
    });
  }

  start(): void {
    const { signal } = this.#options;
    if (signal?.aborted) void this.close();
    signal?.addEventListener('abort', () => void this.close(), { once: true });
    this.#requestScan('/', 'deep');
  }

  get isHeld(): boolean {
    return this.#guard.isHeld;
  }

  async rescan(path = '/'): Promise<void> {
    this.#requestScan(path, 'deep');
    await this.settled();
  }

  settled(): Promise<void> {
    return new Promise((resolve) => {
      this.#settleWaiters.push(resolve);
      this.#checkSettled();
    });
  }

  nudge(path: string): void {
    this.#examination.hurry(path);
  }

  hold(paths: readonly string[]): () => void {
    return this.#holds.hold(paths);
  }

  endJoining(): void {
    this.#isJoining = false;
  }

  pause(): void {
    this.#isPaused = true;
    this.#checkSettled();
  }

  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#runScans();
    this.#examination.pump();
    this.#sweeper.noticed();
  }

  async accept(): Promise<void> {
    await this.#guard.accept();
    this.#sweeper.allow();
  }

  progress(): DetectorProgress {
    return {
      isScanning: this.#scanning !== undefined,
      scanned: this.#scanned,
      toExamine: this.#options.index.countMarked('examine'),
    };
  }

  problems(): readonly Problem[] {
    return this.#problems.current;
  }

  onProblem(listener: ProblemListener): () => void {
    return this.#problems.listen(listener);
  }

  async close(): Promise<void> {
    this.#controller.abort();
    this.#periodic?.cancel();
    this.#loss?.cancel();
    this.#guard.close();
    this.#sweeper.close();
    this.#watch.close();
    this.#examination.close();
    this.#markReady();
    await this.#scanning;
    await this.#examination.ended();
    this.#checkSettled();
  }

  /** While the folder is listed for the first time on joining, what is in it can't be told from what is new. */
  get #isCapturing(): boolean {
    return this.#isJoining && this.#options.index.setting(CAPTURED) === undefined;
  }

  #onChange(localPath: string): void {
    if (isOwnName(nameOf(localPath))) {
      // Its marker may have gone with it.
      if (localPath === STATE_PATH) void this.#guard.check();
      return;
    }
    if (this.#examination.waiting >= MAX_WAITING) this.#onLost();
    else this.#examination.touch(this.#sharePath(localPath));
  }

  #onUncertain(localPath: string): void {
    const path = this.#sharePath(localPath);
    this.#uncertain.add(path);
    this.#examination.touch(path);
  }

  /** A scan, but not one after the other for as long as a storm of changes lasts. */
  #onLost(): void {
    this.#examination.forget();
    this.#loss ??= this.#options.clock.after(Math.max(LOSS_WAIT, LOSS_FACTOR * this.#lastScanMs), () => {
      this.#loss = undefined;
      this.#requestScan('/', 'deep');
    });
  }

  #onReturn(): void {
    this.#watch.remove('/');
    this.#requestScan('/', 'deep');
  }

  #sharePath(localPath: string): string {
    if (localPath === '/') return '/';
    let path = '/';
    for (const name of localPath.slice(1).split('/')) path = this.#options.index.sharePath(path, name);
    return path;
  }

  #onNoted(finding: Finding, result: Recorded): void {
    const { index, log } = this.#options;
    const localPath = index.localPath(finding.path);
    if (finding.kind === 'obstacle') {
      if (this.#problems.addObstacle(finding.obstacle))
        log.warn('a file is left out', { path: finding.obstacle.path, why: finding.obstacle.message });
      return;
    }
    this.#problems.removeObstacle(localPath);
    if (result === 'gone') this.#sweeper.noticed();
    if (result === 'stale') return;
    if (finding.kind === 'gone' || finding.kind === 'nothing') this.#watch.remove(localPath);
    if (finding.kind === 'directory') {
      const isOther = finding.row?.kind !== 'directory' || finding.row.ino !== finding.facts.ino;
      if (isOther) this.#watch.remove(localPath);
      if (isOther || !this.#watch.has(localPath)) this.#requestScan(finding.path, 'deep');
    }
    // A directory that was placed from elsewhere is as the index says, but nobody has watched it yet.
    if (finding.kind === 'same' && finding.row.kind === 'directory' && !this.#watch.has(localPath))
      this.#requestScan(finding.path, 'deep');
    if (this.#uncertain.delete(finding.path)) this.#requestScan(finding.path, 'shallow');
  }

  #requestScan(path: string, depth: 'shallow' | 'deep'): void {
    if (this.#controller.signal.aborted) return;
    if (this.#scans.get(path) !== 'deep') this.#scans.set(path, depth);
    this.#runScans();
  }

  #runScans(): void {
    if (this.#scanning !== undefined || this.#isPaused || this.#scans.size === 0) return;
    this.#scanning = this.#scanAll().finally(() => {
      this.#scanning = undefined;
      this.#scanned = 0;
      if (this.#controller.signal.aborted) return;
      // Before the examination, which may find nothing to do and say that all is done.
      if (this.#options.index.marked('gone', -1, 1).length > 0) this.#sweeper.noticed();
      this.#examination.feed();
      this.#checkSettled();
    });
  }

  async #scanAll(): Promise<void> {
    const { log } = this.#options;
    try {
      if (!(await this.#guard.check())) {
        // Its return asks for a full scan.
        this.#scans.clear();
        return;
      }
      while (this.#scans.size > 0 && !this.#isPaused) {
        const [path, depth] = this.#scans.has('/') ? ['/', this.#scans.get('/')!] : [...this.#scans][0]!;
        this.#scans.delete(path);
        if (path === '/' && depth === 'deep') await this.#scanEverything();
        else await this.#scan(path, depth === 'shallow');
      }
    } catch (thrown) {
      if (this.#controller.signal.aborted) return;
      this.#scans.clear();
      if (errorCode(thrown)?.startsWith('share.')) await this.#guard.check();
      else log.error('the folder could not be scanned', { error: asError(thrown) });
      this.#scheduleNext(0);
    }
  }

  async #scanEverything(): Promise<void> {
    const { clock, index, log } = this.#options;
    this.#scans.clear();
    this.#problems.forgetObstacles();
    const start = clock.monotonic();
    const { entries, differing, gone } = await this.#scan('/', false);
    const ms = clock.monotonic() - start;
    log.debug('the folder was scanned', { entries, differing, gone, ms: Math.round(ms) });
    if (this.#isCapturing) index.setSetting(CAPTURED, 'yes');
    this.#hasScanned = true;
    this.#lastScanMs = ms;
    this.#markReady();
    this.#scheduleNext(ms);
  }

  #scan(path: string, isShallow: boolean): Promise<ScanResult> {
    const { root, index, log } = this.#options;
    return scanTree(path, {
      root,
      index,
      isShallow,
      signal: this.#controller.signal,
      isJoining: this.#isCapturing,
      onDirectory: (localPath) => this.#watch.add(localPath),
      onObstacle: (obstacle) => {
        if (this.#problems.addObstacle(obstacle))
          log.warn('a file is left out', { path: obstacle.path, why: obstacle.message });
      },
      onProgress: (entries) => {
        this.#scanned = entries;
      },
    });
  }

  #scheduleNext(lastMs: number): void {
    const period = this.#watch.isComplete && this.#hasScanned ? PERIOD_WATCHED : PERIOD_UNWATCHED;
    this.#periodic?.cancel();
    this.#periodic = this.#options.clock.after(Math.max(period, PERIOD_FACTOR * lastMs), () =>
      this.#requestScan('/', 'deep'),
    );
  }

  #checkSettled(): void {
    if (this.#settleWaiters.length === 0 || !this.#isSettled()) return;
    const waiters = this.#settleWaiters;
    this.#settleWaiters = [];
    for (const resolve of waiters) resolve();
  }

  #isSettled(): boolean {
    if (this.#controller.signal.aborted) return true;
    if (this.#scanning !== undefined) return false;
    if (this.#isPaused || this.#guard.isHeld) return true;
    return (
      this.#scans.size === 0 &&
      this.#loss === undefined &&
      this.#examination.isIdle &&
      !this.#sweeper.isBusy &&
      !this.#holds.isKeepingBack
    );
  }
}
