/**
 * The simulated MIDI piano: a Skylink device that composes, plays and records, with a share button, a display, a battery and
 * all the bad habits of real hardware. Served on a TCP port, or on any stream.
 */

import { utf8 } from '../../agent/base/bytes.ts';
import { type Clock, systemClock, type Timer } from '../../agent/base/clock.ts';
import { formatEndpoint } from '../../agent/base/endpoint.ts';
import { userError } from '../../agent/base/errors.ts';
import { type Logger, silentLogger } from '../../agent/base/log.ts';
import type { ByteStream } from '../../agent/base/stream.ts';
import { type Listener, listenTcp } from '../../agent/platform/net.ts';
import { type Endpoint, SkylinkSession } from '../skylink/device.ts';
import { CAPABILITY, SHOW_KIND, STATE_FLAG } from '../skylink/messages.ts';
import { type Composition, compose, type Style, type Wish } from './composer.ts';
import { type Disturbance, disturbed } from './disturbance.ts';
import { FileTable, type StoredFile } from './file-table.ts';
import { type Random, seededRandom } from './random.ts';
import { encodeSmf } from './smf.ts';

export interface PianoOptions {
  /** The same seed plays the same pieces. Default: another one each time. */
  readonly seed?: number;
  readonly clock?: Clock;
  readonly log?: Logger;
  /** Records on its own, about every so many milliseconds. Default: only when asked. */
  readonly every?: number;
  /** The largest content of a frame that it sends and takes, bytes, 64 to 4106. Default 1024. */
  readonly frame?: number;
  /** Capability bits that it has not got. */
  readonly without?: readonly (keyof typeof CAPABILITY)[];
  /** Told of each finished recording. */
  readonly onRecording?: (recording: Recording) => void;
}

export interface ServedPianoOptions extends PianoOptions {
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** Default: any free one. */
  readonly port?: number;
}

export interface Recording {
  readonly id: number;
  /** As the piano lists it. */
  readonly name: string;
  readonly style: Style | undefined;
  readonly bytes: Uint8Array;
}

export interface RecordWish extends Wish {
  /** Standard MIDI File format; default: one of both. */
  readonly format?: 0 | 1;
  /** Plays until the file has at least so many bytes (up to 4,000,000). */
  readonly atLeastBytes?: number;
  readonly name?: string;
}

export interface Piano {
  /** What it has recorded and not deleted, with the exact bytes. */
  recordings(): readonly Recording[];
  record(wish?: RecordWish): Promise<Recording>;
  /**
   * Any other file, as another program of the piano would save it; over the one with that ID, if given. `open`: it is still
   * being written.
   */
  save(name: string, bytes: Uint8Array, id?: number, options?: { readonly open?: boolean }): Recording;
  rename(id: number, name: string): void;
  /** Records over it: the ID stays. */
  recordOver(id: number, wish?: RecordWish): Promise<Recording>;
  delete(id: number): void;
  /** A power cut: connections break, all session state is lost, a new boot begins. Its files stay. */
  reset(): void;
  /** A power cut after which it has lost its counters: its files have other IDs, the epoch is new. */
  renumber(): void;
  /** Bytes that are damaged on their way, each with this probability, from now on. */
  corrupt(rate: number): void;
  /** Bytes that are lost on their way. */
  drop(rate: number): void;
  /** What the display shows; empty when dark. */
  display(): string;
  pressButton(): void;
  /** Percent. */
  setBattery(percent: number): void;
  /** Lets a host speak to it over this stream. */
  attach(stream: ByteStream): void;
  close(): Promise<void>;
}

export interface ServedPiano extends Piano {
  readonly address: { readonly host: string; readonly port: number };
  /** As a device source of the configuration: `tcp://127.0.0.1:4001`. */
  readonly source: string;
}

/** A piano on a TCP port. @throws SkylarkError `net.*` when it can't listen. */
export async function openPiano(options: ServedPianoOptions = {}): Promise<ServedPiano> {
  const piano = createPiano(options);
  const { host = '127.0.0.1', port = 0 } = options;
  let listener: Listener;
  try {
    listener = await listenTcp({ host, port, maxConnections: 4 }, (stream) => piano.attach(stream));
  } catch (thrown) {
    await piano.close();
    throw thrown;
  }
  const address = { host: listener.host, port: listener.port };
  return {
    ...piano,
    address,
    source: `tcp://${formatEndpoint(address)}`,
    async close() {
      await listener.close();
      await piano.close();
    },
  };
}

