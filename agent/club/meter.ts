/** Counts what passes through a stream, and knows for how long nothing came. */

import type { Clock } from '../base/clock.ts';
import type { ByteStream } from '../base/stream.ts';

/** Rates are averages over about this long, milliseconds. */
const WINDOW_MS = 5_000;

export class MeteredStream implements ByteStream {
  readonly label: string;
  readonly received: RateMeter;
  readonly sent: RateMeter;
  readonly #stream: ByteStream;
  readonly #clock: Clock;
  #waitingSince: number | undefined;

  constructor(stream: ByteStream, clock: Clock) {
    this.label = stream.label;
    this.#stream = stream;
    this.#clock = clock;
    this.received = new RateMeter(clock);
    this.sent = new RateMeter(clock);
  }

  /**
   * Milliseconds for which we have been reading and nothing came. Zero while nobody reads: a peer is not to blame for
   * our own slowness.
   */
  get silence(): number {
    return this.#waitingSince === undefined ? 0 : this.#clock.monotonic() - this.#waitingSince;
  }

  async read(): Promise<Uint8Array | null> {
    this.#waitingSince = this.#clock.monotonic();
    try {
      const bytes = await this.#stream.read();
      if (bytes !== null) this.received.add(bytes.length);
      return bytes;
    } finally {
      this.#waitingSince = undefined;
    }
  }

  async write(bytes: Uint8Array): Promise<void> {
    await this.#stream.write(bytes);
    this.sent.add(bytes.length);
  }

  close(): Promise<void> {
    return this.#stream.close();
  }

  abort(reason: Error): void {
    this.#stream.abort(reason);
  }
}

/** A total and a rate that fades exponentially, without a timer. */
export class RateMeter {
  readonly #clock: Clock;
  #total = 0;
  #rate = 0;
  #at: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#at = clock.monotonic();
  }

  add(bytes: number): void {
    this.#fade();
    this.#total += bytes;
    this.#rate += bytes / (WINDOW_MS / 1_000);
  }

  /** Bytes so far. */
  get total(): number {
    return this.#total;
  }

  /** Bytes a second, lately. */
  get rate(): number {
    this.#fade();
    return this.#rate;
  }

  #fade(): void {
    const now = this.#clock.monotonic();
    this.#rate *= Math.exp((this.#at - now) / WINDOW_MS);
    this.#at = now;
  }
}
