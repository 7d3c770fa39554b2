/**
 * The lifetime of something that runs. Everything opened inside is closed in reverse order when it ends, exactly once,
 * and whoever waits inside sees its AbortSignal.
 */

import { asError, internalError } from './errors.ts';

export interface Closable {
  close(): Promise<void> | void;
}

export class Scope {
  readonly #controller = new AbortController();
  readonly #closers: (() => Promise<void> | void)[] = [];
  #closing: Promise<void> | undefined;

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Takes over the closing of `resource`; a resource that comes too late is closed at once. */
  own<T extends Closable>(resource: T): T {
    this.defer(() => resource.close());
    return resource;
  }

  /** Runs `closer` when the scope ends. */
  defer(closer: () => Promise<void> | void): void {
    if (this.#closing !== undefined) {
      void Promise.resolve().then(closer);
      throw internalError('scope.closed', 'something was opened in a scope that has ended');
    }
    this.#closers.push(closer);
  }

  /** A scope inside this one, ended with it or earlier. */
  child(): Scope {
    const child = new Scope();
    this.own(child);
    return child;
  }

  /** Aborts the signal, then closes what is owned, last opened first. All are closed even if some fail. */
  close(reason?: Error): Promise<void> {
    this.#closing ??= this.#close(reason ?? internalError('scope.ended', 'it was closed'));
    return this.#closing;
  }

  async #close(reason: Error): Promise<void> {
    this.#controller.abort(reason);
    const failures: Error[] = [];
    for (const closer of this.#closers.reverse()) {
      try {
        await closer();
      } catch (thrown) {
        failures.push(asError(thrown));
      }
    }
    this.#closers.length = 0;
    if (failures.length === 1) throw failures[0];
    if (failures.length > 1) throw new AggregateError(failures, 'closing failed in several places');
  }
}
