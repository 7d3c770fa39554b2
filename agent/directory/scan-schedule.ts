/**
 * When what is scanned: everything at the start, now and then, and when events were lost; single directories when
 * something points to them. One scan at a time.
 */

import type { Clock, Timer } from '../base/clock.ts';
import { asError, errorCode } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { RefusedWrites } from './refused-writes.ts';
import type { ScanResult } from './scan.ts';

export type ScanDepth = 'shallow' | 'deep';

export interface ScanScheduleOptions {
  readonly clock: Clock;
  readonly log: Logger;
  readonly signal: AbortSignal;
  readonly writes: RefusedWrites;
  readonly scan: (path: string, depth: ScanDepth) => Promise<ScanResult>;
  /** False: nothing may be scanned now; whoever decides that calls `run` or `request` later. */
  readonly isPaused: () => boolean;
  /** Looks whether the folder is the right one; if not, nothing is scanned until somebody requests it. */
  readonly checkRoot: () => Promise<boolean>;
  /** Whether everything is watched, so that scans are only a second line. */
  readonly isWatched: () => boolean;
  readonly onFullScan: (when: 'before' | 'after') => void;
  /** No scan is running any more. */
  readonly onEnd: () => void;
  /** Milliseconds between two full scans while every directory is watched. Default: an hour. */
  readonly period?: number | undefined;
}

/** Milliseconds between two full scans when every directory is watched, and when not. */
const PERIOD_WATCHED = 3_600_000;
const PERIOD_UNWATCHED = 300_000;
/** "Scanning overhead will be less than 10% of system load" (directory.md). */
const PERIOD_FACTOR = 10;
/** Milliseconds between a loss of events and the scan that makes up for it; at least twice as long as a scan takes. */
const LOSS_WAIT = 1_000;
const LOSS_FACTOR = 2;

export class ScanSchedule {
  readonly #options: ScanScheduleOptions;
  /** Paths of the share. */
  readonly #requested = new Map<string, ScanDepth>();
  #running: Promise<void> | undefined;
  #periodic: Timer | undefined;
  #loss: Timer | undefined;
  #lastMs = 0;

  constructor(options: ScanScheduleOptions) {
    this.#options = options;
  }

  get isRunning(): boolean {
    return this.#running !== undefined;
  }

  /** Nothing runs, and nothing is requested but by the clock. */
  get isIdle(): boolean {
    return this.#running === undefined && this.#requested.size === 0 && this.#loss === undefined;
  }

  request(path: string, depth: ScanDepth): void {
    if (this.#options.signal.aborted) return;
    if (this.#requested.get(path) !== 'deep') this.#requested.set(path, depth);
    this.run();
  }

  /** Changes may have gone unseen. Not one scan after the other for as long as a storm of changes lasts. */
  lost(): void {
    if (this.#options.signal.aborted) return;
    this.#loss ??= this.#options.clock.after(Math.max(LOSS_WAIT, LOSS_FACTOR * this.#lastMs), () => {
      this.#loss = undefined;
      this.request('/', 'deep');
    });
  }

  /** Starts what is requested, unless something runs. */
  run(): void {
    const { isPaused, signal, onEnd } = this.#options;
    if (this.#running !== undefined || isPaused() || this.#requested.size === 0) return;
    this.#running = this.#runAll().finally(() => {
      this.#running = undefined;
      if (!signal.aborted) onEnd();
    });
  }

  /** Resolves when nothing runs any more. The signal must have been aborted before. */
  async close(): Promise<void> {
    this.#periodic?.cancel();
    this.#loss?.cancel();
    await this.#running;
  }

  async #runAll(): Promise<void> {
    const { isPaused, checkRoot, signal, log, scan, writes } = this.#options;
    try {
      if (!(await checkRoot())) {
        this.#requested.clear();
        return;
      }
      while (this.#requested.size > 0 && !isPaused()) {
        const [path, depth] = this.#next();
        if (path === '/' && depth === 'deep') await this.#scanEverything();
        else await scan(path, depth);
      }
    } catch (thrown) {
      if (signal.aborted) return;
      this.#requested.clear();
      if (errorCode(thrown)?.startsWith('share.')) await checkRoot();
      else if (writes.refused(thrown, 'scan', () => this.request('/', 'deep'))) return;
      else log.error('the folder could not be scanned', { error: asError(thrown) });
      this.#scheduleNext();
    }
  }

  /** A full scan makes all others needless. */
  #next(): [string, ScanDepth] {
    if (this.#requested.get('/') === 'deep') {
      this.#requested.clear();
      return ['/', 'deep'];
    }
    const [[path, depth] = ['/', 'shallow' as ScanDepth]] = this.#requested;
    this.#requested.delete(path);
    return [path, depth];
  }

  async #scanEverything(): Promise<void> {
    const { clock, log, onFullScan, scan, writes } = this.#options;
    onFullScan('before');
    const start = clock.monotonic();
    const { entries, differing, gone } = await scan('/', 'deep');
    this.#lastMs = clock.monotonic() - start;
    if (differing + gone > 0) writes.worked();
    log.debug('the folder was scanned', { entries, differing, gone, ms: Math.round(this.#lastMs) });
    onFullScan('after');
    this.#scheduleNext();
  }

  #scheduleNext(): void {
    const { clock, isWatched, period: watched = PERIOD_WATCHED } = this.#options;
    const period = isWatched() ? watched : Math.min(watched, PERIOD_UNWATCHED);
    this.#periodic?.cancel();
    this.#periodic = clock.after(Math.max(period, PERIOD_FACTOR * this.#lastMs), () =>
      this.request('/', 'deep'),
    );
  }
}
