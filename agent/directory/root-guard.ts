/**
 * Knows whether the folder at the share's path is really the share's folder: there, the same directory, on the same file
 * system, with its marker. While it is not, nothing may happen in it, and nothing that is missing counts as deleted. A
 * folder that comes back is recognised without anybody's help.
 */

import type { Clock, Timer } from '../base/clock.ts';
import { errorCode, SkylarkError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { openShareRoot, type ShareRoot } from '../platform/files.ts';
import type { LocalIndex } from './local-index.ts';
import { checkMarker, renewMarker } from './marker.ts';
import type { ProblemList } from './problems.ts';

export interface RootGuardOptions {
  readonly root: ShareRoot;
  readonly index: LocalIndex;
  readonly clock: Clock;
  readonly log: Logger;
  readonly problems: ProblemList;
  /** See `DetectorOptions`. */
  readonly recovery?: { readonly isDone: boolean; run(): Promise<void> } | undefined;
  /** The folder is back after it was not there: whatever was known of its state is old. */
  readonly onReturn: () => void;
}

export interface RootGuard {
  /** As of the last look. */
  readonly isHeld: boolean;
  /** Looks at the folder now; false while it is not the right one. Never throws. */
  check(): Promise<boolean>;
  /** The owner says that it is the right folder: a missing or foreign marker is replaced. @throws `share.*`, `files.*`. */
  accept(): Promise<void>;
  close(): void;
}

/** Milliseconds between two looks for a folder that is not there. */
const FIRST_RETRY = 1_000;
const LONGEST_RETRY = 10_000;
/** And for one that was there: a medium that is taken out says nothing. A look reads one small file, from memory. */
const LOOK_AGAIN = 10_000;

export function openRootGuard(options: RootGuardOptions): RootGuard {
  return new Guard(options);
}

class Guard implements RootGuard {
  readonly #options: RootGuardOptions;
  #trouble: string | undefined;
  #next: { readonly timer: Timer; readonly isRetry: boolean } | undefined;
  #wait = FIRST_RETRY;
  #isClosed = false;
  #checking: Promise<boolean> | undefined;

  constructor(options: RootGuardOptions) {
    this.#options = options;
  }

  get isHeld(): boolean {
    return this.#trouble !== undefined || this.#options.recovery?.isDone === false;
  }

  check(): Promise<boolean> {
    this.#checking ??= this.#check().finally(() => {
      this.#checking = undefined;
    });
    return this.#checking;
  }

  async accept(): Promise<void> {
    const { root, index } = this.#options;
    const candidate = await openShareRoot(root.path);
    try {
      await renewMarker(candidate, index);
    } finally {
      candidate.close();
    }
    await this.check();
  }

  close(): void {
    this.#isClosed = true;
    this.#next?.timer.cancel();
  }

  async #check(): Promise<boolean> {
    try {
      await this.#look();
      await this.#options.recovery?.run();
      this.#recovered();
      this.#checkLater(LOOK_AGAIN, false);
      return true;
    } catch (thrown) {
      if (!this.#isClosed) this.#report(thrown);
      return false;
    }
  }

  async #look(): Promise<void> {
    const { root, index } = this.#options;
    try {
      await checkMarker(root, index);
    } catch (thrown) {
      if (errorCode(thrown) !== 'share.root_replaced') throw thrown;
      // Another directory than before, but perhaps the right one: a medium that was mounted again. Looked at through a
      // root of its own, so that nobody works in it before it has proved itself.
      const candidate = await openShareRoot(root.path);
      try {
        await checkMarker(candidate, index);
      } finally {
        candidate.close();
      }
      root.acceptReplacement();
      await root.check();
      this.#trouble ??= 'share.root_replaced';
    }
  }

  #recovered(): void {
    if (this.#trouble === undefined) return;
    const { problems, log, onReturn } = this.#options;
    const over = this.#trouble;
    this.#trouble = undefined;
    this.#wait = FIRST_RETRY;
    // Whoever hears of it may go on at once.
    problems.clear(over);
    log.info('the folder of the share is back');
    onReturn();
  }

  #report(thrown: unknown): void {
    const { problems, log } = this.#options;
    const error = thrown instanceof SkylarkError ? thrown : undefined;
    const code = error?.code ?? 'share.root_unreadable';
    const message = error?.message ?? String(thrown);
    if (this.#trouble !== undefined && this.#trouble !== code) problems.clear(this.#trouble);
    this.#trouble = code;
    const isNews = problems.set({
      code,
      message,
      remedy: error?.remedy,
      stops: 'everything',
      count: 0,
      paths: [],
    });
    if (isNews)
      log.warn('nothing is synced, because the folder of the share is not as it should be', { why: message });
    if (this.#next?.isRetry) return;
    this.#checkLater(this.#wait, true);
    this.#wait = Math.min(LONGEST_RETRY, this.#wait * 2);
  }

  #checkLater(ms: number, isRetry: boolean): void {
    if (this.#isClosed) return;
    this.#next?.timer.cancel();
    const timer = this.#options.clock.after(ms, () => {
      this.#next = undefined;
      void this.check();
    });
    this.#next = { timer, isRetry };
  }
}
