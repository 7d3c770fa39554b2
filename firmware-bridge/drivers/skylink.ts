/** Skylink devices as the bridge sees them: marks, versions and events out of epochs, generations and heartbeats. */

import { toHex, utf8 } from '../../agent/base/bytes.ts';
import { type Clock, sleep } from '../../agent/base/clock.ts';
import { asError, SkylarkError, userError } from '../../agent/base/errors.ts';
import { printable } from '../../agent/base/printable.ts';
import { deviceError } from '../device-error.ts';
import { type Announcement, openSkylink, type SkylinkHost, type State } from '../skylink/host.ts';
import type { FileEntry } from '../skylink/listing.ts';
import { EVENT_KIND, FILE_FLAG } from '../skylink/messages.ts';
import {
  type Capability,
  type Connection,
  capability,
  type Device,
  type DeviceEvent,
  type DeviceFacts,
  type DeviceFile,
  type Digest,
  type Display,
  type Driver,
  type DriverOptions,
  type FileToWrite,
  type LineStatistics,
  type ListItem,
} from './driver.ts';

/** The device is asked for its state so often; what an event lost on the line would have said is known then. */
const HEARTBEAT_MS = 5_000;
/** Where there are no events. */
const QUICK_HEARTBEAT_MS = 1_500;
const NO_BATTERY = 255;
const LARGEST_FILE = 0xffff_ffff;
const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const;

export const skylinkDriver: Driver = {
  name: 'skylink',
  async open(connection, options) {
    const device = new SkylinkDevice(options);
    await device.open(connection);
    return device;
  },
};

class SkylinkDevice implements Device {
  readonly #options: DriverOptions;
  readonly #clock: Clock;
  readonly #ended = new AbortController();
  #opened: SkylinkHost | undefined;
  /** What was last heard of the device's state, by events or heartbeats. */
  #known: { counter: number; presses: number; battery: number } | undefined;

  constructor(options: DriverOptions) {
    this.#options = options;
    this.#clock = options.clock;
  }

