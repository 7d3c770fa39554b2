/**
 * Skylink's asking side: what a device can be asked, as functions that come back with the right answer or with an error
 * that says why not, whatever the line did meanwhile. The protocol is in `../PROTOCOL.md`.
 */

import type { Clock } from '../../agent/base/clock.ts';
import { errorCode, type SkylarkError } from '../../agent/base/errors.ts';
import { printable } from '../../agent/base/printable.ts';
import type { ByteStream } from '../../agent/base/stream.ts';
import { cutUtf8 } from '../cut-utf8.ts';
import { deviceError } from '../device-error.ts';
import { Asker, refusal, STORAGE_ALLOWANCE } from './asker.ts';
import { combineCrc32c } from './crc32c.ts';
import type { MessageOf } from './fields.ts';
import { CONTENT_OVERHEAD, type Frame, LARGEST_CONTENT } from './frame.ts';
import { Line, type LineCounters } from './line.ts';
import { type FileEntry, type ListingEnd, listFiles } from './listing.ts';
import {
  CAPABILITY,
  CLOCK,
  DELETE,
  DIGEST,
  DONE,
  ERR,
  EVENT,
  EVENT_KIND,
  FILE,
  FILE_FLAG,
  HASH,
  HELLO,
  LOG,
  SHOW,
  SHOW_KIND,
  SKYLINK_VERSION,
  STAT,
  STATE,
  SUBSCRIBE,
  TIME,
  WELCOME,
} from './messages.ts';
import { type ReadableFile, readFile } from './reading.ts';
import { ReadPlan, Tempo } from './tempo.ts';
import { type OutgoingFile, type WrittenFile, writeFile } from './writing.ts';

export type Welcome = MessageOf<typeof WELCOME>;
export type State = MessageOf<typeof STATE>;

export interface SkylinkOptions {
  readonly clock: Clock;
  /** Of a serial line; without it the speed is learned. */
  readonly baud?: number;
  readonly random?: () => number;
  /** What the device says unasked. Must not throw. */
  readonly onUnasked?: (announcement: Announcement) => void;
  /** Ends the greeting; later on, close. */
  readonly signal?: AbortSignal;
  /** How long HELLO is repeated. Milliseconds, default 30,000: many boards restart when their port is opened. */
  readonly helloPatience?: number;
  /** How long the device may leave questions without any valid frame. Milliseconds, default 8,000. */
  readonly patience?: number;
  /** Files in one listing. Default 100,000. */
  readonly mostFiles?: number;
}

export type Announcement =
  | { readonly kind: 'event'; readonly event: MessageOf<typeof EVENT> }
  | { readonly kind: 'log'; readonly level: number; readonly text: string };

export interface LineQuality extends LineCounters {
  /** Questions that had to be asked again, and gaps. */
  readonly retries: number;
  /** Bytes a second, as estimated. */
  readonly rate: number;
}

/** Asked for at once, so that no answer takes long. Bytes. */
const HASH_RANGE = 32_768;
/** Slowest reading of its own memory that a device is granted. Bytes a millisecond. */
const SLOWEST_HASH = 5;
/** PROTOCOL.md, 3: every device can take and send contents of so many bytes. */
const SMALLEST_CONTENT = 64;

/**
 * Greets the device on a stream and takes the stream over.
 * @throws SkylarkError `device.silent` when nothing answers, `device.protocol` when what answers can't be used.
 */
export async function openSkylink(stream: ByteStream, options: SkylinkOptions): Promise<SkylinkHost> {
  const line = new Line(stream, {
    clock: options.clock,
    onUnasked: (frame) => announce(frame, options.onUnasked),
    ...(options.random ? { random: options.random } : {}),
  });
  line.start();
  try {
    return new SkylinkHost(line, await greet(line, options), options);
  } catch (thrown) {
    line.abort(deviceError('device.lost', 'the greeting failed', { cause: thrown }));
    throw thrown;
  }
}

