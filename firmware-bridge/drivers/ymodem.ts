/**
 * Devices that send files by YMODEM when somebody presses a button there, and that may take files in the same way. The host
 * asks for files all the time; a file that comes is offered, and passed on block by block as fast as it is stored: nothing of
 * it is held, and nothing is acknowledged before.
 */

import { type Clock, sleep } from '../../agent/base/clock.ts';
import { asError, SkylarkError, userError } from '../../agent/base/errors.ts';
import { printable } from '../../agent/base/printable.ts';
import type { ByteStream } from '../../agent/base/stream.ts';
import { ByteLine } from '../byte-line.ts';
import { deviceError } from '../device-error.ts';
import { ACK, CRC_WANTED, type Heard, NAK } from '../ymodem/blocks.ts';
import { LARGEST_SIZE, LONGEST_NAME } from '../ymodem/header.ts';
import { Offer, type Outcome } from '../ymodem/offer.ts';
import { type IncomingTransfer, ReceivingLine, transferOf } from '../ymodem/receiving.ts';
import { sendFile } from '../ymodem/sending.ts';
import type {
  Capability,
  Device,
  DeviceFacts,
  DeviceFile,
  Driver,
  DriverOptions,
  FileToWrite,
  LineStatistics,
  ListItem,
} from './driver.ts';
import { identityOfLine } from './line-identity.ts';

/** A device that begins to send is heard within this. Milliseconds. */
const POLL = 1_500;
/** Every so manieth time devices are asked that know sums only. Those that know CRCs might answer it too, hence seldom. */
const SUM_EVERY = 8;
/** After a refusal: the sender gives up in peace. Milliseconds. */
const AFTER_REFUSAL = 2_000;

export const ymodemDriver: Driver = {
  name: 'ymodem',
  async open(connection, options) {
    if (connection.kind !== 'stream')
      throw userError('bridge.connection', 'YMODEM needs a serial or network line');
    return new YmodemDevice(connection.stream, options);
  },
};

interface Job {
  readonly work: () => Promise<void>;
  readonly fail: (reason: unknown) => void;
}

class YmodemDevice implements Device {
  readonly facts: DeviceFacts;
  readonly capabilities: readonly Capability[] = [
    { kind: 'offers' },
    { kind: 'read', resume: false },
    { kind: 'write', largest: LARGEST_SIZE, nameBytes: LONGEST_NAME },
  ];
  readonly lost: Promise<SkylarkError>;
  readonly #line: ByteLine;
  readonly #receiving: ReceivingLine;
  readonly #options: DriverOptions;
  readonly #clock: Clock;
  readonly #opened: number;
  readonly #session: string;
  readonly #ended = new AbortController();
  #jobs: Job[] = [];
  #wake = new AbortController();
  #offer: Offer | undefined;
  #offers = 0;
  /** The sender may not have heard that its last file was stored. */
  #mayConfirm = false;
  #resent = 0;

