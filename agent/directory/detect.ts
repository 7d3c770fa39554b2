/**
 * What the owner does in the folder becomes changes of records, soon after he did it and whatever happens in between:
 * the kernel tells which paths changed, scans find what it did not tell, quiet paths are examined, and the differences
 * from the index are noted as new versions of records, in one transaction with the index.
 */

import { isOwnName, nameOf, STATE_FOLDER } from '../platform/files.ts';
import type { DetectorOptions } from './detector-options.ts';
import { Examination } from './examination.ts';
import type { Finding } from './examine.ts';
import { PathHolds } from './holds.ts';
import { type Problem, ProblemList, type ProblemListener, UNWATCHED, unwatched } from './problems.ts';
import type { Recorded, Recorder } from './record-changes.ts';
import { RefusedWrites } from './refused-writes.ts';
import { openRootGuard, type RootGuard } from './root-guard.ts';
import { type ScanResult, scanTree } from './scan.ts';
import { type ScanDepth, ScanSchedule } from './scan-schedule.ts';
import { Selection } from './selection.ts';
import { openSweeper, type Sweeper } from './sweep.ts';
import { Unlisted } from './unlisted.ts';
import { openTreeWatch, type TreeWatch } from './watch.ts';

export type { DetectorOptions } from './detector-options.ts';

export interface DetectorProgress {
  readonly isScanning: boolean;
  /** Entries that the running scan has seen. */
  readonly scanned: number;
  /** What is still to be read. */
  readonly toExamine: { readonly files: number; readonly bytes: bigint };
  /** Something has disappeared that is not noted as deleted: it may turn up under another name, or is held. */
  readonly isMissing: boolean;
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
  /** What was in the folder when it joined has been listed; always true without joining. */
  readonly isCaptured: boolean;
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

/** More changed paths than this are not remembered one by one. */
const MAX_WAITING = 20_000;
const CAPTURED = 'captured';
const READ_ONLY = 'read_only';
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
  readonly #selection: Selection;
  readonly #problems = new ProblemList();
  readonly #holds: PathHolds;
  readonly #guard: RootGuard;
  readonly #watch: TreeWatch;
  readonly #sweeper: Sweeper;
  readonly #examination: Examination;
  readonly #scans: ScanSchedule;
  readonly #writes: RefusedWrites;
  readonly #unlisted: Unlisted;
  /** Directories in which something changed that has no name. */
  readonly #uncertain = new Set<string>();
  #settleWaiters: (() => void)[] = [];
  #scanned = 0;
  #isPaused = false;
  #isJoining: boolean;
  #markReady: () => void = () => undefined;

