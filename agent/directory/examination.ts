/**
 * The work on changed paths: takes them when they are quiet, or when a scan has marked them, examines several at a time,
 * and notes what was found in as few transactions as the wish for speed allows, since each of them is a write to the
 * disk.
 */

import type { Clock, Timer } from '../base/clock.ts';
import { asError, errorCode } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { nameOf, parentOf } from '../platform/files.ts';
import { BackoffTimer } from './backoff-timer.ts';
import { type Debouncer, type DebounceTimes, openDebouncer } from './debounce.ts';
import { type Examiner, examine, type Finding } from './examine.ts';
import type { PathHolds } from './holds.ts';
import { type Recorded, type Recorder, record } from './record-changes.ts';
import type { RefusedWrites } from './refused-writes.ts';

export interface ExaminationOptions {
  readonly examiner: () => Examiner;
  readonly recorder: Recorder;
  readonly holds: PathHolds;
  readonly clock: Clock;
  readonly log: Logger;
  readonly writes: RefusedWrites;
  readonly times?: DebounceTimes;
  /** False while nothing may be looked at. */
  readonly mayRun: () => boolean;
  /** False while a scan still marks: the list comes first, the reading later. */
  readonly mayFeed: () => boolean;
  /** Called for everything that was noted, after the commit. */
  readonly onNoted: (finding: Finding, result: Recorded) => void;
  /** The share's root is not as it should be. */
  readonly onRootTrouble: () => void;
  /** Nothing is left to do. */
  readonly onIdle: () => void;
}

/** Examinations at the same time: enough for the hashing to fill batches while others are on their way. */
const AT_ONCE = 128;
/** Findings in a transaction. */
const COMMIT = 256;
/**
 * Milliseconds after which findings are noted although others are still being examined; and when there are so many others
 * that nobody waits for these: each transaction writes the same pages of the indices again, whatever it holds.
 */
const COMMIT_AFTER = 30;
const COMMIT_MANY_AFTER = 250;
/** Marked rows that are taken from the index at a time. */
const FEED = 128;

/** What the disk did not give may come a moment later, when its cable is back or there is room for what it holds back. */
const PASSING: ReadonlySet<string> = new Set(['files.io', 'files.no_space']);
const RETRIES = { first: 5_000, longest: 300_000 };
/** Paths that are tried again one by one; the next full scan tries all others. */
const MAX_RETRIED = 1_024;

export class Examination {
  readonly #options: ExaminationOptions;
  readonly #retry: BackoffTimer;
  readonly #unreadable = new Set<string>();
  readonly #debouncer: Debouncer;
  #findings: Finding[] = [];
  /** What was found there could not be noted: to be looked at again. */
  readonly #unnoted = new Set<string>();
  #active = 0;
  /** Where in the marked rows of the index we are; undefined: behind the last. */
  #cursor: number | undefined;
  #flushTimer: Timer | undefined;
  #isPumping = false;
  #onEnd: (() => void) | undefined;

