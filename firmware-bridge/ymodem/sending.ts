/** The sending side of YMODEM: one file as a batch of one, each block repeated until it is acknowledged. */

import { concatBytes } from '../../agent/base/bytes.ts';
import type { Clock } from '../../agent/base/clock.ts';
import { userError } from '../../agent/base/errors.ts';
import { printable } from '../../agent/base/printable.ts';
import type { ByteLine } from '../byte-line.ts';
import { deviceError } from '../device-error.ts';
import {
  ACK,
  CAN,
  CANCEL,
  type Check,
  CRC_WANTED,
  EOT,
  encodeBlock,
  LONG_BLOCK,
  NAK,
  SHORT_BLOCK,
} from './blocks.ts';
import { encodeHeader, type FileHeader } from './header.ts';

/** How long somebody may take to make the device receive. Milliseconds. */
const START_PATIENCE = 60_000;
/** Before a block is said again; receivers that notice damage ask for it themselves. Milliseconds. */
const REPLY_PATIENCE = 4_000;
/** lrzsz asks every ten seconds what comes next. Milliseconds. */
const END_PATIENCE = 12_000;
const END_TRIES = 3;
/** A device that has to erase its flash before it wants the content. Milliseconds. */
const CONTENT_PATIENCE = 30_000;
const MOST_ERRORS = 10;
/** After so many errors what is left goes in short blocks. */
const ERRORS_FOR_SHORT = 5;

export interface OutgoingContent extends FileHeader {
  readonly size: number;
  readonly content: () => AsyncIterable<Uint8Array>;
}

type Reply = 'ack' | 'nak' | 'crc' | 'cancel' | undefined;

/**
 * @param onRetry told of each thing that was said again.
 * @throws SkylarkError `device.busy` when the device does not wait for a file, `device.refused` when it cancels,
 *   `device.transfer` when it stops answering; `bridge.content_size`; or the signal's reason.
 */
export async function sendFile(
  line: ByteLine,
  clock: Clock,
  file: OutgoingContent,
  onRetry: () => void,
  signal?: AbortSignal,
): Promise<void> {
  const header = encodeHeader(file);
  const sender = new Sender(line, clock, printable(file.name, 80), onRetry, signal);
  try {
    await sender.start();
    await sender.block(0, header, 0);
    await sender.awaitAsking();
    let number = 1;
    let sent = 0;
    for await (const data of blocksOf(file, () => sender.isInTrouble)) {
      await sender.block(number, data);
      number = (number + 1) & 255;
      sent += data.length;
    }
    if (sent !== file.size) throw contentSize(file);
    await sender.end();
  } catch (thrown) {
    // The device must not take what has come for the whole file.
    await line.write(CANCEL).catch(() => {});
    throw thrown;
  }
}

function contentSize({ name }: FileHeader) {
  return userError('bridge.content_size', `${printable(name, 80)} is not as long as was said`);
}

/** Cuts the content into 1024 bytes and a shorter rest. */
async function* blocksOf(
  file: OutgoingContent,
  isInTrouble: () => boolean,
): AsyncGenerator<Uint8Array, void> {
  let held: Uint8Array = new Uint8Array();
  let total = 0;
  for await (const piece of file.content()) {
    total += piece.length;
    if (total > file.size) throw contentSize(file);
    held = concatBytes(held, piece);
    for (;;) {
      const length = isInTrouble() ? SHORT_BLOCK : LONG_BLOCK;
      if (held.length < length) break;
      yield held.subarray(0, length);
      held = held.subarray(length);
    }
  }
  while (held.length > 0) {
    const length = isInTrouble() ? SHORT_BLOCK : LONG_BLOCK;
    yield held.subarray(0, length);
    held = held.subarray(length);
  }
}

class Sender {
  readonly #line: ByteLine;
  readonly #clock: Clock;
  readonly #name: string;
  readonly #onRetry: () => void;
  readonly #signal: AbortSignal | undefined;
  #check: Check = 'crc';
  #pending: Uint8Array = new Uint8Array();
  #cancels = 0;
  #errors = 0;

