/** A file that the device has begun to send: offered, then read once as it comes, then released. */

import type { Clock } from '../../agent/base/clock.ts';
import { SkylarkError } from '../../agent/base/errors.ts';
import { deviceError } from '../device-error.ts';
import type { DeviceFile } from '../drivers/driver.ts';

/** Nobody reads it, or says what became of it: then the sender has to be told no. Milliseconds. */
const PATIENCE = 60_000;

type State = 'offered' | 'reading' | 'read' | 'over';

/** `failed`: with the reason, after which the transfer is off on both sides, or has to be. */
export type Outcome =
  | { readonly kind: 'stored' }
  | { readonly kind: 'refused' }
  | { readonly kind: 'failed'; readonly error: unknown };

export class Offer {
  readonly file: DeviceFile;
  readonly outcome: Promise<Outcome>;
  readonly #clock: Clock;
  readonly #content: (signal: AbortSignal | undefined) => AsyncIterable<Uint8Array>;
  readonly #settle: (outcome: Outcome) => void;
  #state: State = 'offered';
  #timer: { cancel(): void } | undefined;

  /** @param content can be read once. */
  constructor(
    file: DeviceFile,
    clock: Clock,
    content: (signal: AbortSignal | undefined) => AsyncIterable<Uint8Array>,
  ) {
    const { promise, resolve } = Promise.withResolvers<Outcome>();
    this.file = file;
    this.outcome = promise;
    this.#settle = resolve;
    this.#clock = clock;
    this.#content = content;
    this.#limit();
  }

  get isOver(): boolean {
    return this.#state === 'over';
  }

  /** @throws SkylarkError `device.not_found` for a second reader; what breaks the transfer. */
  async *read(signal: AbortSignal | undefined): AsyncGenerator<Uint8Array, void> {
    if (this.#state !== 'offered')
      throw deviceError('device.not_found', 'the device does not offer it any more');
    this.#state = 'reading';
    this.#timer?.cancel();
    let failure: unknown;
    try {
      yield* this.#content(signal);
      this.#state = 'read';
      this.#limit();
    } catch (thrown) {
      failure = thrown;
      throw thrown;
    } finally {
      // Also where the reader has left in the middle.
      if (this.#state === 'reading') {
        this.#end(failure instanceof SkylarkError ? { kind: 'failed', error: failure } : { kind: 'refused' });
      }
    }
  }

  release(isStored: boolean): void {
    this.#end({ kind: isStored && this.#state === 'read' ? 'stored' : 'refused' });
  }

  #limit(): void {
    this.#timer = this.#clock.after(PATIENCE, () => this.#end({ kind: 'refused' }));
  }

  #end(outcome: Outcome): void {
    if (this.#state === 'over') return;
    this.#state = 'over';
    this.#timer?.cancel();
    this.#settle(outcome);
  }
}
