/**
 * Bytes of contents that passed in this calendar month, over restarts. The month is the one of the clock on the wall, but
 * only once that can be relied upon: until then what passes counts for the month that was known last, so that no clock
 * which is wrong for a while makes the count begin anew.
 */

import type { Clock, Timer } from '../../base/clock.ts';
import { describeError } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { SteadyTime } from '../../base/steady-time.ts';

export type Direction = 'upload' | 'download';

export interface StoredMonth {
  /** `2026-11`, local time; empty as long as none was ever known. */
  readonly month: string;
  /** Bytes. */
  readonly upload: bigint;
  readonly download: bigint;
}

export interface MonthStore {
  /** @throws SkylarkError (environment) if it could not be read. */
  load(): StoredMonth | undefined;
  /** Durable when it returns. @throws SkylarkError (environment) if it could not be written. */
  save(count: StoredMonth): void;
}

export interface MonthCountOptions {
  readonly store: MonthStore;
  readonly time: SteadyTime;
  readonly clock: Clock;
  readonly log: Logger;
}

/** It is written so long after the first byte that was not, milliseconds: what a crash may lose of it. */
const WRITE_MS = 180_000;

export class MonthCount {
  readonly #options: MonthCountOptions;
  readonly #bytes: Record<Direction, bigint> = { upload: 0n, download: 0n };
  #month = '';
  /** What an earlier run has counted is known. */
  #isLoaded = false;
  #isChanged = false;
  #timer: Timer | undefined;

  constructor(options: MonthCountOptions) {
    this.#options = options;
    this.#attempt(() => this.#load());
  }

  /** Bytes. */
  of(direction: Direction): bigint {
    return this.#bytes[direction];
  }

  add(direction: Direction, bytes: number): void {
    if (bytes === 0) return;
    this.#bytes[direction] += BigInt(bytes);
    this.#change();
  }

  /** A new month may have begun. */
  look(): void {
    const now = this.#options.time.now();
    const month = now === undefined ? this.#month : monthOf(now);
    if (month === this.#month) return;
    // Back to an earlier one: the clock was wrong before, and what was counted meanwhile counts.
    if (this.#month !== '' && month > this.#month) {
      this.#bytes.upload = 0n;
      this.#bytes.download = 0n;
    }
    this.#month = month;
    this.#change();
  }

  /** Writes down what is not. */
  close(): void {
    this.#timer?.cancel();
    this.#write();
  }

  #change(): void {
    this.#isChanged = true;
    this.#timer ??= this.#options.clock.after(WRITE_MS, () => {
      this.#timer = undefined;
      this.#write();
    });
  }

  #write(): void {
    if (!this.#isChanged) return;
    this.#attempt(() => {
      this.#load();
      this.#options.store.save({ month: this.#month, ...this.#bytes });
      this.#isChanged = false;
    });
  }

  /** Also when it could not be read at the start, so that nothing of it is overwritten. */
  #load(): void {
    if (this.#isLoaded) return;
    const stored = this.#options.store.load();
    this.#isLoaded = true;
    if (stored === undefined || stored.month < this.#month) return;
    this.#month = stored.month;
    this.#bytes.upload += stored.upload;
    this.#bytes.download += stored.download;
  }

  /** A database that fails stops nothing here: of that, status tells. */
  #attempt(work: () => void): void {
    try {
      work();
    } catch (thrown) {
      this.#options.log.debug('the count of the month is not on the disk', { why: describeError(thrown) });
      this.#change();
    }
  }
}

/** @param time nanoseconds since 1970. @returns `2026-11`, local time. */
function monthOf(time: bigint): string {
  const date = new Date(Number(time / 1_000_000n));
  const year = Math.min(9_999, date.getFullYear());
  return `${String(year).padStart(4, '0')}-${String(date.getMonth() + 1).padStart(2, '0')}`;
}
