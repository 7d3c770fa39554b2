/**
 * Looking after what was asked of peers: every second while there is something; with nothing, which is most of a device's
 * life, only in case something was overlooked, since each look wakes the processor.
 */

import type { Clock, Timer } from '../base/clock.ts';
import { SCHEDULE_LIMITS, type Schedule } from './schedule.ts';

const BUSY_MS = 1_000;
const IDLE_MS = 30_000;

export class Ticking {
  readonly #clock: Clock;
  readonly #schedule: Pick<Schedule, 'room'>;
  readonly #onTick: () => void;
  #timer: Timer | undefined;
  #isSoon = false;

  /** @param onTick called once for each `next`, at most. */
  constructor(clock: Clock, schedule: Pick<Schedule, 'room'>, onTick: () => void) {
    this.#clock = clock;
    this.#schedule = schedule;
    this.#onTick = onTick;
  }

  /** There is to be another tick: soon, if there is something to look after by now. */
  next(): void {
    const isSoon = this.#schedule.room < SCHEDULE_LIMITS.contents;
    if (this.#timer !== undefined && (this.#isSoon || !isSoon)) return;
    this.#timer?.cancel();
    this.#isSoon = isSoon;
    this.#timer = this.#clock.after(isSoon ? BUSY_MS : IDLE_MS, () => {
      this.#timer = undefined;
      this.#onTick();
    });
  }

  cancel(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }
}
