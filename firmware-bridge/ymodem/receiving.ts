/**
 * The receiving side of YMODEM. Nothing is acknowledged before it is stored: that is the flow control, and the sender's
 * assurance. The protocol has no checksum of a whole file; what holds instead is that every block is checked and numbered, and
 * that the end counts only at the announced length.
 */

import type { Clock } from '../../agent/base/clock.ts';
import { printable } from '../../agent/base/printable.ts';
import type { ByteLine } from '../byte-line.ts';
import { deviceError } from '../device-error.ts';
import { ACK, BlockScanner, CANCEL, type Check, CRC_WANTED, type Heard, NAK } from './blocks.ts';
import { decodeHeader, type FileHeader } from './header.ts';

/** Senders repeat a block that is not acknowledged, the quickest after a second or so. Milliseconds. */
const SLOW_STORING = 900;
/** Between two bytes of one block. Milliseconds. */
const GAP = 700;
/** After anything else that is no block: it is whole then, or the line is clear. Milliseconds. */
const QUIET = 150;
/** Before something is asked again. Milliseconds. */
const PATIENCE = 3_000;
const MOST_ERRORS = 10;
/** Nothing at all comes, however often it is asked for. */
const MOST_SILENCES = 7;
/** An end before the announced length is noise, unless the sender insists. */
const MOST_EARLY_ENDS = 3;
/** Of a file whose length is not announced: it is held until its end tells the length. */
export const LONGEST_UNANNOUNCED = 1_048_576;

export interface Tally {
  damaged: number;
  retries: number;
}

type Block = Extract<Heard, { kind: 'block' }>;

/** What the sender says, and the few bytes that it is told. */
export class ReceivingLine {
  readonly #line: ByteLine;
  readonly clock: Clock;
  readonly #scanner = new BlockScanner('crc');
  #heard: Heard[] = [];
  readonly tally: Tally = { damaged: 0, retries: 0 };

  constructor(line: ByteLine, clock: Clock) {
    this.#line = line;
    this.clock = clock;
  }

  expect(check: Check | 'either'): void {
    this.#scanner.check = check;
  }

  /** What comes next; undefined if nothing comes within `ms`. */
  async hear(ms: number, signal?: AbortSignal): Promise<Heard | undefined> {
    const deadline = this.clock.monotonic() + ms;
    for (;;) {
      const heard = this.#heard.shift();
      if (heard !== undefined) return this.#count(heard);
      const left = deadline - this.clock.monotonic();
      // A slow line may be in the middle of a block; noise without a pause ends the waiting.
      if (left <= 0 && !this.#scanner.isWithinBlock) {
        const hadNoise = !this.#scanner.isEmpty;
        return hadNoise ? this.#count({ kind: 'damaged' }) : undefined;
      }
      const pause = this.#scanner.isEmpty ? left : this.#scanner.isWithinBlock ? GAP : QUIET;
      const bytes = await this.#line.next(Math.max(1, pause), signal);
      if (bytes !== undefined) {
        this.#heard.push(...this.#scanner.push(bytes));
        continue;
      }
      const rest = this.#scanner.quiet();
      if (rest !== undefined) return this.#count(rest);
    }
  }

  /** Forgets what has come meanwhile. @returns whether the sender has cancelled in it. */
  skip(): boolean {
    for (const bytes of this.#line.drain()) this.#heard.push(...this.#scanner.push(bytes));
    const rest = this.#scanner.quiet();
    this.#heard = [];
    return rest?.kind === 'cancel';
  }

  async say(...bytes: readonly number[]): Promise<void> {
    await this.#line.write(Uint8Array.from(bytes));
  }

  /** Asks for the same again. */
  async sayAgain(...bytes: readonly number[]): Promise<void> {
    this.tally.retries += 1;
    await this.say(...bytes);
  }

  async cancel(): Promise<void> {
    await this.#line.write(CANCEL);
  }

  #count(heard: Heard): Heard {
    if (heard.kind === 'damaged') this.tally.damaged += 1;
    return heard;
  }
}

/** One file on its way, from its header, not yet acknowledged, to its end, not yet acknowledged either. */
export class IncomingTransfer {
  readonly header: FileHeader;
  readonly check: Check;
  readonly #line: ReceivingLine;
  readonly #clock: Clock;
  readonly #headerData: Uint8Array;
  /** Number of the next block. */
  #expected = 1;
  #received = 0;
  #isOff = false;

  constructor(line: ReceivingLine, header: FileHeader, block: Block) {
    this.#line = line;
    this.#clock = line.clock;
    this.header = header;
    this.check = block.check;
    this.#headerData = block.data;
  }

  /** Bytes of content so far. */
  get received(): number {
    return this.#received;
  }