  async open(connection: Connection): Promise<void> {
    if (connection.kind !== 'stream') {
      throw userError('bridge.connection', 'Skylink needs a serial or network line');
    }
    const { clock, random, signal } = this.#options;
    const host = await openSkylink(connection.stream, {
      clock,
      onUnasked: (announcement) => this.#announced(announcement),
      ...(connection.baud === undefined ? {} : { baud: connection.baud }),
      ...(random ? { random } : {}),
      ...(signal ? { signal } : {}),
    });
    this.#opened = host;
    void host.lost.then((reason) => this.#ended.abort(reason));
    try {
      await this.#beat(signal);
    } catch (thrown) {
      await host.close();
      throw thrown;
    }
    void this.#heartbeats();
  }

  get #host(): SkylinkHost {
    if (this.#opened === undefined) throw deviceError('device.lost', 'the device is not open');
    return this.#opened;
  }

  get facts(): DeviceFacts {
    const { device, model, firmware } = this.#host.welcome;
    return { id: toHex(device), model, firmware };
  }

  get capabilities(): readonly Capability[] {
    const host = this.#host;
    const { receive } = host.welcome;
    const all: readonly [boolean, Capability][] = [
      [true, { kind: 'list', incremental: host.can('since') }],
      [true, { kind: 'read', resume: true }],
      [host.can('hash'), { kind: 'digest' }],
      [host.can('write'), { kind: 'write', largest: LARGEST_FILE, nameBytes: Math.min(255, receive - 20) }],
      [host.can('delete'), { kind: 'delete' }],
      [host.can('time'), { kind: 'clock' }],
      [host.can('show'), { kind: 'show' }],
      [host.can('button'), { kind: 'button' }],
      [host.can('battery'), { kind: 'battery' }],
    ];
    return all.filter(([has]) => has).map(([, capability]) => capability);
  }

  get statistics(): LineStatistics {
    const { bytesIn, bytesOut, crcErrors, retries, rate } = this.#host.quality;
    return { bytesIn, bytesOut, crcErrors, retries, rate };
  }

  get lost(): Promise<SkylarkError> {
    return this.#host.lost;
  }

  async *list(since: string | undefined, signal?: AbortSignal): AsyncGenerator<ListItem, void> {
    const { epoch } = await this.#beat(signal);
    const from = since === undefined || !this.#host.can('since') ? 0 : counterOf(since, epoch);
    const listing = this.#host.list(from, signal);
    for (;;) {
      const { done, value } = await listing.next();
      if (done) {
        const { counter, total } = value;
        const whole = from === 0;
        yield { kind: 'end', whole, total, mark: `${epoch}.${counter}` };
        return;
      }
      if (value.flags & FILE_FLAG.deleted) yield { kind: 'deleted', key: `${epoch}.${value.id}` };
      else yield { kind: 'file', file: toDeviceFile(value, epoch) };
    }
  }

  async stat(key: string, signal?: AbortSignal): Promise<DeviceFile | undefined> {
    // The epoch of this moment: it proves that what was read before under the same one was of one device's life.
    const { epoch } = await this.#beat(signal);
    const [of, id = 0] = key.split('.').map(Number);
    if (of !== epoch) return undefined;
    const file = await this.#host.stat(id, signal);
    return file && toDeviceFile(file, epoch);
  }

  async *read(file: DeviceFile, offset: number, signal?: AbortSignal): AsyncGenerator<Uint8Array, void> {
    yield* this.#host.read(this.#toSkylink(file), offset, signal);
  }

  async digest(file: DeviceFile, signal?: AbortSignal): Promise<Digest> {
    this.#need('hash');
    return await this.#host.hash(this.#toSkylink(file), signal);
  }

  async write(
    file: FileToWrite,
    signal?: AbortSignal,
  ): Promise<{ readonly key: string; readonly version: string }> {
    this.#need('write');
    const { name, size, replace, content } = file;
    const { nameBytes = 0 } = capability(this, 'write') ?? {};
    if (utf8(name).length > nameBytes || size > LARGEST_FILE) {
      throw userError(
        'bridge.not_for_device',
        `${printable(name, 80)} has a name too long or is too large for the device`,
      );
    }
    const mtime = secondsOf(file.mtime);
    const { id, generation } = await this.#host.write({ name, size, mtime, replace, content }, signal);
    return { key: `${this.#host.welcome.epoch}.${id}`, version: String(generation) };
  }

  async delete(file: DeviceFile, signal?: AbortSignal): Promise<void> {
    this.#need('delete');
    const { id, generation } = this.#toSkylink(file);
    try {
      await this.#host.delete(id, generation, signal);
    } catch (thrown) {
      if (thrown instanceof SkylarkError && thrown.code === 'device.not_found') return;
      throw thrown;
    }
  }

  async setClock(now: bigint, zoneMinutes: number, signal?: AbortSignal): Promise<bigint | undefined> {
    this.#need('time');
    const before = await this.#host.setTime(Number(now / 1_000_000n), zoneMinutes, signal);
    return before === 0 ? undefined : BigInt(before) * 1_000_000n;
  }

  async show(display: Display, seconds: number, signal?: AbortSignal): Promise<void> {
    this.#need('show');
    await this.#host.show(display.kind, display.kind === 'nothing' ? '' : display.text, seconds, signal);
  }

  async close(): Promise<void> {
    this.#ended.abort(deviceError('device.lost', 'the device was closed'));
    await this.#opened?.close();
  }

  #need(capability: Parameters<SkylinkHost['can']>[0]): void {
    if (!this.#host.can(capability)) throw deviceError('device.unsupported', 'the device can not do that');
  }

  /** @throws `device.changed` for a file of an earlier epoch: its ID may mean another one now. */
  #toSkylink(file: DeviceFile): { readonly id: number; readonly generation: number; readonly size: number } {
    const [epoch, id] = file.key.split('.').map(Number);
    if (id === undefined || epoch !== this.#host.welcome.epoch) {
      throw deviceError('device.changed', 'the device has started its files anew');
    }
    return { id, generation: Number(file.version), size: file.size };
  }

