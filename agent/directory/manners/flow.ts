/**
 * Contents on their way in one direction, of the whole daemon: over all shares and peers. Here is decided when a piece of
 * them may pass; everything else (records, questions, announcements) passes at once and never comes here.
 */

import type { Clock, Timer } from '../../base/clock.ts';
import { ByteBucket } from './byte-bucket.ts';

/** Told of bytes of contents that pass. */
export type Counter = (bytes: number) => void;

abstract class Flow {
  protected readonly clock: Clock;
  protected readonly bucket: ByteBucket;
  readonly #listeners = new Set<() => void>();
  readonly #count: Counter;
  #holdReason: string | undefined;
  #timer: Timer | undefined;

  constructor(clock: Clock, count: Counter = () => undefined) {
    this.clock = clock;
    this.#count = count;
    this.bucket = new ByteBucket(undefined, clock.monotonic());
  }

  /** Why no contents pass now, for people; undefined: they do. */
  get holdReason(): string | undefined {
    return this.#holdReason;
  }

  get isHeld(): boolean {
    return this.#holdReason !== undefined;
  }

  /** Bytes that should pass in one go at most; infinite without a limit. */
  get piece(): number {
    return this.bucket.piece;
  }

  /**
   * What holds from now on.
   * @param rate bytes a second; undefined: no limit
   */
  regulate(rate: number | undefined, holdReason: string | undefined): void {
    const isOther = rate !== this.bucket.rate || (holdReason === undefined) === this.isHeld;
    this.bucket.setRate(rate, this.clock.monotonic(), this.expected());
    this.#holdReason = holdReason;
    if (!isOther) return;
    this.#timer?.cancel();
    this.#timer = undefined;
    this.onRegulated();
    for (const listener of this.#listeners) listener();
  }

  /** Told when the rate is another one, and when a hold begins or ends. @returns stops it. */
  listen(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  close(): void {
    this.#timer?.cancel();
    this.#listeners.clear();
  }

  protected abstract onRegulated(): void;
  /** There may be room. */
  protected abstract onRoom(): void;
  /** Bytes that will be spent. */
  protected abstract expected(): number;

  protected count(bytes: number): void {
    this.#count(bytes);
  }

  protected waitForRoom(): void {
    this.#timer ??= this.clock.after(this.bucket.wait(this.clock.monotonic(), this.expected()), () => {
      this.#timer = undefined;
      this.onRoom();
    });
  }
}

/** Leave to send the pieces of one answer. */
export interface Passage {
  /** Waits, if it must, until so many more bytes may be sent. False: no more of this answer may. */
  pass(bytes: number): Promise<boolean>;
  /** The answer is out, or will not be given. */
  end(): void;
}

/** Answers up to this size are not cut: whoever has read one would have to keep it while it waits. */
const SMALL = 65_536;

interface Waiting {
  readonly bytes: number;
  readonly go: () => void;
}

/** What is sent. Whoever waits holds nothing in memory; answers wait in line, whatever peer they are for. */
export class Outflow extends Flow {
  readonly #line = new Set<Waiting>();