  /** The sender has given it up by itself: it need not be told. */
  get isOff(): boolean {
    return this.#isOff;
  }

  /** Asks for the content: the header is accepted. */
  async accept(): Promise<void> {
    this.#line.expect(this.check);
    await this.#line.say(ACK, this.#ask);
  }

  /**
   * The content, cut to the announced length. Each piece is acknowledged when the next one is asked for.
   * @throws SkylarkError `device.transfer` when it ends early or is cancelled; `device.protocol`.
   */
  async *content(signal?: AbortSignal): AsyncGenerator<Uint8Array, void> {
    let errors = 0;
    let silences = 0;
    let ends = 0;
    for (;;) {
      const heard = await this.#line.hear(PATIENCE, signal);
      if (heard?.kind === 'cancel') throw this.#offBecause('the device has cancelled it');
      if (heard?.kind === 'end') {
        if (this.#mayEnd(ends)) break;
        ends += 1;
        if (ends >= MOST_EARLY_ENDS) throw this.#broken('the device ends it before its length is reached');
        await this.#line.sayAgain(NAK);
        continue;
      }
      ends = 0;
      if (heard?.kind === 'block') {
        const data = this.#next(heard);
        if (data !== undefined) {
          errors = 0;
          if (data.length > 0) {
            const given = this.#clock.monotonic();
            yield data;
            // A slow disk: the sender may have said it again, and one acknowledgement too many puts it ahead.
            if (this.#clock.monotonic() - given > SLOW_STORING && this.#line.skip()) {
              throw this.#offBecause('the device has cancelled it');
            }
          }
          this.#received += data.length;
          this.#expected = (this.#expected + 1) & 255;
          await this.#line.say(ACK);
          continue;
        }
      }
      errors += 1;
      silences = heard === undefined ? silences + 1 : 0;
      // Cancelling would lie in some buffer and meet whoever comes next.
      if (silences >= MOST_SILENCES) throw this.#offBecause('the device has stopped sending');
      if (errors > MOST_ERRORS) throw this.#broken('nothing more came that fits');
      if (heard?.kind === 'block') await this.#confirmAgain();
      else await this.#line.sayAgain(this.#isAtStart ? this.#ask : NAK);
    }
  }

  get #ask(): number {
    return this.check === 'crc' ? CRC_WANTED : NAK;
  }

  get #isAtStart(): boolean {
    return this.#expected === 1 && this.#received === 0;
  }

  #mayEnd(ends: number): boolean {
    const { size } = this.header;
    // Without a length an end must be said twice: it is a single byte.
    return size === undefined ? ends > 0 : this.#received === size;
  }

  /** @returns what is new in the block; undefined if it is the one before, once more. */
  #next({ number, data }: Block): Uint8Array | undefined {
    const { size } = this.header;
    const isHeader = number === 0 && sameBytes(data, this.#headerData);
    if (this.#isAtStart && isHeader) return undefined;
    // Also where block 256 is due: what is sent from its start again must not be taken for more of the same.
    if (isHeader) throw this.#offBecause('the device has begun anew');
    if (number === ((this.#expected - 1) & 255) && !this.#isAtStart) return undefined;
    if (number !== this.#expected) throw this.#broken(`block ${number} came instead of ${this.#expected}`);
    const left = (size ?? LONGEST_UNANNOUNCED) - this.#received;
    if (left > 0 || (size === 0 && this.#isAtStart)) {
      if (size === undefined && data.length > left) throw this.#tooLong();
      return data.subarray(0, left);
    }
    if (size === undefined) throw this.#tooLong();
    throw deviceError('device.protocol', `${this.#name} is longer than announced`);
  }

  /** The acknowledgement was lost. */
  async #confirmAgain(): Promise<void> {
    if (this.#isAtStart) await this.#line.sayAgain(ACK, this.#ask);
    else await this.#line.sayAgain(ACK);
  }

  get #name(): string {
    return printable(this.header.name, 80);
  }

  #offBecause(why: string) {
    this.#isOff = true;
    return this.#broken(why);
  }

  #broken(why: string) {
    return deviceError('device.transfer', `${this.#name} did not arrive whole: ${why}`, {
      remedy: 'send it again',
    });
  }

  #tooLong() {
    return deviceError('device.protocol', `${this.#name} has no announced length and is too long to be held`);
  }
}

/**
 * What a block 0 announces.
 * @returns undefined for the end of the batch.
 * @throws SkylarkError `device.protocol`.
 */
export function transferOf(line: ReceivingLine, block: Block): IncomingTransfer | undefined {
  const header = decodeHeader(block.data);
  return header && new IncomingTransfer(line, header, block);
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
