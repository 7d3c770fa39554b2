/**
 * The asking side's end of the line: one question at a time in the order of asking, its answers matched by sequence
 * number, everything unasked handed to a listener.
 */

import type { Clock, Timer } from '../../agent/base/clock.ts';
import { asError, SkylarkError } from '../../agent/base/errors.ts';
import type { ByteStream } from '../../agent/base/stream.ts';
import { deviceError } from '../device-error.ts';
import type { MessageSpec } from './fields.ts';
import { encodeFrame, type Frame, FrameDecoder } from './frame.ts';

/** Answers that wait for a slow asker; beyond that they are dropped, which is a gap like any other. Bytes. */
const INBOX_LIMIT = 1_048_576;
/** Answers to one turn; more than the largest window in the smallest chunks. */
const MOST_ANSWERS = 20_000;
/** A line that takes no bytes for so long is lost. Milliseconds. */
const WRITE_PATIENCE = 10_000;
const CLOSE_PATIENCE = 1_000;

export interface LineCounters {
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly frames: number;
  /** Pieces that were no valid frame. */
  readonly crcErrors: number;
  /** Bytes in such pieces. */
  readonly noise: number;
  /** Valid frames that answered nothing of the present. */
  readonly stale: number;
}

/** The right to ask. Valid only inside the function that `Line.ask` was given. */
export interface Turn {
  /**
   * Sends a question under a new sequence number; answers to earlier ones are ignored from now on.
   * @returns bytes on the line.
   */
  send<T>(spec: MessageSpec<T>, value: T): Promise<number>;
  /** Sends the question again under its own number: an answer to either is welcome. */
  resend(): Promise<void>;
  /** Sends one more under a new number, and still takes the answers to those before. */
  add<T>(spec: MessageSpec<T>, value: T): Promise<void>;
  /** The next answer, or undefined after `ms`. @throws what ended the line, or the signal's reason. */
  next(ms: number): Promise<Frame | undefined>;
}

export interface LineOptions {
  readonly clock: Clock;
  /** Frames with sequence number 0. Must not throw. */
  readonly onUnasked: (frame: Frame) => void;
  readonly random?: () => number;
}

function lostBecause(thrown: unknown): SkylarkError {
  const remedy =
    thrown instanceof SkylarkError && thrown.remedy !== undefined ? { remedy: thrown.remedy } : {};
  return deviceError('device.lost', asError(thrown).message, { ...remedy, cause: thrown });
}

export class Line {
  readonly #stream: ByteStream;
  readonly #options: LineOptions;
  readonly #decoder = new FrameDecoder();
  readonly #lost = Promise.withResolvers<SkylarkError>();
  readonly #accepted = new Set<number>();
  #failure: SkylarkError | undefined;
  #inbox: Frame[] = [];
  #inboxBytes = 0;
  #wake: (() => void) | undefined;
  #wakeWriter: (() => void) | undefined;
  #turn: Promise<void> = Promise.resolve();
  #seq: number;
  #bytesIn = 0;
  #bytesOut = 0;
  #frames = 0;
  #stale = 0;
  /** When the oldest question was asked since the last valid frame. */
  #waitingSince: number | undefined;

  constructor(stream: ByteStream, options: LineOptions) {
    this.#stream = stream;
    this.#options = options;
    // Not always 1: a device may still be answering the questions of a process that is gone.
    this.#seq = 1 + Math.floor((options.random ?? Math.random)() * 255);
  }

  /** Begins to listen. */
  start(): void {
    void this.#listen();
  }

  get counters(): LineCounters {
    return {
      bytesIn: this.#bytesIn,
      bytesOut: this.#bytesOut,
      frames: this.#frames,
      crcErrors: this.#decoder.damaged,
      noise: this.#decoder.noise,
      stale: this.#stale,
    };
  }

  /** Milliseconds that questions have been waiting without one valid frame. */
  get silentFor(): number {
    return this.#waitingSince === undefined ? 0 : this.#options.clock.monotonic() - this.#waitingSince;
  }

  /** Resolves with the reason once the line can't be used any more. */
  get lost(): Promise<SkylarkError> {
    return this.#lost.promise;
  }