  constructor(options: ExaminationOptions) {
    this.#options = options;
    this.#debouncer = openDebouncer(options.clock, () => this.pump(), options.times);
    this.#retry = new BackoffTimer(options.clock, RETRIES, () => {
      for (const path of this.#unreadable) this.hurry(path);
    });
  }

  /** Paths that wait, for whatever reason. */
  get waiting(): number {
    return this.#debouncer.size;
  }

  get isIdle(): boolean {
    return (
      this.#active === 0 &&
      this.#findings.length === 0 &&
      this.#debouncer.size === 0 &&
      this.#cursor === undefined
    );
  }

  touch(path: string): void {
    this.#debouncer.touch(path);
  }

  hurry(path: string): void {
    this.#debouncer.hurry(path);
  }

  /** Everything that is waiting will be found by a scan. */
  forget(): void {
    this.#debouncer.clear();
  }

  /** Goes through the marked rows from the beginning. */
  feed(): void {
    this.#cursor = -1;
    this.pump();
  }

  /** Starts whatever may be started. */
  pump(): void {
    if (this.#isPumping) return;
    this.#isPumping = true;
    try {
      while (this.#active < AT_ONCE && this.#options.mayRun() && !this.#options.writes.isStuck) {
        const paths = this.#debouncer.take(AT_ONCE - this.#active);
        for (const path of paths) void this.#work(path);
        if (paths.length === 0 && !this.#feedMore()) break;
      }
    } finally {
      this.#isPumping = false;
    }
    if (this.#active > 0) return;
    this.#flush();
    if (this.isIdle) this.#options.onIdle();
  }

  close(): void {
    this.#flushTimer?.cancel();
    this.#retry.cancel();
    this.#debouncer.close();
  }

  /** After `close`: resolves when nothing runs any more. */
  ended(): Promise<void> {
    return new Promise((resolve) => {
      this.#onEnd = resolve;
      if (this.#active === 0) resolve();
    });
  }

  #feedMore(): boolean {
    const { recorder, mayFeed } = this.#options;
    if (this.#cursor === undefined || !mayFeed()) return false;
    const page = recorder.index.marked('examine', this.#cursor, FEED);
    this.#cursor = page.length === 0 ? undefined : page.at(-1)!.id;
    for (const { row } of page) this.#debouncer.hurry(row.path);
    return page.length > 0;
  }

  async #work(path: string): Promise<void> {
    const { holds, examiner, log, onRootTrouble, recorder } = this.#options;
    // Since it was touched, the name may have turned out to be our local name for another path.
    const own = recorder.index.sharePath(parentOf(path), nameOf(path));
    if (own !== path) {
      this.#debouncer.done(path, true);
      this.#debouncer.hurry(own);
      return;
    }
    if (holds.keepBack(path)) {
      this.#debouncer.done(path, true);
      return;
    }
    this.#active += 1;
    try {
      const finding = await examine(path, this.#debouncer.isPatient(path), examiner());
      if (finding.kind === 'restless') this.#debouncer.done(path, false);
      else this.#findings.push(finding);
    } catch (thrown) {
      // It will be found again: by the scan after the root's return, or by the next one.
      this.#debouncer.done(path, true);
      if (examiner().signal.aborted) return;
      if (errorCode(thrown)?.startsWith('share.')) onRootTrouble();
      else log.error('a file could not be examined', { path, error: asError(thrown) });
    } finally {
      this.#active -= 1;
      if (this.#active === 0) this.#onEnd?.();
      this.#afterWork();
    }
  }

  #afterWork(): void {
    if (this.#findings.length >= COMMIT) this.#flush();
    else if (this.#findings.length > 0) {
      const isMany = this.#cursor !== undefined || this.#debouncer.size > 2 * COMMIT;
      const wait = isMany ? COMMIT_MANY_AFTER : COMMIT_AFTER;
      this.#flushTimer ??= this.#options.clock.after(wait, () => this.#flush());
    }
    this.pump();
  }

  #flush(): void {
    this.#flushTimer?.cancel();
    this.#flushTimer = undefined;
    const findings = this.#findings;
    if (findings.length === 0 || this.#options.examiner().signal.aborted) return;
    this.#findings = [];
    const results = this.#noteAll(findings);
    findings.forEach((finding, i) => {
      const result = results[i];
      this.#debouncer.done(finding.path, result !== 'stale');
      if (result !== undefined) this.#options.onNoted(finding, result);
      this.#retryIfUnreadable(finding);
    });
  }

  #noteAll(findings: readonly Finding[]): (Recorded | undefined)[] {
    const { writes } = this.#options;
    const together = this.#note(findings);
    if (together !== undefined) writes.worked();
    if (together !== undefined || writes.isStuck) return together ?? [];
    return findings.flatMap((finding) => this.#note([finding]) ?? [undefined]);
  }

  #lookAgain(): void {
    const paths = [...this.#unnoted];
    this.#unnoted.clear();
    for (const path of paths) this.#debouncer.hurry(path);
    this.feed();
  }

  #retryIfUnreadable(finding: Finding): void {
    if (finding.kind === 'obstacle' && PASSING.has(finding.obstacle.code)) {
      if (this.#unreadable.size < MAX_RETRIED) this.#unreadable.add(finding.path);
      this.#retry.start();
    } else if (this.#unreadable.delete(finding.path)) this.#retry.reset();
  }

  /** Undefined if it failed as a whole: then one of them is to blame, and the others should not suffer for it. */
  #note(findings: readonly Finding[]): Recorded[] | undefined {
    const { recorder, holds, log, writes } = this.#options;
    try {
      return recorder.records.transaction(() =>
        findings.map((finding) => {
          // What is placed at this moment is not what was looked at.
          if (holds.isHeld(finding.path)) return 'stale';
          return record(finding, recorder);
        }),
      );
    } catch (thrown) {
      if (writes.refused(thrown, 'findings', () => this.#lookAgain())) {
        for (const { path } of findings) this.#unnoted.add(path);
        return undefined;
      }
      if (findings.length === 1)
        log.error('a change could not be noted', { path: findings[0]!.path, error: asError(thrown) });
      return undefined;
    }
  }
}