  constructor(stream: ByteStream, options: DriverOptions) {
    const { clock, random = Math.random } = options;
    this.#options = options;
    this.#clock = clock;
    this.#opened = clock.monotonic();
    this.#session = Math.floor(random() * 2 ** 48).toString(36);
    this.facts = { id: identityOfLine('ymodem', stream.label), model: 'YMODEM device', firmware: '' };
    this.#line = new ByteLine(stream, clock);
    this.#receiving = new ReceivingLine(this.#line, clock);
    this.lost = this.#line.lost;
    void this.lost.then((reason) => this.#end(reason));
    void this.#serve();
  }

  get statistics(): LineStatistics {
    const { bytesIn, bytesOut } = this.#line;
    const { damaged, retries } = this.#receiving.tally;
    const seconds = (this.#clock.monotonic() - this.#opened) / 1_000;
    const rate = seconds > 0 ? (bytesIn + bytesOut) / seconds : 0;
    return { bytesIn, bytesOut, crcErrors: damaged, retries: retries + this.#resent, rate };
  }

  // biome-ignore lint/correctness/useYield: there is nothing to list
  async *list(_since: string | undefined, signal?: AbortSignal): AsyncGenerator<ListItem, void> {
    this.#check(signal);
    throw deviceError('device.unsupported', 'YMODEM can not ask what files there are');
  }

  async stat(key: string, signal?: AbortSignal): Promise<DeviceFile | undefined> {
    this.#check(signal);
    const offer = this.#present;
    return offer?.file.key === key ? offer.file : undefined;
  }

  /** Once, from the start, while it is offered. @throws `device.transfer` when it does not arrive whole. */
  async *read(file: DeviceFile, offset: number, signal?: AbortSignal): AsyncGenerator<Uint8Array, void> {
    this.#check(signal);
    if (offset !== 0) throw deviceError('device.unsupported', 'YMODEM sends files from their start only');
    const offer = this.#present;
    if (offer?.file.version !== file.version) {
      throw deviceError('device.not_found', `${printable(file.name, 80)} is not offered any more`);
    }
    yield* offer.read(signal);
  }

  async release(file: DeviceFile, isStored: boolean): Promise<void> {
    if (this.#offer?.file.version === file.version) this.#offer.release(isStored);
  }

  async digest(_file: DeviceFile, signal?: AbortSignal): Promise<number> {
    throw this.#unsupported(signal);
  }

  /**
   * Sends the file as soon as the device waits for one. What it then does with it is its own affair.
   * @throws `device.busy` if it does not wait; `device.refused`, `device.transfer`; `device.unsupported` if nothing may be
   *   replaced, since it can't be asked what it has; `bridge.not_for_device`, `bridge.content_size`.
   */
  async write(
    file: FileToWrite,
    signal?: AbortSignal,
  ): Promise<{ readonly key: string; readonly version: string }> {
    this.#check(signal);
    const { name, size, mtime, content, replace } = file;
    if (!replace) {
      throw deviceError(
        'device.unsupported',
        'YMODEM can not tell whether the device has a file of that name',
        {
          remedy: 'allow it to be replaced',
        },
      );
    }
    if (size > LARGEST_SIZE) {
      throw userError('bridge.not_for_device', `${printable(name, 80)} is too large for YMODEM`);
    }
    const header = { name, size, mtime: mtime === undefined ? undefined : secondsOf(mtime) };
    await this.#enqueue(async () => {
      signal?.throwIfAborted();
      const onRetry = () => {
        this.#resent += 1;
      };
      this.#mayConfirm = false;
      await sendFile(this.#line, this.#clock, { ...header, content }, onRetry, signal);
    });
    return { key: name, version: this.#version() };
  }

  async delete(_file: DeviceFile, signal?: AbortSignal): Promise<void> {
    throw this.#unsupported(signal);
  }

  async setClock(_now: bigint, _zone: number, signal?: AbortSignal): Promise<bigint | undefined> {
    throw this.#unsupported(signal);
  }

  async show(_display: unknown, _seconds: number, signal?: AbortSignal): Promise<void> {
    throw this.#unsupported(signal);
  }

  async close(): Promise<void> {
    if (!this.#ended.signal.aborted && this.#present !== undefined)
      void this.#receiving.cancel().catch(() => {});
    this.#end(deviceError('device.lost', 'the device was closed'));
    await this.#line.close();
  }

  get #present(): Offer | undefined {
    return this.#offer?.isOver === false ? this.#offer : undefined;
  }

  #check(signal: AbortSignal | undefined): void {
    signal?.throwIfAborted();
    this.#ended.signal.throwIfAborted();
  }

  #unsupported(signal: AbortSignal | undefined): SkylarkError {
    this.#check(signal);
    return deviceError('device.unsupported', 'YMODEM can not do that');
  }

  /** Never one that was before: the protocol has nothing that tells two contents apart. */
  #version(): string {
    this.#offers += 1;
    return `${this.#session}.${this.#offers}`;
  }

  #end(reason: SkylarkError): void {
    if (this.#ended.signal.aborted) return;
    this.#ended.abort(reason);
    this.#offer?.release(false);
    for (const { fail } of this.#jobs.splice(0)) fail(reason);
  }

  #enqueue(work: () => Promise<void>): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#jobs.push({ work: async () => void (await work().then(resolve, reject)), fail: reject });
    this.#wake.abort();
    return promise;
  }

  /** Never rejects. */
  async #serve(): Promise<void> {
    const { signal } = this.#ended;
    try {
      for (let polls = 1; ; polls++) {
        signal.throwIfAborted();
        const job = this.#jobs.shift();
        if (job !== undefined) {
          await job.work();
          continue;
        }
        this.#wake = new AbortController();
        const heard = await this.#poll(polls, AbortSignal.any([signal, this.#wake.signal]));
        if (heard !== undefined) await this.#heard(heard, signal);
      }
    } catch (thrown) {
      if (signal.aborted) return;
      const reason = thrown instanceof SkylarkError ? thrown : undefined;
      this.#line.abort(reason ?? deviceError('device.lost', asError(thrown).message, { cause: thrown }));
    }
  }

