/** How fast this line and this device are, and therefore how long to wait and how much to ask for. Sans I/O. */

/** Asking again too early costs a round trip; too late costs a noisy line most of its time. Milliseconds. */
const SHORTEST_WAIT = 80;
/** A line that is back is noticed so soon at least. */
const LONGEST_WAIT = 2_500;
/** Before anything was measured: USB adapters, sleepy devices. Milliseconds. */
const FIRST_ROUND_TRIP = 800;
/** 8N1: ten bits a byte. */
const BITS_PER_BYTE = 10;
/** Assumed where no baud rate says anything (TCP): 115200 baud. Bytes a second. */
const DEFAULT_RATE = 11_520;
const SLOWEST_RATE = 30;

/** Round trips and speed, estimated as TCP does it (RFC 6298), and the timeouts that follow from them. */
export class Tempo {
  #roundTrip: number | undefined;
  #variation = 0;
  #rate: number;
  #patience = 1;

  /** @param baud of a serial line; without it the speed is learned. */
  constructor(baud?: number) {
    this.#rate = baud === undefined ? DEFAULT_RATE : Math.max(SLOWEST_RATE, baud / BITS_PER_BYTE);
  }

  /** Bytes a second, as far as known. */
  get rate(): number {
    return this.#rate;
  }

  /** Milliseconds within which the first of `bytes` bytes of question and answer should be complete. */
  wait(bytes: number, allowance = 0): number {
    const roundTrip =
      this.#roundTrip === undefined ? FIRST_ROUND_TRIP : this.#roundTrip + 4 * this.#variation;
    const onTheLine = (1.5 * 1000 * bytes) / this.#rate;
    return Math.min(
      Math.max(SHORTEST_WAIT, roundTrip + onTheLine) * this.#patience + allowance,
      LONGEST_WAIT + onTheLine + allowance,
    );
  }

  /** A question was answered at the first try, after `elapsed` ms; both together were `bytes` long. */
  answered(elapsed: number, bytes: number): void {
    const sample = Math.max(0, elapsed - (1000 * bytes) / this.#rate);
    if (this.#roundTrip === undefined) {
      this.#roundTrip = sample;
      this.#variation = sample / 2;
    } else {
      this.#variation += (Math.abs(this.#roundTrip - sample) - this.#variation) / 4;
      this.#roundTrip += (sample - this.#roundTrip) / 8;
    }
    this.#patience = 1;
  }

  /** `bytes` came without a pause in `elapsed` ms. */
  streamed(bytes: number, elapsed: number): void {
    const sample = Math.max(SLOWEST_RATE, (1000 * bytes) / Math.max(elapsed, 0.1));
    this.#rate += (sample - this.#rate) / 4;
  }

  /** No answer in time: wait longer next time. */
  silence(): void {
    this.#patience = Math.min(16, this.#patience * 2);
  }

  /** Something valid came. */
  heard(): void {
    this.#patience = 1;
  }
}

/** A window should take about so long: then other questions get their turn soon. Milliseconds. */
const WINDOW_TIME = 1_000;
const LARGEST_WINDOW = 262_144;
const FIRST_WINDOW = 8_192;
const SMALLEST_CHUNK = 48;
/** So many chunks without an error, and the next may be larger, by so much. */
const CLEAN_CHUNKS_TO_GROW = 16;
const GROWTH = 1.5;

/** How much to ask for at once, and in pieces of what size: smaller after errors, larger again without. */
export class ReadPlan {
  readonly #tempo: Tempo;
  #largestChunk: number;
  #chunk: number;
  #window = FIRST_WINDOW;
  #clean = 0;

  constructor(largestChunk: number, tempo: Tempo) {
    this.#largestChunk = largestChunk;
    this.#chunk = largestChunk;
    this.#tempo = tempo;
  }

  get chunk(): number {
    return this.#chunk;
  }

  get window(): number {
    const byTime = (this.#tempo.rate * WINDOW_TIME) / 1000;
    return Math.floor(Math.max(this.#chunk, Math.min(this.#window, byTime, LARGEST_WINDOW)));
  }

  /** The device is another than before. */
  limit(largestChunk: number): void {
    this.#largestChunk = largestChunk;
    this.#chunk = Math.min(this.#chunk, largestChunk);
  }

  /** A chunk arrived in order. */
  arrived(): void {
    this.#clean += 1;
    if (this.#clean < CLEAN_CHUNKS_TO_GROW) return;
    this.#clean = 0;
    this.#chunk = Math.min(this.#largestChunk, Math.ceil(this.#chunk * GROWTH));
  }

  /** The whole of what was asked arrived. */
  complete(): void {
    this.#window = Math.min(LARGEST_WINDOW, this.#window * 2);
  }

  /** Something on the way was lost. */
  gap(): void {
    this.#clean = 0;
    this.#chunk = Math.max(Math.min(SMALLEST_CHUNK, this.#largestChunk), Math.floor(this.#chunk / 2));
  }

  /** Nothing came any more: a device that is deaf while it sends hears better between small windows. */
  silence(): void {
    this.gap();
    this.#window = Math.max(FIRST_WINDOW / 8, Math.floor(this.#window / 2));
  }
}
