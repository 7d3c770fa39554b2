/**
 * Deletions. What has disappeared waits a moment, since it may turn up under another name; then it is looked for once
 * more, and only then its record is deleted. If most of a share disappears at once, nothing is deleted until its owner
 * says so: it is far more likely that something went wrong.
 */

import type { Clock, Timer } from '../base/clock.ts';
import { asError, errorCode } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { ShareRoot } from '../platform/files.ts';
import type { IndexRow, LocalIndex } from './local-index.ts';
import type { ProblemList } from './problems.ts';
import { type Recorder, recordGone } from './record-changes.ts';
import type { RefusedWrites } from './refused-writes.ts';
import type { Selection } from './selection.ts';

export interface SweepOptions {
  readonly root: ShareRoot;
  readonly index: LocalIndex;
  readonly selection: Selection;
  readonly recorder: Recorder;
  readonly clock: Clock;
  readonly log: Logger;
  readonly problems: ProblemList;
  readonly signal: AbortSignal;
  readonly writes: RefusedWrites;
  /** False: not now (a scan may still find moved files; the folder is not there); somebody calls `noticed` later. */
  readonly mayRun: () => Promise<boolean>;
  readonly isHeld: (path: string) => boolean;
  /** It is there after all. */
  readonly onPresent: (path: string) => void;
  /** Told when everything that can be done is done. */
  readonly onIdle: () => void;
}

export interface Sweeper {
  /**
   * Something is marked as gone, or, while deletions are held, may be back.
   * @param isReviewed all of the share was looked at since: what little is still gone of much may go.
   */
  noticed(isReviewed?: boolean): void;
  /** Whether something waits for its time; not what is held for its owner's word. */
  readonly isBusy: boolean;
  /** Much is gone, and nothing is deleted until it is back, or the owner's word comes. */
  readonly isHolding: boolean;
  /** The owner says that what is gone was meant to go. */
  allow(): void;
  close(): void;
}

/** Milliseconds without another disappearance, after which what is gone is deleted. */
const QUIET = 400;
/** Longest wait for that. */
const PATIENCE = 5_000;
/** Rows in a transaction. */
const PAGE = 128;
/** A mass deletion: at least so many files, and more than half of all. */
const MASS_FILES = 20;
/** Milliseconds for which earlier deletions count as part of the same one. */
const MASS_WINDOW = 60_000;
const MASS = 'share.mass_deletion';
/** Deletions that were held are let go when no more than this part of them is left. */
const LET_GO = 0.1;
/** Setting: how many files were missed when deletions were held. */
const HELD = 'held_deletions';

export function openSweeper(options: SweepOptions): Sweeper {
  return new DeletionSweeper(options);
}

class DeletionSweeper implements Sweeper {
  readonly #options: SweepOptions;
  #timer: Timer | undefined;
  #first = 0;
  #isRunning = false;
  #isAllowed = false;
  #isReviewed = false;
  /** Files that were missed at the most since deletions are held, also over a restart; 0: they are not held. */
  #held: number;
  #isAgain = false;
  /** Deletions of the last minute. */
  #recent: { readonly at: number; readonly files: number }[] = [];

  constructor(options: SweepOptions) {
    this.#options = options;
    this.#held = Number(options.index.setting(HELD) ?? 0);
  }

  get isBusy(): boolean {
    return this.#timer !== undefined || this.#isRunning;
  }

  get isHolding(): boolean {
    return this.#held > 0;
  }