  async #poll(polls: number, signal: AbortSignal): Promise<Heard | undefined> {
    const asksForSums = polls % SUM_EVERY === 0;
    this.#receiving.expect(asksForSums ? 'either' : 'crc');
    await this.#receiving.say(asksForSums ? NAK : CRC_WANTED);
    try {
      const heard = await this.#receiving.hear(POLL, signal);
      return heard?.kind === 'block' && heard.check === 'sum' ? await this.#askForCrc(heard, signal) : heard;
    } catch (thrown) {
      if (signal.aborted) return undefined;
      throw thrown;
    }
  }

  /** A sender that knows CRCs and happened to hear the other question says it again with one; any other has said it. */
  async #askForCrc(withSum: Heard, signal: AbortSignal): Promise<Heard> {
    await this.#receiving.say(CRC_WANTED);
    const again = await this.#receiving.hear(POLL, signal);
    return again?.kind === 'block' && again.check === 'crc' ? again : withSum;
  }

  async #heard(heard: Heard, signal: AbortSignal): Promise<void> {
    if (heard.kind === 'end' && this.#mayConfirm) {
      await this.#receiving.say(ACK, CRC_WANTED);
      return;
    }
    if (heard.kind !== 'block') return;
    if (heard.number !== 0) {
      // The middle of a transfer that began before this one listened, or that is lost.
      await this.#refuse(signal);
      return;
    }
    let transfer: IncomingTransfer | undefined;
    try {
      transfer = transferOf(this.#receiving, heard);
    } catch (thrown) {
      this.#tell('warn', asError(thrown).message);
      await this.#refuse(signal);
      return;
    }
    this.#mayConfirm = false;
    if (transfer === undefined) await this.#receiving.say(ACK);
    else await this.#receive(transfer, signal);
  }

  async #receive(transfer: IncomingTransfer, signal: AbortSignal): Promise<void> {
    let outcome: Outcome;
    try {
      outcome = await this.#makeOffer(transfer, signal);
    } catch (thrown) {
      signal.throwIfAborted();
      this.#tell('warn', asError(thrown).message);
      outcome = { kind: 'failed', error: thrown };
    }
    signal.throwIfAborted();
    if (outcome.kind === 'stored' && !this.#receiving.skip()) {
      this.#mayConfirm = true;
      await this.#receiving.say(ACK);
    } else if (!transfer.isOff) {
      await this.#refuse(signal);
    }
  }

  async #makeOffer(transfer: IncomingTransfer, signal: AbortSignal): Promise<Outcome> {
    const { name, size, mtime } = transfer.header;
    // Without a length it has to be held, within bounds, until its end has told the length.
    const held = size === undefined ? await collect(transfer, signal) : undefined;
    const file: DeviceFile = {
      key: name,
      version: this.#version(),
      name,
      size: size ?? transfer.received,
      mtime: mtime === undefined ? undefined : BigInt(mtime) * 1_000_000_000n,
      complete: true,
    };
    const content = (reader: AbortSignal | undefined) =>
      held === undefined
        ? this.#stream(transfer, reader ? AbortSignal.any([signal, reader]) : signal)
        : replay(held);
    this.#offer = new Offer(file, this.#clock, content);
    this.#options.onEvent({ kind: 'offered', file });
    return await this.#offer.outcome;
  }

  async *#stream(transfer: IncomingTransfer, signal: AbortSignal): AsyncGenerator<Uint8Array, void> {
    signal.throwIfAborted();
    if (this.#receiving.skip()) throw deviceError('device.transfer', 'the device has cancelled the transfer');
    await transfer.accept();
    yield* transfer.content(signal);
  }

  async #refuse(signal: AbortSignal): Promise<void> {
    this.#mayConfirm = false;
    await this.#receiving.cancel();
    await sleep(this.#clock, AFTER_REFUSAL, signal);
    this.#receiving.skip();
  }

  #tell(level: 'warn', text: string): void {
    this.#options.onEvent({ kind: 'log', level, text });
  }
}

async function collect(transfer: IncomingTransfer, signal: AbortSignal): Promise<Uint8Array[]> {
  const pieces: Uint8Array[] = [];
  await transfer.accept();
  for await (const piece of transfer.content(signal)) pieces.push(piece);
  return pieces;
}

async function* replay(pieces: readonly Uint8Array[]): AsyncGenerator<Uint8Array, void> {
  yield* pieces;
}

function secondsOf(time: bigint): number {
  const seconds = time / 1_000_000_000n;
  return seconds > 0n && seconds < 2n ** 36n ? Number(seconds) : 0;
}
