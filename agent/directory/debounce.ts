/**
 * When a changed path may be looked at: as soon as it has been quiet for a moment, later and later if it keeps changing,
 * but never later than a bound, so that a file that is written to all day is still looked at now and then. Every path is
 * handed out to one worker at a time.
 */

import type { Clock, Timer } from '../base/clock.ts';

export interface DebounceTimes {
  /** Milliseconds without a change after which a path is ready. Default 100. */
  readonly quiet?: number;
  /** Longest wait for quiet, however long a path has been restless. Default 10,000. */
  readonly longestQuiet?: number;
  /** Milliseconds after which a path is ready although it never was quiet. Default 60,000. */
  readonly patience?: number;
}

export interface Debouncer {
  /** The path changed now. */
  touch(path: string): void;
  /** Makes it ready at once, unless it is being looked at. */
  hurry(path: string): void;
  /** Up to `limit` ready paths, longest waiting first; each is the caller's until `done`. */
  take(limit: number): string[];
  /**
   * The path was looked at. If it was not `settled`, or was touched in the meantime, it waits again, as restless as it
   * was.
   */
  done(path: string, settled: boolean): void;
  /** False if the path has been restless for so long that it should be taken as it is. */
  isPatient(path: string): boolean;
  /** How many are waiting, ready or being looked at. */
  readonly size: number;
  /** Forgets everything that is not being looked at. */
  clear(): void;
  close(): void;
}

interface Waiting {
  /** When the unrest began. */
  first: number;
  due: number;
  state: 'waiting' | 'taken' | 'taken and touched';
}

/** Changes that follow one another within this time make a path restless. */
const UNREST_AFTER = 1_000;

/** @param onReady called when paths have become ready; the caller takes them when it likes. */
export function openDebouncer(clock: Clock, onReady: () => void, times: DebounceTimes = {}): Debouncer {
  return new PathDebouncer(clock, onReady, times);
}

class PathDebouncer implements Debouncer {
  readonly #clock: Clock;
  readonly #onReady: () => void;
  readonly #quiet: number;
  readonly #longestQuiet: number;
  readonly #patience: number;
  readonly #paths = new Map<string, Waiting>();
  #timer: Timer | undefined;
  #timerDue = Number.POSITIVE_INFINITY;

  constructor(clock: Clock, onReady: () => void, times: DebounceTimes) {
    this.#clock = clock;
    this.#onReady = onReady;
    this.#quiet = times.quiet ?? 100;
    this.#longestQuiet = times.longestQuiet ?? 10_000;
    this.#patience = times.patience ?? 60_000;
  }

  get size(): number {
    return this.#paths.size;
  }

  touch(path: string): void {
    const now = this.#clock.monotonic();
    const known = this.#paths.get(path);
    if (known === undefined) {
      this.#paths.set(path, { first: now, due: now + this.#quiet, state: 'waiting' });
      this.#wakeAt(now + this.#quiet);
      return;
    }
    if (known.state !== 'waiting') {
      known.state = 'taken and touched';
      return;
    }
    known.due = this.#nextDue(known.first, now);
    // Not woken earlier than before: a due time only moves back. The timer finds out when it fires.
  }

  hurry(path: string): void {
    const now = this.#clock.monotonic();
    const known = this.#paths.get(path);
    if (known === undefined) this.#paths.set(path, { first: now, due: now, state: 'waiting' });
    else if (known.state === 'waiting') known.due = now;
    else known.state = 'taken and touched';
    this.#wakeAt(now);
  }

  take(limit: number): string[] {
    const now = this.#clock.monotonic();
    const ready: string[] = [];
    let earliest = Number.POSITIVE_INFINITY;
    for (const [path, waiting] of this.#paths) {
      if (waiting.state !== 'waiting') continue;
      if (waiting.due > now) {
        earliest = Math.min(earliest, waiting.due);
        continue;
      }
      if (ready.length === limit) {
        earliest = now;
        break;
      }
      waiting.state = 'taken';
      ready.push(path);
    }
    if (earliest > now && earliest !== Number.POSITIVE_INFINITY) this.#wakeAt(earliest);
    return ready;
  }

  done(path: string, settled: boolean): void {
    const known = this.#paths.get(path);
    if (known === undefined) return;
    if (settled && known.state !== 'taken and touched') {
      this.#paths.delete(path);
      return;
    }
    const now = this.#clock.monotonic();
    known.state = 'waiting';
    // After the patience is used up it has had its chance; the next one comes after another long wait.
    known.due = now + Math.max(this.#quiet, Math.min(this.#longestQuiet, (now - known.first) / 2));
    this.#wakeAt(known.due);
  }

  isPatient(path: string): boolean {
    const known = this.#paths.get(path);
    return known === undefined || this.#clock.monotonic() - known.first < this.#patience;
  }

  clear(): void {
    for (const [path, waiting] of this.#paths) if (waiting.state === 'waiting') this.#paths.delete(path);
  }

  close(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#paths.clear();
  }

  #nextDue(first: number, now: number): number {
    const restless = now - first;
    const quiet =
      restless < UNREST_AFTER
        ? this.#quiet
        : Math.min(this.#longestQuiet, Math.max(this.#quiet, restless / 2));
    return Math.max(now, Math.min(now + quiet, first + this.#patience));
  }

  #wakeAt(due: number): void {
    if (this.#timer !== undefined && this.#timerDue <= due) return;
    this.#timer?.cancel();
    this.#timerDue = due;
    this.#timer = this.#clock.after(Math.max(0, due - this.#clock.monotonic()), () => this.#wake());
  }

  #wake(): void {
    this.#timer = undefined;
    this.#timerDue = Number.POSITIVE_INFINITY;
    const now = this.#clock.monotonic();
    let earliest = Number.POSITIVE_INFINITY;
    let isReady = false;
    for (const waiting of this.#paths.values()) {
      if (waiting.state !== 'waiting') continue;
      if (waiting.due <= now) isReady = true;
      else earliest = Math.min(earliest, waiting.due);
    }
    if (earliest !== Number.POSITIVE_INFINITY) this.#wakeAt(earliest);
    if (isReady) this.#onReady();
  }
}
