/** One try to make a connection: bounded in time, and given up when somebody says so. */

import type { Clock, Timer } from '../base/clock.ts';
import { asError, environmentError } from '../base/errors.ts';

export class Attempt {
  readonly #controller = new AbortController();
  readonly #timer: Timer;
  readonly #outer: AbortSignal | undefined;
  readonly #onOuterAbort: () => void;

  /** @param outer gives the attempt up too. */
  constructor(clock: Clock, ms: number, outer: AbortSignal | undefined) {
    this.#timer = clock.after(ms, () => {
      this.abort(environmentError('pool.timeout', `the connection was not made within ${ms / 1_000} s`));
    });
    this.#outer = outer;
    this.#onOuterAbort = () => this.abort(asError(outer?.reason));
    if (outer?.aborted) this.#onOuterAbort();
    else outer?.addEventListener('abort', this.#onOuterAbort, { once: true });
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  abort(reason: Error): void {
    this.#controller.abort(reason);
  }

  /** Calls back at once if it is given up already. @returns how to stop. */
  onAbort(callback: (reason: Error) => void): () => void {
    const listener = () => callback(asError(this.signal.reason));
    if (this.signal.aborted) listener();
    else this.signal.addEventListener('abort', listener, { once: true });
    return () => this.signal.removeEventListener('abort', listener);
  }

  /** It is decided: time no longer matters. */
  end(): void {
    this.#timer.cancel();
    this.#outer?.removeEventListener('abort', this.#onOuterAbort);
  }
}
