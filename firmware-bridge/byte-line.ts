/** A device's line as bytes that come within a time or don't: for protocols without frames of their own. */

import type { Clock, Timer } from '../agent/base/clock.ts';
import { asError, SkylarkError } from '../agent/base/errors.ts';
import type { ByteStream } from '../agent/base/stream.ts';
import { deviceError } from './device-error.ts';

/** Bytes that wait for whoever listens; then the stream is not read any further. */
const BACKLOG = 65_536;
/** A line that takes no bytes for so long is lost. Milliseconds. */
const WRITE_PATIENCE = 10_000;
const CLOSE_PATIENCE = 1_000;

export class ByteLine {
  readonly #stream: ByteStream;
  readonly #clock: Clock;
  readonly #lost = Promise.withResolvers<SkylarkError>();
  readonly #wakeWriters = new Set<() => void>();
  #failure: SkylarkError | undefined;
  #held: Uint8Array[] = [];
  #holding = 0;
  #wakeReader: (() => void) | undefined;
  #wakePump: (() => void) | undefined;
  #bytesIn = 0;
  #bytesOut = 0;

  constructor(stream: ByteStream, clock: Clock) {
    this.#stream = stream;
    this.#clock = clock;
    void this.#listen();
  }

  get bytesIn(): number {
    return this.#bytesIn;
  }

  get bytesOut(): number {
    return this.#bytesOut;
  }

  /** Resolves with the reason once the line can't be used any more. */
  get lost(): Promise<SkylarkError> {
    return this.#lost.promise;
  }

  /**
   * The next bytes, at least one, or undefined if none come within `ms`. One call at a time.
   * @throws what ended the line (`device.lost`), or the signal's reason.
   */
  next(ms: number, signal?: AbortSignal): Promise<Uint8Array | undefined> {
    return new Promise((resolve, reject) => {
      let timer: Timer | undefined;
      const settle = () => {
        this.#wakeReader = undefined;
        timer?.cancel();
        signal?.removeEventListener('abort', settle);
        if (signal?.aborted) return reject(signal.reason);
        const bytes = this.#held.shift();
        if (bytes === undefined && this.#failure !== undefined) return reject(this.#failure);
        this.#holding -= bytes?.length ?? 0;
        this.#wakePump?.();
        resolve(bytes);
      };
      if (signal?.aborted || this.#held.length > 0 || this.#failure !== undefined) return settle();
      this.#wakeReader = settle;
      timer = this.#clock.after(ms, settle);
      signal?.addEventListener('abort', settle, { once: true });
    });
  }

  /** What has come and was not listened to. */
  drain(): readonly Uint8Array[] {
    const held = this.#held;
    this.#held = [];
    this.#holding = 0;
    this.#wakePump?.();
    return held;
  }

  /** A full line (flow control, a dead adapter) must not hold the writer for ever. @throws `device.lost`. */
  async write(bytes: Uint8Array): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    this.#bytesOut += bytes.length;
    const timer = this.#clock.after(WRITE_PATIENCE, () => {
      this.abort(deviceError('device.lost', 'the line takes no more bytes'));
    });
    await new Promise<void>((resolve) => {
      this.#wakeWriters.add(resolve);
      this.#stream.write(bytes).then(
        () => {
          this.#wakeWriters.delete(resolve);
          resolve();
        },
        (thrown: unknown) => this.#fail(lostBecause(thrown)),
      );
    });
    timer.cancel();
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Lets go of the line; what can't be flushed is given up. Never rejects. */
  async close(): Promise<void> {
    const reason = deviceError('device.lost', 'the line was closed');
    this.#fail(reason);
    await new Promise<void>((resolve) => {
      const timer = this.#clock.after(CLOSE_PATIENCE, () => {
        this.#stream.abort(reason);
        resolve();
      });
      void this.#stream.close().finally(() => {
        timer.cancel();
        resolve();
      });
    });
  }

  /** Lets go of the line at once. */
  abort(reason: SkylarkError): void {
    this.#fail(reason);
    this.#stream.abort(reason);
  }

  async #listen(): Promise<void> {
    try {
      while (this.#failure === undefined) {
        if (this.#holding >= BACKLOG) {
          await new Promise<void>((resolve) => {
            this.#wakePump = resolve;
          });
          continue;
        }
        const bytes = await this.#stream.read();
        if (bytes === null) throw deviceError('device.lost', 'the connection was closed by the other side');
        this.#bytesIn += bytes.length;
        this.#held.push(bytes);
        this.#holding += bytes.length;
        this.#wakeReader?.();
      }
    } catch (thrown) {
      this.#fail(lostBecause(thrown));
    }
  }

  #fail(reason: SkylarkError): void {
    if (this.#failure !== undefined) return;
    this.#failure = reason;
    this.#lost.resolve(reason);
    this.#wakeReader?.();
    this.#wakePump?.();
    for (const wake of this.#wakeWriters) wake();
  }
}

function lostBecause(thrown: unknown): SkylarkError {
  const remedy =
    thrown instanceof SkylarkError && thrown.remedy !== undefined ? { remedy: thrown.remedy } : {};
  return deviceError('device.lost', asError(thrown).message, { ...remedy, cause: thrown });
}
