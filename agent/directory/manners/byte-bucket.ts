/**
 * How many bytes may pass, at a rate that can be changed at any time. What passes does so in pieces that are taken whole:
 * the bucket goes into debt by at most one, and the next waits for so much longer. So the rate is exact in the long run.
 */

/** What comes back while nothing passes, and so may pass at once afterwards, seconds. Also makes up for late timers. */
const BURST_S = 0.25;
/** Pieces are so long, seconds, but not shorter or longer than these bytes. */
const PIECE_S = 0.125;
const LEAST_PIECE = 16_384;
const MOST_PIECE = 1_048_576;

export class ByteBucket {
  #rate: number | undefined;
  #tokens = 0;
  #at: number;

  /**
   * @param rate bytes a second; undefined: no limit
   * @param now milliseconds of any clock that does not jump; the same in every call
   */
  constructor(rate: number | undefined, now: number) {
    this.#rate = rate;
    this.#at = now;
  }

  get rate(): number | undefined {
    return this.#rate;
  }

  /** Bytes that should be taken in one go at most, a multiple of 16 KiB; infinite without a limit. */
  get piece(): number {
    if (this.#rate === undefined) return Number.POSITIVE_INFINITY;
    const wanted = Math.floor((this.#rate * PIECE_S) / LEAST_PIECE) * LEAST_PIECE;
    return Math.min(MOST_PIECE, Math.max(LEAST_PIECE, wanted));
  }

  /** @param expected as for `room` */
  setRate(rate: number | undefined, now: number, expected = 0): void {
    if (rate === this.#rate) return;
    this.#refill(now, expected);
    this.#rate = rate;
    // A debt from faster times would take for ever to pay off.
    this.#tokens = rate === undefined ? 0 : Math.max(this.#tokens, expected - this.piece);
  }

  /**
   * If it is more than 0, one piece may pass.
   * @param expected bytes that are not yet spent, and will be
   */
  room(now: number, expected = 0): number {
    if (this.#rate === undefined) return Number.POSITIVE_INFINITY;
    this.#refill(now, expected);
    return this.#tokens - expected;
  }

  /** Milliseconds, at least 1, until there may be room. */
  wait(now: number, expected = 0): number {
    const room = this.room(now, expected);
    return room > 0 || this.#rate === undefined
      ? 1
      : Math.max(1, Math.ceil(((1 - room) / this.#rate) * 1_000));
  }

  spend(bytes: number): void {
    if (this.#rate !== undefined) this.#tokens -= bytes;
  }

  /** What is expected does not count against the burst: a long line to the other side holds much of it. */
  #refill(now: number, expected: number): void {
    if (this.#rate === undefined) {
      this.#at = now;
      return;
    }
    const gained = (Math.max(0, now - this.#at) / 1_000) * this.#rate;
    this.#tokens = Math.min(this.#rate * BURST_S + expected, this.#tokens + gained);
    this.#at = now;
  }
}