/** A piano without a port: hosts are attached by hand. */
export function createPiano(options: PianoOptions = {}): Piano {
  const seed = options.seed ?? Math.floor(Math.random() * 2 ** 32);
  return new SimulatedPiano(options, seed).door();
}

/** In the busiest styles; others need another try with more bars. */
const BYTES_A_BAR = 260;
const LONGEST_PIECE = 4_000_000;
const NO_BATTERY = 255;

class SimulatedPiano implements Endpoint {
  readonly identity: Endpoint['identity'];
  readonly #options: PianoOptions;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #music: Random;
  readonly #chance: Random;
  readonly #sessions = new Set<SkylinkSession>();
  readonly #styles = new Map<number, Style>();
  readonly #files: FileTable;
  #epoch: number;
  readonly #disturbance: { -readonly [K in keyof Disturbance]: Disturbance[K] } = { corrupt: 0, drop: 0 };
  #boot: number;
  #presses = 0;
  #battery = NO_BATTERY;
  #recording = false;
  /** It is not new: its next recording has any number. */
  #recorded: number;
  /** Its clock's lead over ours, milliseconds; undefined before it was set. */
  #clockLead: number | undefined;
  #display = '';
  #displayTimer: Timer | undefined;
  #timer: Timer | undefined;
  #closed = false;

