/**
 * What the disk has damaged is put right without anybody's asking, once it can be: a member comes who has it, a cable
 * that was loose gives everything back. Only what is known to be damaged is read for that.
 */

import type { Clock } from '../base/clock.ts';
import { asError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { BackoffTimer } from './backoff-timer.ts';
import type { Damages } from './damages.ts';
import type { Verifier } from './verify.ts';

export interface MendingOptions {
  readonly verifier: Pick<Verifier, 'mend'>;
  readonly damages: Pick<Damages, 'isEmpty' | 'listen'>;
  readonly clock: Clock;
  readonly log: Logger;
  /** Of the share. */
  readonly signal: AbortSignal;
  /** False while nothing may be written to the folder, or its owner wants nothing to happen. */
  readonly mayRun: () => boolean;
}

/** A disk that can't read something tries for seconds each time, and gets no better by it. */
const BACKOFF = { first: 20_000, longest: 21_600_000 };

export class Mending {
  readonly #options: MendingOptions;
  readonly #timer: BackoffTimer;
  #work: Promise<void> | undefined;

  constructor(options: MendingOptions) {
    this.#options = options;
    this.#timer = new BackoffTimer(options.clock, BACKOFF, () => {
      this.#work ??= this.#run().finally(() => {
        this.#work = undefined;
        this.#plan();
      });
    });
    options.damages.listen(() => this.#plan());
    this.#plan();
  }

  /** There is a reason to try soon. */
  hope(): void {
    this.#timer.cancel();
    this.#timer.reset();
    this.#plan();
  }

  /** After the share's signal. Resolves when nothing runs. */
  async close(): Promise<void> {
    this.#timer.cancel();
    await this.#work;
  }

  #plan(): void {
    const { signal, damages } = this.#options;
    if (!signal.aborted && !damages.isEmpty) this.#timer.start();
  }

  /** Never rejects. */
  async #run(): Promise<void> {
    const { verifier, signal, log, mayRun } = this.#options;
    if (!mayRun()) return;
    try {
      await verifier.mend(signal);
    } catch (thrown) {
      if (!signal.aborted) log.debug('damaged files could not be put right', { error: asError(thrown) });
    }
  }
}
