/** Something that is done again after a while, and after a longer one if that did not help. */

import type { Clock, Timer } from '../base/clock.ts';
import { type Backoff, type BackoffLimits, openBackoff } from '../base/retry.ts';

export class BackoffTimer {
  readonly #clock: Clock;
  readonly #backoff: Backoff;
  readonly #onTime: () => void;
  #timer: Timer | undefined;

  constructor(clock: Clock, limits: BackoffLimits, onTime: () => void) {
    this.#clock = clock;
    this.#backoff = openBackoff(limits);
    this.#onTime = onTime;
  }

  get isRunning(): boolean {
    return this.#timer !== undefined;
  }

  /** Unless it is running already. */
  start(): void {
    this.#timer ??= this.#clock.after(this.#backoff.next(), () => {
      this.#timer = undefined;
      this.#onTime();
    });
  }

  /** The next wait is the shortest again. */
  reset(): void {
    this.#backoff.reset();
  }

  cancel(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }
}
