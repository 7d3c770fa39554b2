/**
 * When contents that did not come, or could not be placed, are tried again: each at its own pace, so that one which can
 * never come does not make the others wait.
 */

import type { Clock, Timer } from '../base/clock.ts';
import { type Backoff, type BackoffLimits, openBackoff } from '../base/retry.ts';
import { BackoffTimer } from './backoff-timer.ts';

export interface RetriesOptions {
  readonly clock: Clock;
  /** Everything should be looked at again. */
  readonly onAll: () => void;
  /** Whoever waits for these contents should be looked at again. */
  readonly onDue: (sha256: readonly string[]) => void;
}

/** `absent`: nobody has them. `blocked`: something on our own disk is in the way; its owner may take it away at any time. */
export type Reason = 'absent' | 'blocked';

const LIMITS: Readonly<Record<Reason, BackoffLimits>> = {
  absent: { first: 1_000, longest: 600_000 },
  blocked: { first: 500, longest: 120_000 },
};
/** After the disk refused to take anything. */
const TROUBLE_BACKOFF = { first: 2_000, longest: 60_000 };
/** Contents that are remembered one by one. With more, everything is looked at again. */
const MAX_REMEMBERED = 1_024;

interface Remembered {
  readonly reason: Reason;
  readonly backoff: Backoff;
  /** Monotonic milliseconds; undefined: being tried. */
  due: number | undefined;
}

export class Retries {
  readonly #clock: Clock;
  readonly #onDue: (sha256: readonly string[]) => void;
  readonly #trouble: BackoffTimer;
  /** For what is not remembered one by one. */
  readonly #others: BackoffTimer;
  /** By SHA-256, longest known first. */
  readonly #remembered = new Map<string, Remembered>();
  readonly #hopeless = new Set<string>();
  #timer: Timer | undefined;
  #timerDue = Number.POSITIVE_INFINITY;

  constructor({ clock, onAll, onDue }: RetriesOptions) {
    this.#clock = clock;
    this.#onDue = onDue;
    this.#trouble = new BackoffTimer(clock, TROUBLE_BACKOFF, onAll);
    this.#others = new BackoffTimer(clock, LIMITS.absent, onAll);
  }

  /** Whether the disk should be left alone. */
  get isTrouble(): boolean {
    return this.#trouble.isRunning;
  }

  trouble(): void {
    this.#trouble.start();
  }

  /** The disk took something. */
  worked(): void {
    this.#trouble.reset();
  }

  /** Tries the contents again after a while, longer each time. */
  later(sha256: string, reason: Reason): void {
    let known = this.#remembered.get(sha256);
    if (known === undefined && !this.#hasRoom()) {
      this.#others.start();
      return;
    }
    if (known?.reason !== reason) known = { reason, backoff: openBackoff(LIMITS[reason]), due: undefined };
    this.#remembered.set(sha256, known);
    known.due ??= this.#clock.monotonic() + known.backoff.next();
    this.#wakeAt(known.due);
  }

  /** The contents are in their place, or nobody wants them any more. */
  settled(sha256: string): void {
    this.#remembered.delete(sha256);
  }

  /** This file system can not hold the contents (of that size, if it is given): not to be fetched again, until `hope`. */
  never(sha256: string, size?: number): void {
    if (this.#hopeless.size < MAX_REMEMBERED)
      this.#hopeless.add(size === undefined ? sha256 : `${sha256} ${size}`);
    this.#remembered.delete(sha256);
  }

  isHopeless(sha256: string, size: bigint): boolean {
    return this.#hopeless.has(sha256) || this.#hopeless.has(`${sha256} ${size}`);
  }

  /** The owner's word that it is worth another try. */
  hope(): void {
    this.#hopeless.clear();
  }

  /** Circumstances are new, and everything is being looked at. */
  reset(): void {
    this.#remembered.clear();
    this.#others.reset();
  }

  cancel(): void {
    this.#timer?.cancel();
    this.#trouble.cancel();
    this.#others.cancel();
  }

  /** Those which are being tried may have become something else long ago. */
  #hasRoom(): boolean {
    if (this.#remembered.size < MAX_REMEMBERED) return true;
    for (const [sha256, { due }] of this.#remembered)
      if (due === undefined) return this.#remembered.delete(sha256);
    return false;
  }

  #wakeAt(due: number): void {
    if (this.#timerDue <= due) return;
    this.#timer?.cancel();
    this.#timerDue = due;
    this.#timer = this.#clock.after(Math.max(0, due - this.#clock.monotonic()), () => this.#wake());
  }

  #wake(): void {
    this.#timerDue = Number.POSITIVE_INFINITY;
    const now = this.#clock.monotonic();
    const ready: string[] = [];
    let next = Number.POSITIVE_INFINITY;
    for (const [sha256, known] of this.#remembered) {
      if (known.due === undefined) continue;
      if (known.due > now) next = Math.min(next, known.due);
      else {
        known.due = undefined;
        ready.push(sha256);
      }
    }
    if (next < Number.POSITIVE_INFINITY) this.#wakeAt(next);
    if (ready.length > 0) this.#onDue(ready);
  }
}