  /** Waits for its turn, then runs `body` with the line to itself. */
  async ask<T>(signal: AbortSignal | undefined, body: (turn: Turn) => Promise<T>): Promise<T> {
    const before = this.#turn;
    const done = Promise.withResolvers<void>();
    this.#turn = done.promise;
    await before;
    try {
      signal?.throwIfAborted();
      return await body(this.#makeTurn(signal));
    } finally {
      this.#accepted.clear();
      this.#empty();
      done.resolve();
    }
  }

  /** Nothing on its way to a device is worth waiting for: a line that can't be flushed is let go of. Never rejects. */
  async close(): Promise<void> {
    const reason = deviceError('device.lost', 'the line was closed');
    this.#fail(reason);
    await new Promise<void>((resolve) => {
      const timer = this.#options.clock.after(CLOSE_PATIENCE, () => {
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

  #makeTurn(signal: AbortSignal | undefined): Turn {
    let question: Uint8Array = new Uint8Array();
    let answers = 0;
    const post = async <T>(spec: MessageSpec<T>, value: T) => {
      this.#seq = (this.#seq % 255) + 1;
      this.#accepted.add(this.#seq);
      question = encodeFrame({ type: spec.type, seq: this.#seq, body: spec.encode(value) });
      await this.#write(question);
    };
    return {
      send: async (spec, value) => {
        this.#accepted.clear();
        this.#empty();
        await post(spec, value);
        return question.length;
      },
      add: post,
      resend: () => this.#write(question),
      next: async (ms) => {
        answers += 1;
        if (answers > MOST_ANSWERS) throw deviceError('device.stuck', 'the device answers without end');
        return await this.#next(ms, signal);
      },
    };
  }

  async #listen(): Promise<void> {
    try {
      for (;;) {
        const bytes = await this.#stream.read();
        if (bytes === null) throw deviceError('device.lost', 'the connection was closed by the other side');
        this.#bytesIn += bytes.length;
        for (const frame of this.#decoder.push(bytes)) this.#sort(frame);
      }
    } catch (thrown) {
      this.#fail(lostBecause(thrown));
    }
  }

  #sort(frame: Frame): void {
    this.#frames += 1;
    this.#waitingSince = undefined;
    if (frame.seq === 0) {
      this.#options.onUnasked(frame);
      return;
    }
    if (!this.#accepted.has(frame.seq) || this.#inboxBytes + frame.body.length > INBOX_LIMIT) {
      this.#stale += 1;
      return;
    }
    this.#inbox.push(frame);
    this.#inboxBytes += frame.body.length;
    this.#wake?.();
  }

  #empty(): void {
    this.#inbox = [];
    this.#inboxBytes = 0;
  }

  #take(): Frame | undefined {
    const frame = this.#inbox.shift();
    if (frame !== undefined) this.#inboxBytes -= frame.body.length;
    return frame;
  }

  #next(ms: number, signal: AbortSignal | undefined): Promise<Frame | undefined> {
    return new Promise((resolve, reject) => {
      let timer: Timer | undefined;
      const settle = () => {
        this.#wake = undefined;
        timer?.cancel();
        signal?.removeEventListener('abort', settle);
        if (signal?.aborted) return reject(signal.reason);
        const frame = this.#take();
        if (frame === undefined && this.#failure !== undefined) return reject(this.#failure);
        resolve(frame);
      };
      if (signal?.aborted || this.#inbox.length > 0 || this.#failure !== undefined) return settle();
      this.#wake = settle;
      timer = this.#options.clock.after(ms, settle);
      signal?.addEventListener('abort', settle, { once: true });
    });
  }

  /** A full line (flow control, a dead adapter) must not hold the asker for ever. */
  async #write(bytes: Uint8Array): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    this.#bytesOut += bytes.length;
    this.#waitingSince ??= this.#options.clock.monotonic();
    const timer = this.#options.clock.after(WRITE_PATIENCE, () => {
      this.abort(deviceError('device.lost', 'the line takes no more bytes'));
    });
    await new Promise<void>((resolve) => {
      this.#wakeWriter = resolve;
      this.#stream.write(bytes).then(resolve, (thrown: unknown) => {
        this.#fail(lostBecause(thrown));
      });
    });
    this.#wakeWriter = undefined;
    timer.cancel();
    if (this.#failure !== undefined) throw this.#failure;
  }

  #fail(reason: SkylarkError): void {
    if (this.#failure !== undefined) return;
    this.#failure = reason;
    this.#lost.resolve(reason);
    this.#wake?.();
    this.#wakeWriter?.();
  }
}