  noticed(isReviewed = false): void {
    this.#isReviewed ||= isReviewed;
    if (this.#options.signal.aborted) return;
    if (this.#isRunning) {
      this.#isAgain = true;
      return;
    }
    const { clock } = this.#options;
    const now = clock.monotonic();
    if (this.#timer === undefined) this.#first = now;
    this.#timer?.cancel();
    const wait = Math.max(0, Math.min(QUIET, this.#first + PATIENCE - now));
    this.#timer = clock.after(wait, () => {
      this.#timer = undefined;
      void this.#run();
    });
  }

  allow(): void {
    this.#isAllowed = true;
    this.noticed();
  }

  close(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  async #run(): Promise<void> {
    const { signal, log, mayRun, onIdle, writes } = this.#options;
    this.#isRunning = true;
    try {
      if (!signal.aborted && (await mayRun()) && !this.#isMass()) await this.#deleteAll();
    } catch (thrown) {
      if (!signal.aborted && !writes.refused(thrown, 'deletions', () => this.noticed()))
        log.error('deletions could not be noted', { error: asError(thrown) });
    } finally {
      this.#isRunning = false;
      if (this.#isAgain) {
        this.#isAgain = false;
        this.noticed();
      } else onIdle();
    }
  }

  #hold(files: number): void {
    if (files === this.#held) return;
    this.#options.index.setSetting(HELD, files === 0 ? undefined : String(files));
    this.#held = files;
  }

  /**
   * Holds everything if too much is gone; lets go by itself when it has come back. Not before: while an owner puts files
   * back, or new ones come, the rest are not yet meant to be deleted.
   */
  #isMass(): boolean {
    const { index, clock, problems, log } = this.#options;
    const since = clock.monotonic() - MASS_WINDOW;
    this.#recent = this.#recent.filter(({ at }) => at > since);
    const earlier = this.#recent.reduce((sum, { files }) => sum + files, 0);
    const lost = index.countLost();
    const gone = lost + earlier;
    const before = index.totals().files + earlier;
    const held = this.#held;
    const isReviewed = this.#isReviewed;
    this.#isReviewed = false;
    const isMuch = held > 0 ? !isReviewed || lost > held * LET_GO : gone >= MASS_FILES && gone * 2 > before;
    if (lost === 0 || this.#isAllowed || !isMuch) {
      this.#hold(0);
      if (problems.clear(MASS)) log.info('deletions are no longer held');
      return false;
    }
    this.#hold(Math.max(held, lost));
    const isNews = problems.set({
      code: MASS,
      message: `${gone} of ${before} files have disappeared at once; they are not deleted elsewhere`,
      remedy: 'put them back, or resume the share to delete them everywhere',
      stops: 'deletions',
      count: lost,
      paths: index.marked('gone', -1, 10).map(({ row }) => row.path),
    });
    if (isNews) log.warn('most of the share has disappeared; deletions are held', { gone, before });
    return true;
  }

  async #deleteAll(): Promise<void> {
    const { index, signal } = this.#options;
    for (let after = -1; ; ) {
      const page = index.marked('gone', after, PAGE);
      if (page.length === 0) break;
      after = page.at(-1)!.id;
      const gone: IndexRow[] = [];
      for (const { row } of page) {
        signal.throwIfAborted();
        if (await this.#isGone(row)) gone.push(row);
      }
      this.#delete(gone);
    }
    this.#isAllowed = false;
  }

  async #isGone(row: IndexRow): Promise<boolean> {
    const { root, index, isHeld, onPresent, selection } = this.#options;
    if (isHeld(row.path)) return false;
    try {
      const facts = await root.lookExactly(index.localPath(row.path));
      // A link or a pipe has taken its place: nothing that could be synced is left.
      if (facts === undefined || facts.kind === 'symlink' || facts.kind === 'special')
        return !index.mayHaveMoved(row);
      // Something that is ignored is not the record's file, whatever name it has.
      if (row.uuid !== undefined && !selection.isWanted(row.path, facts.kind))
        return !index.mayHaveMoved(row);
      onPresent(row.path);
      return false;
    } catch (thrown) {
      // It can't be seen at the moment: that is not the same as being gone.
      if (errorCode(thrown)?.startsWith('files.')) return false;
      throw thrown;
    }
  }

  #delete(gone: readonly IndexRow[]): void {
    const { recorder, isHeld, clock, writes } = this.#options;
    if (gone.length === 0) return;
    let files = 0;
    recorder.records.transaction(() => {
      for (const row of gone) {
        if (isHeld(row.path)) continue;
        const isOfRecord = row.uuid !== undefined && row.kind === 'file';
        if (recordGone(row, recorder) === 'recorded' && isOfRecord) files += 1;
      }
    });
    writes.worked();
    if (files > 0) this.#recent.push({ at: clock.monotonic(), files });
  }
}