  constructor(options: PianoOptions, seed: number) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#log = options.log ?? silentLogger;
    this.#music = seededRandom(seed);
    this.#chance = seededRandom(seed ^ 0x5f3759df);
    this.#epoch = this.#number32();
    this.#boot = this.#number32();
    this.#recorded = this.#chance.integer(0, 8_999);
    const frame = options.frame ?? 1024;
    let capabilities = Object.values(CAPABILITY).reduce<number>((all, bit) => all | bit, 0);
    for (const missing of options.without ?? []) capabilities &= ~CAPABILITY[missing];
    const device = Uint8Array.from({ length: 8 }, () => this.#chance.integer(0, 255));
    this.identity = {
      receive: frame,
      send: frame,
      capabilities,
      device,
      model: 'Skylark Piano Simulator',
      firmware: '1.0',
    };
    this.#files = new FileTable((counter) => {
      for (const session of this.#sessions) session.event('files', counter);
    });
  }

  door(): Piano {
    this.#scheduleRecording();
    return {
      recordings: () => this.#files.files.map((file) => this.#recordingOf(file)),
      record: async (wish = {}) => this.#record(wish),
      save: (name, bytes, id, { open = false } = {}) =>
        this.#recordingOf(this.#save(checkName(name), bytes, id, open)),
      rename: (id, name) => this.#files.rename(id, checkName(name)),
      recordOver: async (id, wish = {}) => this.#record(wish, id),
      delete: (id) => this.#files.remove(id),
      reset: () => this.#reset(),
      renumber: () => {
        this.#files.renumber();
        this.#epoch = this.#number32();
        this.#reset();
      },
      corrupt: (rate) => {
        this.#disturbance.corrupt = rate;
      },
      drop: (rate) => {
        this.#disturbance.drop = rate;
      },
      display: () => this.#display,
      pressButton: () => this.#pressButton(),
      setBattery: (percent) => this.#setBattery(percent),
      attach: (stream) => this.#attach(stream),
      close: async () => this.#close(),
    };
  }

  // What the host asks.

  state(): ReturnType<Endpoint['state']> {
    return {
      boot: this.#boot,
      epoch: this.#epoch,
      counter: this.#files.counter,
      presses: this.#presses,
      battery: this.#battery,
      flags: this.#recording ? STATE_FLAG.recording : 0,
    };
  }

  list(since: number): ReturnType<Endpoint['list']> {
    const { capabilities } = this.identity;
    const listed = this.#files.list(capabilities & CAPABILITY.since ? since : 0);
    return capabilities & CAPABILITY.tombstones ? listed : listed.filter((file) => this.#files.get(file.id));
  }

  stat(id: number): ReturnType<Endpoint['stat']> {
    return this.#files.stat(id);
  }

  read(id: number, offset: number, length: number): Uint8Array {
    return this.#files.read(id, offset, length);
  }

  hash(id: number, offset: number, length: number): number {
    return this.#files.hash(id, offset, length);
  }

  beginWrite(begin: Parameters<Endpoint['beginWrite']>[0]): ReturnType<Endpoint['beginWrite']> {
    return this.#files.beginWrite(begin);
  }

  writeData(data: Parameters<Endpoint['writeData']>[0]): number {
    return this.#files.writeData(data);
  }

  commitWrite(commit: Parameters<Endpoint['commitWrite']>[0]): ReturnType<Endpoint['commitWrite']> {
    return this.#files.commitWrite(commit);
  }

  delete(id: number): void {
    this.#files.remove(id);
  }

  setClock(milliseconds: number): number {
    const before = this.#now();
    this.#clockLead = milliseconds - this.#clock.monotonic();
    return before;
  }

  show({ kind, seconds, text }: Parameters<Endpoint['show']>[0]): void {
    this.#displayTimer?.cancel();
    this.#display = kind === SHOW_KIND.nothing ? '' : text;
    if (seconds === 0) return;
    this.#displayTimer = this.#clock.after(seconds * 1000, () => {
      this.#display = '';
    });
  }

  // What happens at the piano.

  #attach(stream: ByteStream): void {
    if (this.#closed) {
      stream.abort(new Error('the piano is switched off'));
      return;
    }
    const line = disturbed(stream, this.#disturbance, this.#chance);
    const session = new SkylinkSession(line, this);
    this.#sessions.add(session);
    this.#log.debug('a host has come', { line: stream.label });
    void session.run().then(() => this.#sessions.delete(session));
  }

  #record(wish: RecordWish, over?: number): Recording {
    const { atLeastBytes = 0, format = this.#music.pick([0, 1] as const) } = wish;
    if (atLeastBytes > LONGEST_PIECE) throw userError('piano.too_long', 'nobody plays that long');
    let { bars } = wish;
    if (atLeastBytes > 0) bars ??= Math.max(16, Math.ceil(atLeastBytes / BYTES_A_BAR));
    let composition: Composition;
    let bytes: Uint8Array;
    for (;;) {
      composition = compose(this.#music, { ...wish, ...(bars === undefined ? {} : { bars }) });
      bytes = encodeSmf(composition.score, format);
      if (bytes.length >= atLeastBytes) break;
      bars = Math.ceil((1.1 * (bars ?? 16) * atLeastBytes) / bytes.length);
    }
    this.#recorded += 1;
    const number = String(this.#recorded).padStart(4, '0');
    const name = checkName(wish.name ?? `REC${number} ${composition.score.title}.mid`);
    const file = this.#save(name, bytes, over);
    this.#styles.set(file.id, composition.style);
    const recording = this.#recordingOf(file);
    this.#log.debug('a recording was made', { name, bytes: bytes.length });
    this.#options.onRecording?.(recording);
    return recording;
  }

  #save(name: string, bytes: Uint8Array, over: number | undefined, open = false): StoredFile {
    const mtime = Math.floor(this.#now() / 1000);
    return this.#files.put({ name, mtime, bytes, open }, over);
  }

  #scheduleRecording(): void {
    const { every } = this.#options;
    if (every === undefined) return;
    const pause = every * (0.75 + this.#chance.next() / 2);
    this.#timer = this.#clock.after(pause, () => {
      this.#record({});
      this.#scheduleRecording();
    });
  }

  #recordingOf({ id, name, bytes }: StoredFile): Recording {
    return { id, name, bytes, style: this.#styles.get(id) };
  }

  #reset(): void {
    this.#boot = this.#number32();
    this.#presses = 0;
    this.#display = '';
    this.#displayTimer?.cancel();
    this.#clockLead = undefined;
    this.#files.forgetTransfers();
    for (const session of this.#sessions) session.abort(new Error('the piano was switched off and on'));
    this.#sessions.clear();
  }

  #pressButton(): void {
    this.#presses = (this.#presses + 1) % 65_536;
    for (const session of this.#sessions) session.event('button', this.#presses);
  }

  #setBattery(percent: number): void {
    this.#battery = percent;
    for (const session of this.#sessions) session.event('battery', percent);
  }

  /** Milliseconds since 1970 by its own clock; 0 before that was set. */
  #now(): number {
    return this.#clockLead === undefined ? 0 : Math.floor(this.#clock.monotonic() + this.#clockLead);
  }

  #number32(): number {
    return this.#chance.integer(1, 0xffff_ffff);
  }

  #close(): void {
    this.#closed = true;
    this.#timer?.cancel();
    this.#displayTimer?.cancel();
    for (const session of this.#sessions) session.abort(new Error('the piano was switched off'));
    this.#sessions.clear();
  }
}

/** What a frame can carry. */
function checkName(name: string): string {
  if (utf8(name).length > 255) throw userError('piano.name', 'the name is longer than 255 bytes');
  return name;
}