  async #heartbeats(): Promise<void> {
    const { signal } = this.#ended;
    try {
      for (;;) {
        await sleep(this.#clock, this.#host.can('events') ? HEARTBEAT_MS : QUICK_HEARTBEAT_MS, signal);
        await this.#beat(signal);
      }
    } catch (thrown) {
      if (signal.aborted) return;
      const reason = thrown instanceof SkylarkError ? thrown : undefined;
      this.#host.abort(reason ?? deviceError('device.lost', asError(thrown).message, { cause: thrown }));
    }
  }

  /** Asks for the state and the events, and tells what has happened since the last time. */
  async #beat(signal: AbortSignal | undefined): Promise<State> {
    const state = await this.#host.subscribe(['files', 'button', 'battery', 'log'], signal);
    const { boot, epoch } = this.#host.welcome;
    if (state.boot !== boot || state.epoch !== epoch) {
      await this.#host.greetAgain(signal);
      // It counts presses from its start: those that it has counted now are fresh.
      if (this.#known) this.#known.presses = 0;
      this.#tell({ kind: 'restarted' });
    }
    // Presses from before the first look were meant for somebody else.
    this.#known ??= { counter: state.counter, presses: state.presses, battery: NO_BATTERY };
    this.#changed(state.counter);
    this.#pressed(state.presses);
    this.#battery(state.battery);
    return state;
  }

  #announced(announcement: Announcement): void {
    if (announcement.kind === 'log') {
      const level = LOG_LEVELS[announcement.level] ?? 'debug';
      this.#tell({ kind: 'log', level, text: announcement.text });
      return;
    }
    const { kind, value } = announcement.event;
    if (kind === EVENT_KIND.files) this.#changed(value);
    if (kind === EVENT_KIND.button) this.#pressed(value);
    if (kind === EVENT_KIND.battery) this.#battery(value);
  }

  // The same is told by an event and by the next heartbeat; what is known tells them apart.

  #changed(counter: number): void {
    if (this.#known === undefined || counter === this.#known.counter) return;
    this.#known.counter = counter;
    this.#tell({ kind: 'files-changed' });
  }

  #pressed(presses: number): void {
    if (this.#known === undefined || presses === this.#known.presses) return;
    this.#known.presses = presses;
    this.#tell({ kind: 'button' });
  }

  #battery(percent: number): void {
    if (this.#known === undefined || percent === this.#known.battery) return;
    this.#known.battery = percent;
    if (percent <= 100) this.#tell({ kind: 'battery', percent });
  }

  #tell(event: DeviceEvent): void {
    this.#options.onEvent(event);
  }
}

function toDeviceFile(entry: FileEntry, epoch: number): DeviceFile {
  const { id, generation, size, mtime, flags, name } = entry;
  return {
    // IDs mean something within one epoch only.
    key: `${epoch}.${id}`,
    version: String(generation),
    name,
    size,
    mtime: mtime === 0 ? undefined : BigInt(mtime) * 1_000_000_000n,
    complete: (flags & FILE_FLAG.open) === 0,
  };
}

/** The counter of a mark, if it is of this epoch; else 0, which lists everything. */
function counterOf(mark: string, epoch: number): number {
  const [of, counter] = mark.split('.').map(Number);
  return of === epoch && counter !== undefined && Number.isInteger(counter) ? counter : 0;
}

function secondsOf(time: bigint | undefined): number {
  if (time === undefined || time < 0n) return 0;
  const seconds = time / 1_000_000_000n;
  return seconds > 0xffff_ffffn ? 0 : Number(seconds);
}