  constructor(
    line: ByteLine,
    clock: Clock,
    name: string,
    onRetry: () => void,
    signal: AbortSignal | undefined,
  ) {
    this.#line = line;
    this.#clock = clock;
    this.#name = name;
    this.#onRetry = onRetry;
    this.#signal = signal;
  }

  get isInTrouble(): boolean {
    return this.#errors >= ERRORS_FOR_SHORT;
  }

  /** Waits for the device to ask for a file: with `C`, or with NAK if it knows sums only. */
  async start(): Promise<void> {
    this.#forget();
    // What is cancelled before anything was sent is the transfer before.
    const reply = await this.#await(['crc', 'nak'], START_PATIENCE, true);
    if (reply === undefined) {
      throw deviceError('device.busy', `the device does not wait for ${this.#name}`, {
        remedy: 'start the receiving on the device',
      });
    }
    this.#check = reply === 'crc' ? 'crc' : 'sum';
  }

  /** Some devices ask for the content as soon as the header is there, others when they have made room. */
  async awaitAsking(): Promise<void> {
    if ((await this.#await(['crc', 'nak'], CONTENT_PATIENCE)) === undefined) throw this.#silent();
  }

  async block(number: number, data: Uint8Array, padding?: number): Promise<void> {
    await this.#insist(encodeBlock(number, data, this.#check, padding));
  }

  /** The end of the file, and of the batch. */
  async end(): Promise<void> {
    await this.#insist(Uint8Array.of(EOT));
    // It has acknowledged the file. Until it has heard that no other follows, anything else that is said would disturb it.
    for (let tries = 0; tries < END_TRIES; tries++) {
      if ((await this.#await(['crc', 'nak'], END_PATIENCE)) === undefined) return;
      await this.#line.write(encodeBlock(0, new Uint8Array(), this.#check, 0));
      if ((await this.#await(['ack'], REPLY_PATIENCE)) === 'ack') return;
    }
  }

  async #insist(bytes: Uint8Array): Promise<void> {
    for (let errors = 0; errors <= MOST_ERRORS; errors++) {
      // What came before this is no answer to it.
      this.#forget();
      await this.#line.write(bytes);
      const reply = await this.#await(['ack', 'nak'], REPLY_PATIENCE);
      if (reply === 'ack') return;
      this.#errors += 1;
      this.#onRetry();
    }
    throw this.#silent();
  }

  #silent() {
    return deviceError('device.transfer', `the device does not answer while ${this.#name} is sent`, {
      remedy: 'start the receiving on the device again',
    });
  }

  #forget(): void {
    this.#line.drain();
    this.#pending = new Uint8Array();
    this.#cancels = 0;
  }

  /** The first of these replies; undefined if none comes in time. @throws `device.refused` when it cancels. */
  async #await(wanted: readonly Reply[], ms: number, mayBeStale = false): Promise<Reply> {
    const deadline = this.#clock.monotonic() + ms;
    for (;;) {
      for (const byte of this.#pending) {
        this.#pending = this.#pending.subarray(1);
        const reply = this.#read(byte);
        if (reply === 'cancel' && !mayBeStale) {
          throw deviceError('device.refused', `the device has cancelled ${this.#name}`, {
            remedy: 'look at its display or console for the reason',
          });
        }
        if (wanted.includes(reply)) return reply;
      }
      const left = deadline - this.#clock.monotonic();
      if (left <= 0) return undefined;
      const bytes = await this.#line.next(left, this.#signal);
      if (bytes === undefined) return undefined;
      this.#pending = bytes;
    }
  }

  #read(byte: number): Reply {
    this.#cancels = byte === CAN ? this.#cancels + 1 : 0;
    if (this.#cancels === 2) return 'cancel';
    if (byte === ACK) return 'ack';
    if (byte === NAK) return 'nak';
    return byte === CRC_WANTED ? 'crc' : undefined;
  }
}