function announce(frame: Frame, listener: SkylinkOptions['onUnasked']): void {
  try {
    if (frame.type === EVENT.type) listener?.({ kind: 'event', event: EVENT.decode(frame.body) });
    if (frame.type !== LOG.type) return;
    const { level, text } = LOG.decode(frame.body);
    listener?.({ kind: 'log', level, text: printable(text, 200) });
  } catch {
    // A malformed announcement announces nothing.
  }
}

async function greet(line: Line, options: SkylinkOptions): Promise<Welcome> {
  const { clock } = options;
  const deadline = clock.monotonic() + (options.helloPatience ?? 30_000);
  return await line.ask(options.signal, async (turn) => {
    await turn.send(HELLO, { version: SKYLINK_VERSION, receive: LARGEST_CONTENT });
    for (let wait = 250; ; ) {
      const frame = await turn.next(wait);
      if (frame?.type === WELCOME.type) return checkWelcome(WELCOME.decode(frame.body));
      if (frame?.type === ERR.type) throw refusal(ERR.decode(frame.body));
      if (clock.monotonic() >= deadline) {
        const { noise, bytesIn } = line.counters;
        throw deviceError(
          'device.silent',
          `no device answers (${bytesIn} bytes came, ${noise} of them noise)`,
          {
            remedy: 'check the cable, the port and the baud rate',
          },
        );
      }
      if (frame !== undefined) continue;
      wait = Math.min(1_000, wait * 1.5);
      await turn.resend();
    }
  });
}

function checkWelcome(welcome: Welcome): Welcome {
  if (welcome.version !== SKYLINK_VERSION) {
    throw deviceError('device.protocol', `the device speaks version ${welcome.version} of Skylink`, {
      remedy: 'update Skylark or the device',
    });
  }
  if (welcome.receive < SMALLEST_CONTENT || welcome.send < SMALLEST_CONTENT) {
    throw deviceError('device.protocol', 'the device announces frames that are too small to be used');
  }
  if (welcome.device.length === 0 || welcome.device.length > 32) {
    throw deviceError('device.protocol', 'the device has no usable device ID');
  }
  return welcome;
}

function largestChunk(welcome: Welcome): number {
  return Math.min(welcome.send, LARGEST_CONTENT) - CONTENT_OVERHEAD - 4;
}

export class SkylinkHost {
  readonly #line: Line;
  readonly #asker: Asker;
  readonly #random: () => number;
  readonly #mostFiles: number;
  #welcome: Welcome;

  constructor(line: Line, welcome: Welcome, options: SkylinkOptions) {
    const tempo = new Tempo(options.baud);
    this.#line = line;
    this.#welcome = welcome;
    this.#random = options.random ?? Math.random;
    this.#mostFiles = options.mostFiles ?? 100_000;
    const plan = new ReadPlan(largestChunk(welcome), tempo);
    this.#asker = new Asker(line, options.clock, tempo, plan, options.patience ?? 8_000);
  }

  /** What the device said of itself last. */
  get welcome(): Welcome {
    return this.#welcome;
  }

  /** Asks the device again who it is, after it has restarted. */
  async greetAgain(signal?: AbortSignal): Promise<void> {
    const question = { version: SKYLINK_VERSION, receive: LARGEST_CONTENT };
    this.#welcome = checkWelcome(await this.#asker.ask(HELLO, question, WELCOME, { signal }));
    this.#asker.plan.limit(largestChunk(this.#welcome));
  }

