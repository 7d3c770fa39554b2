/**
 * Musical instruments that send and take files by MIDI File Dump: when somebody chooses so on the instrument. A file that
 * comes is held until it is stored, and only then is its last packet acknowledged.
 */

import { type Clock, sleep } from '../../agent/base/clock.ts';
import { asError, SkylarkError, userError } from '../../agent/base/errors.ts';
import { printable } from '../../agent/base/printable.ts';
import { ByteLine } from '../byte-line.ts';
import { deviceError } from '../device-error.ts';
import { DumpLine } from '../midi-file-dump/dump-line.ts';
import { type FileHeader, LONGEST_FILE, LONGEST_NAME } from '../midi-file-dump/messages.ts';
import { type Received, receiveFile } from '../midi-file-dump/receiving.ts';
import { sendFile } from '../midi-file-dump/sending.ts';
import { Offer } from '../ymodem/offer.ts';
import type {
  Capability,
  Connection,
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

/** As what we speak, and to whom until a device has said its own number: everybody. */
const OWN_NUMBER = 0x10;
const ANYBODY = 0x7f;
/** How often the line is listened to between jobs. Milliseconds. */
const POLL = 1_000;
/** A device that is told to wait is told again, lest it gives up. Milliseconds. */
const WAIT_AGAIN = 5_000;
/** Names of types, with the extensions that files of theirs have here. */
const EXTENSIONS: ReadonlyMap<string, string> = new Map([
  ['MIDI', '.mid'],
  ['SMF', '.mid'],
  ['MIEX', '.mix'],
  ['ESEQ', '.esq'],
  ['TEXT', '.txt'],
]);
const TYPES: ReadonlyMap<string, string> = new Map([
  ['.mid', 'MIDI'],
  ['.txt', 'TEXT'],
]);

export const midiFileDumpDriver: Driver = {
  name: 'midi-file-dump',
  open(connection: Connection, options: DriverOptions) {
    if (connection.kind !== 'stream')
      return Promise.reject(userError('bridge.connection', 'MIDI File Dump needs a serial or network line'));
    return Promise.resolve(new DumpDevice(connection, options));
  },
};

interface Job {
  readonly work: () => Promise<void>;
  readonly fail: (reason: unknown) => void;
}

class DumpDevice implements Device {
  readonly facts: DeviceFacts;
  readonly capabilities: readonly Capability[] = [
    { kind: 'offers' },
    { kind: 'read', resume: false },
    { kind: 'write', largest: LONGEST_FILE, nameBytes: LONGEST_NAME },
  ];
  readonly lost: Promise<SkylarkError>;
  readonly #line: ByteLine;
  readonly #dump: DumpLine;
  readonly #options: DriverOptions;
  readonly #clock: Clock;
  readonly #opened: number;
  readonly #session: string;
  readonly #ended = new AbortController();
  readonly #jobs: Job[] = [];
  #wake = new AbortController();
  #offer: Offer | undefined;
  #versions = 0;
  #retries = 0;
  /** The number that the device has last spoken by. */
  #number = ANYBODY;

  constructor({ stream }: Extract<Connection, { kind: 'stream' }>, options: DriverOptions) {
    const { clock, random = Math.random } = options;
    this.#options = options;
    this.#clock = clock;
    this.#opened = clock.monotonic();
    this.#session = Math.floor(random() * 2 ** 48).toString(36);
    this.facts = { id: identityOfLine('midi', stream.label), model: 'MIDI device', firmware: '' };
    this.#line = new ByteLine(stream, clock);
    this.#dump = new DumpLine(this.#line, clock);
    this.lost = this.#line.lost;
    void this.lost.then((reason) => this.#end(reason));
    void this.#serve();
  }

  get statistics(): LineStatistics {
    const { bytesIn, bytesOut } = this.#line;
    const seconds = (this.#clock.monotonic() - this.#opened) / 1_000;
    const rate = seconds > 0 ? (bytesIn + bytesOut) / seconds : 0;
    return { bytesIn, bytesOut, crcErrors: this.#dump.damaged, retries: this.#retries, rate };
  }

  // biome-ignore lint/correctness/useYield: there is nothing to list
  async *list(_since: string | undefined, signal?: AbortSignal): AsyncGenerator<ListItem, void> {
    throw this.#unsupported(signal);
  }

  async stat(key: string, signal?: AbortSignal): Promise<DeviceFile | undefined> {
    this.#check(signal);
    const offer = this.#present;
    return offer?.file.key === key ? offer.file : undefined;
  }

  /** Once, from the start, while it is offered. */
  async *read(file: DeviceFile, offset: number, signal?: AbortSignal): AsyncGenerator<Uint8Array, void> {
    this.#check(signal);
    if (offset !== 0)
      throw deviceError('device.unsupported', 'MIDI File Dump sends files from their start only');
    const offer = this.#present;
    if (offer?.file.version !== file.version)
      throw deviceError('device.not_found', `${printable(file.name, 80)} is not offered any more`);
    yield* offer.read(signal);
  }

  async release(file: DeviceFile, isStored: boolean): Promise<void> {
    if (this.#offer?.file.version === file.version) this.#offer.release(isStored);
  }

  async digest(_file: DeviceFile, signal?: AbortSignal): Promise<number> {
    throw this.#unsupported(signal);
  }

  /**
   * @throws `device.busy` if the device does not answer; `device.refused`, `device.transfer`; `device.unsupported` if nothing
   *   may be replaced, since it can't be asked what it has; `bridge.content_size`.
   */
  async write(file: FileToWrite, signal?: AbortSignal) {
    this.#check(signal);
    const { name, size, content, replace } = file;
    if (!replace)
      throw deviceError(
        'device.unsupported',
        'MIDI File Dump can not tell whether the device has such a file',
        {
          remedy: 'allow it to be replaced',
        },
      );
    if (size > LONGEST_FILE)
      throw userError('bridge.not_for_device', `${printable(name, 80)} is too large for MIDI File Dump`);
    const extension = /\.[^./]+$/.exec(name)?.[0].toLowerCase() ?? '';
    const type = TYPES.get(extension) ?? 'BIN ';
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#jobs.push({
      work: () =>
        this.#send({ name: name.slice(name.lastIndexOf('/') + 1), size, type, content }, signal).then(
          resolve,
          reject,
        ),
      fail: reject,
    });
    this.#wake.abort();
    await promise;
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
    return deviceError('device.unsupported', 'MIDI File Dump can not do that');
  }

  /** Never one that was before: the protocol has nothing that tells two contents apart. */
  #version(): string {
    this.#versions += 1;
    return `${this.#session}.${this.#versions}`;
  }

  #end(reason: SkylarkError): void {
    if (this.#ended.signal.aborted) return;
    this.#ended.abort(reason);
    this.#offer?.release(false);
    for (const { fail } of this.#jobs.splice(0)) fail(reason);
  }

  #send(file: Parameters<typeof sendFile>[1], asked: AbortSignal | undefined): Promise<void> {
    const { signal } = this.#ended;
    const both = asked === undefined ? signal : AbortSignal.any([signal, asked]);
    both.throwIfAborted();
    const numbers = { to: this.#number, from: OWN_NUMBER };
    return sendFile(this.#dump, file, numbers, () => this.#retried(), both);
  }

  #retried(): void {
    this.#retries += 1;
  }

  /** Never rejects. */
  async #serve(): Promise<void> {
    const { signal } = this.#ended;
    try {
      for (;;) {
        signal.throwIfAborted();
        const job = this.#jobs.shift();
        if (job !== undefined) {
          await job.work();
          continue;
        }
        this.#wake = new AbortController();
        const message = await this.#listen(AbortSignal.any([signal, this.#wake.signal]));
        if (message?.kind === 'header') await this.#receive(message, signal);
      }
    } catch (thrown) {
      if (signal.aborted) return;
      const reason = thrown instanceof SkylarkError ? thrown : undefined;
      this.#line.abort(reason ?? deviceError('device.lost', asError(thrown).message, { cause: thrown }));
    }
  }

  async #listen(signal: AbortSignal) {
    try {
      return await this.#dump.next(POLL, signal);
    } catch (thrown) {
      if (signal.aborted) return undefined;
      throw thrown;
    }
  }

  async #receive(header: FileHeader, signal: AbortSignal): Promise<void> {
    this.#number = header.from;
    let received: Received;
    try {
      received = await receiveFile(this.#dump, header, () => this.#retried(), signal);
    } catch (thrown) {
      signal.throwIfAborted();
      const name = printable(header.name, 80);
      this.#options.onEvent({ kind: 'log', level: 'warn', text: `${name}: ${asError(thrown).message}` });
      return;
    }
    const { bytes, last } = received;
    const version = this.#version();
    const file: DeviceFile = {
      // Instruments use one name for everything; two takes are two files.
      key: `${header.name} ${version}`,
      version,
      name: fileName(header),
      size: bytes.length,
      mtime: undefined,
      complete: true,
    };
    const offer = new Offer(file, this.#clock, async function* () {
      yield bytes;
    });
    this.#offer = offer;
    this.#options.onEvent({ kind: 'offered', file });
    await this.#answer(header.from, last, offer, signal);
  }

  /** Says what became of the file, in the only words that there are: an answer to its last packet. */
  async #answer(to: number, last: number | undefined, offer: Offer, signal: AbortSignal): Promise<void> {
    const over = new AbortController();
    const outcome = offer.outcome.finally(() => over.abort());
    const both = AbortSignal.any([signal, over.signal]);
    while (last !== undefined && !both.aborted) {
      await this.#dump.say({ kind: 'wait', to, packet: last });
      await sleep(this.#clock, WAIT_AGAIN, both).catch(() => undefined);
    }
    const { kind } = await outcome;
    signal.throwIfAborted();
    if (last !== undefined)
      await this.#dump.say({ kind: kind === 'stored' ? 'ack' : 'cancel', to, packet: last });
    else if (kind !== 'stored')
      this.#options.onEvent({
        kind: 'log',
        level: 'warn',
        text: `${printable(offer.file.name, 80)} could not be stored: send it again`,
      });
  }
}

/** With the extension of its type, if it has none. */
function fileName({ name, type }: FileHeader): string {
  const plain = name.trim() === '' ? 'unnamed' : name.trim();
  const extension = EXTENSIONS.get(type) ?? '';
  return plain.toLowerCase().endsWith(extension) ? plain : `${plain}${extension}`;
}