  constructor(options: DetectorOptions) {
    this.#options = options;
    this.#selection = options.selection ?? new Selection();
    this.#isJoining = options.isJoining ?? false;
    this.ready = new Promise((resolve) => {
      this.#markReady = resolve;
    });
    const { root, index, clock, log, records, onDeviation, times, watchLimit } = options;
    const problems = this.#problems;
    const { signal } = this.#controller;
    const recorder: Recorder = { index, records, onDeviation };
    this.#writes = new RefusedWrites({ problems, clock, log, onFree: () => this.#examination.pump() });
    const selection = this.#selection;
    const shared = { root, index, selection, clock, log, problems, signal, writes: this.#writes };
    this.#holds = new PathHolds((path) => this.#examination.hurry(path));
    const { recovery } = options;
    this.#guard = openRootGuard({ ...shared, recovery, onReturn: () => this.#onReturn() });
    this.#watch = openTreeWatch({
      root,
      log,
      ...(watchLimit === undefined ? {} : { limit: watchLimit }),
      onChange: (localPath) => this.#onChange(localPath),
      onUncertain: (localPath) => this.#onUncertain(localPath),
      onLost: () => this.#onLost(),
    });
    this.#scans = new ScanSchedule({
      ...shared,
      scan: (path, depth) => this.#scan(path, depth),
      isPaused: () => this.#isPaused,
      checkRoot: () => this.#checkRoot(),
      isWatched: () => this.#watch.isComplete,
      onFullScan: (when) => this.#onFullScan(when),
      onEnd: () => this.#onScanEnd(),
      period: options.rescanPeriod,
    });
    this.#unlisted = new Unlisted({
      clock,
      scan: (path) => this.#scans.request(path, 'deep'),
      onListed: (localPath) => void this.#problems.removeObstacle(localPath),
    });
    this.#sweeper = openSweeper({
      ...shared,
      recorder,
      mayRun: async () => !this.#isPaused && !this.#scans.isRunning && (await this.#guard.check()),
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
        selection,
      }),
      ...shared,
      recorder,
      holds: this.#holds,
      ...(times === undefined ? {} : { times }),
      mayRun: () => !this.#isPaused && !this.#guard.isHeld && !this.#isCapturing && !signal.aborted,
      mayFeed: () => !this.#scans.isRunning,
      onNoted: (finding, result) => this.#onNoted(finding, result),
      onRootTrouble: () => void this.#guard.check(),
      onIdle: () => this.#checkSettled(),
    });
  }

  start(): void {
    const { signal } = this.#options;
    if (signal?.aborted) void this.close();
    signal?.addEventListener('abort', () => void this.close(), { once: true });
    const { index, records } = this.#options;
    // What only lay beside the share belongs to it once we may write.
    if (records.writable && index.setting(READ_ONLY) !== undefined) index.markUnrecorded();
    index.setSetting(READ_ONLY, records.writable ? undefined : 'yes');
    this.#scans.request('/', 'deep');
  }

  get isHeld(): boolean {
    return this.#guard.isHeld;
  }

  async rescan(path = '/'): Promise<void> {
    this.#scans.request(path, 'deep');
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
    this.#scans.run();
    this.#examination.pump();
    this.#sweeper.noticed();
  }

  async accept(): Promise<void> {
    await this.#guard.accept();
    this.#sweeper.allow();
  }

  progress(): DetectorProgress {
    return {
      isScanning: this.#scans.isRunning,
      scanned: this.#scanned,
      toExamine: this.#options.index.unread(),
      isMissing: this.#options.index.hasMarked('gone'),
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
    this.#guard.close();
    this.#sweeper.close();
    this.#writes.close();
    this.#unlisted.close();
    this.#watch.close();
    this.#examination.close();
    this.#markReady();
    await this.#scans.close();
    await this.#examination.ended();
    this.#checkSettled();
  }

  get isCaptured(): boolean {
    return !this.#isCapturing;
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

  #onLost(): void {
    this.#examination.forget();
    this.#scans.lost();
  }

  #onReturn(): void {
    this.#watch.remove('/');
    this.#scans.request('/', 'deep');
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
    const isUnlisted = this.#unlisted.has(finding.path);
    if (!isUnlisted) this.#problems.removeObstacle(localPath);
    this.#options.onNoted?.(finding.path);
    if (result === 'gone' || this.#sweeper.isHolding) this.#sweeper.noticed();
    if (result === 'stale') return;
    if (finding.kind === 'gone' || finding.kind === 'nothing') this.#watch.remove(localPath);
    if (finding.kind === 'directory') {
      const isOther = finding.row?.kind !== 'directory' || finding.row.ino !== finding.facts.ino;
      if (isOther) this.#watch.remove(localPath);
      if (isOther) this.#scans.request(finding.path, 'deep');
    }
    // It was away for a moment, or placed from elsewhere, and what happens in it is not told.
    const isDirectory =
      finding.kind === 'directory' || (finding.kind === 'same' && finding.row.kind === 'directory');
    if (isDirectory && (isUnlisted || !this.#watch.has(localPath))) this.#scans.request(finding.path, 'deep');
    // What disappeared may have waited to see whether this is it.
    if (finding.kind === 'file' && finding.row !== undefined && finding.row.uuid === undefined)
      this.#sweepIfGone();
    if (this.#uncertain.delete(finding.path)) this.#scans.request(finding.path, 'shallow');
  }

  #sweepIfGone(isReviewed = false): void {
    if (this.#sweeper.isHolding || this.#options.index.hasMarked('gone')) this.#sweeper.noticed(isReviewed);
  }

  #scan(path: string, depth: ScanDepth): Promise<ScanResult> {
    const { root, index, log } = this.#options;
    return scanTree(path, {
      root,
      index,
      selection: this.#selection,
      isShallow: depth === 'shallow',
      signal: this.#controller.signal,
      isJoining: this.#isCapturing,
      onDirectory: (localPath) => this.#watch.add(localPath),
      onObstacle: (obstacle) => {
        if (this.#problems.addObstacle(obstacle))
          log.warn('a file is left out', { path: obstacle.path, why: obstacle.message });
      },
      onListed: (directory, failure) => this.#unlisted.listed(directory.path, directory.localPath, failure),
      onProgress: (entries) => {
        this.#scanned = entries;
      },
    });
  }

  async #checkRoot(): Promise<boolean> {
    if (!(await this.#guard.check())) return false;
    await this.#options.root.learnSpelling();
    return true;
  }

  #onFullScan(when: 'before' | 'after'): void {
    if (when === 'before') {
      this.#problems.forgetObstacles();
      return;
    }
    if (this.#isCapturing) this.#options.index.setSetting(CAPTURED, 'yes');
    this.#markReady();
  }

  #onScanEnd(): void {
    this.#scanned = 0;
    this.#tellWatch();
    // Before the examination, which may find nothing to do and say that all is done.
    this.#sweepIfGone(true);
    this.#examination.feed();
    this.#checkSettled();
  }

  /** What the system refuses to watch is found by scans, a few minutes later. */
  #tellWatch(): void {
    const count = this.#watch.refused;
    if (count === 0) this.#problems.clear(UNWATCHED);
    else this.#problems.set(unwatched(count));
  }

  #checkSettled(): void {
    if (this.#settleWaiters.length === 0 || !this.#isSettled()) return;
    const waiters = this.#settleWaiters;
    this.#settleWaiters = [];
    for (const resolve of waiters) resolve();
  }

  #isSettled(): boolean {
    if (this.#controller.signal.aborted) return true;
    if (this.#scans.isRunning) return false;
    if (this.#isPaused || this.#guard.isHeld) return true;
    return (
      this.#scans.isIdle && this.#examination.isIdle && !this.#sweeper.isBusy && !this.#holds.isKeepingBack
    );
  }
}