  can(capability: keyof typeof CAPABILITY): boolean {
    return (this.#welcome.capabilities & CAPABILITY[capability]) !== 0;
  }

  get quality(): LineQuality {
    return {
      ...this.#line.counters,
      retries: this.#asker.retries,
      rate: Math.round(this.#asker.tempo.rate),
    };
  }

  /** Resolves with the reason when the line is gone. */
  get lost(): Promise<SkylarkError> {
    return this.#line.lost;
  }

  /**
   * Files that changed after `since` (0: all), in the device's order.
   * @throws SkylarkError `device.stuck` for a listing that gets nowhere or never ends.
   */
  list(since: number, signal?: AbortSignal): AsyncGenerator<FileEntry, ListingEnd> {
    return listFiles(this.#asker, since, this.#mostFiles, signal);
  }

  /** @returns undefined if the device has no such file. */
  async stat(id: number, signal?: AbortSignal): Promise<FileEntry | undefined> {
    try {
      const file = await this.#asker.ask(STAT, { id }, FILE, { signal });
      return file.flags & FILE_FLAG.deleted ? undefined : file;
    } catch (thrown) {
      if (errorCode(thrown) === 'device.not_found') return undefined;
      throw thrown;
    }
  }

  /** CRC-32C of the whole file as the device has it. */
  async hash(file: ReadableFile, signal?: AbortSignal): Promise<number> {
    let crc = 0;
    for (let offset = 0; offset < file.size; ) {
      const length = Math.min(HASH_RANGE, file.size - offset);
      const question = { id: file.id, generation: file.generation, offset, length };
      const allowance = STORAGE_ALLOWANCE + length / SLOWEST_HASH;
      const digest = await this.#asker.ask(HASH, question, DIGEST, { signal, allowance });
      if (digest.length === 0 || digest.length > length) {
        throw deviceError('device.protocol', 'the device hashed another range than was asked');
      }
      crc = combineCrc32c(crc, digest.crc, digest.length);
      offset += digest.length;
    }
    return crc;
  }

  /**
   * The file's bytes from `offset` to its end, in order, none twice.
   * @throws SkylarkError `device.changed` when the generation is not the present one any more.
   */
  read(file: ReadableFile, offset: number, signal?: AbortSignal): AsyncGenerator<Uint8Array, void> {
    return readFile(this.#asker, file, offset, signal);
  }

  /** Stores a file; the device shows it only when it is whole. */
  write(file: OutgoingFile, signal?: AbortSignal): Promise<WrittenFile> {
    return writeFile(this.#asker, this.#welcome.receive, file, this.#random, signal);
  }

  async delete(id: number, generation: number, signal?: AbortSignal): Promise<void> {
    let asked = 0;
    const options = { signal, allowance: STORAGE_ALLOWANCE, onAsked: () => void asked++ };
    try {
      await this.#asker.ask(DELETE, { id, generation }, DONE, options);
    } catch (thrown) {
      // The first question was obeyed and its answer lost.
      if (asked > 1 && errorCode(thrown) === 'device.not_found') return;
      throw thrown;
    }
  }

  /**
   * @param milliseconds since 1970.
   * @returns the device's own clock just before; 0 if it was not running.
   */
  async setTime(milliseconds: number, zoneMinutes: number, signal?: AbortSignal): Promise<number> {
    const seconds = Math.floor(milliseconds / 1000);
    const question = { seconds, milliseconds: Math.floor(milliseconds - seconds * 1000), zoneMinutes };
    const clock = await this.#asker.ask(TIME, question, CLOCK, { signal });
    return clock.seconds * 1000 + clock.milliseconds;
  }

  /**
   * @param text what does not fit a frame of the device is cut off.
   * @param seconds how long; 0: until something else is shown.
   */
  async show(
    kind: keyof typeof SHOW_KIND,
    text: string,
    seconds: number,
    signal?: AbortSignal,
  ): Promise<void> {
    const fitting = cutUtf8(text, Math.min(255, this.#welcome.receive - CONTENT_OVERHEAD - 4));
    await this.#asker.ask(SHOW, { kind: SHOW_KIND[kind], seconds, text: fitting }, DONE, { signal });
  }

  /** Asks for the state, and to be told of these events from now on. */
  async subscribe(events: readonly (keyof typeof EVENT_KIND)[], signal?: AbortSignal): Promise<State> {
    const mask = events.reduce((bits, event) => bits | (1 << EVENT_KIND[event]), 0);
    return await this.#asker.ask(SUBSCRIBE, { events: mask }, STATE, { signal });
  }

  close(): Promise<void> {
    return this.#line.close();
  }

  /** Lets go of the line at once. */
  abort(reason: SkylarkError): void {
    this.#line.abort(reason);
  }
}