  /**
   * Waits until an answer may begin.
   * @param bytes how long it is; of one that is longer than `piece`, the rest waits while it is sent
   * @returns undefined if contents are held
   * @throws the signal's reason.
   */
  async enter(bytes: number, signal: AbortSignal): Promise<Passage | undefined> {
    let paid = Math.min(bytes, Math.max(SMALL, this.piece));
    if (!(await this.#take(paid, signal))) return undefined;
    return {
      pass: async (more) => {
        const isFree = more <= paid || (await this.#take(more - paid, signal));
        if (!isFree) return false;
        paid = Math.max(0, paid - more);
        this.count(more);
        return true;
      },
      end: () => {
        this.bucket.spend(-paid);
        paid = 0;
        this.#advance();
      },
    };
  }

  async #take(bytes: number, signal: AbortSignal): Promise<boolean> {
    signal.throwIfAborted();
    if (this.isHeld) return false;
    if (this.#line.size === 0 && this.bucket.room(this.clock.monotonic()) > 0) {
      this.bucket.spend(bytes);
      return true;
    }
    await new Promise<void>((resolve, reject) => {
      const onAbort = () => {
        this.#line.delete(waiting);
        reject(signal.reason);
      };
      const go = () => {
        signal.removeEventListener('abort', onAbort);
        resolve();
      };
      const waiting: Waiting = { bytes, go };
      signal.addEventListener('abort', onAbort, { once: true });
      this.#line.add(waiting);
      this.waitForRoom();
    });
    return !this.isHeld;
  }

  protected override onRegulated(): void {
    this.#advance();
  }

  protected override onRoom(): void {
    this.#advance();
  }

  protected override expected(): number {
    return 0;
  }

  #advance(): void {
    for (const waiting of this.#line) {
      if (!this.isHeld && this.bucket.room(this.clock.monotonic()) <= 0) {
        this.waitForRoom();
        return;
      }
      this.#line.delete(waiting);
      // Whoever is let go by a hold sends nothing.
      if (!this.isHeld) this.bucket.spend(waiting.bytes);
      waiting.go();
    }
  }
}

/** Somebody who asks peers for contents. */
export interface Asker {
  /** Bytes that were asked for and have not come. */
  readonly underWay: () => number;
  /** `mayAsk` was false and may not be so any more. */
  readonly onRoom: () => void;
  /** A hold has begun or is over, or the rate is another one. */
  readonly onRegulated: () => void;
}

/** Leave to ask. */
export interface Allowance {
  /** Whether one more piece may be asked for. If not, the asker will be told. */
  mayAsk(): boolean;
  /** As in the flow. */
  readonly piece: number;
  close(): void;
}

/**
 * What is received: limited by asking for no more than may come, since what is asked for comes as fast as it can, and a
 * receiver that does not read holds up everything else on its connection.
 */
export class Inflow extends Flow {
  readonly #askers = new Set<Asker>();
  readonly #waiting = new Set<Asker>();

  open(asker: Asker): Allowance {
    this.#askers.add(asker);
    const flow = this;
    return {
      mayAsk: () => this.#mayAsk(asker),
      get piece() {
        return flow.piece;
      },
      close: () => {
        this.#askers.delete(asker);
        this.#waiting.delete(asker);
      },
    };
  }

  /** So many bytes of contents came. */
  passed(bytes: number): void {
    this.bucket.spend(bytes);
    this.count(bytes);
  }

  #mayAsk(asker: Asker): boolean {
    // Without a limit, it is not worth a sum over all askers.
    if (!this.isHeld && this.bucket.rate === undefined) return true;
    if (!this.isHeld && this.bucket.room(this.clock.monotonic(), this.expected()) > 0) {
      // The others come first the next time.
      this.#askers.delete(asker);
      this.#askers.add(asker);
      return true;
    }
    this.#waiting.add(asker);
    if (!this.isHeld) this.waitForRoom();
    return false;
  }

  protected override onRegulated(): void {
    this.#waiting.clear();
    for (const asker of [...this.#askers]) asker.onRegulated();
  }

  /** All that wait are told, the one that was served longest ago first: it takes what there is, and the next waits on. */
  protected override onRoom(): void {
    const waiting = [...this.#askers].filter((asker) => this.#waiting.has(asker));
    this.#waiting.clear();
    for (const asker of waiting) asker.onRoom();
  }

  protected override expected(): number {
    let sum = 0;
    for (const { underWay } of this.#askers) sum += underWay();
    return sum;
  }
}

export interface Flows {
  readonly upload: Outflow;
  readonly download: Inflow;
}

/** Without any limit. */
export function freeFlows(clock: Clock): Flows {
  return { upload: new Outflow(clock), download: new Inflow(clock) };
}
