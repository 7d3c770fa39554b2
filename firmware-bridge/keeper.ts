/**
 * Keeps one device: opens it, mirrors it whenever something changed, tells what happens, and opens it again for as long as
 * the agent runs, whatever becomes of the line.
 */

import { type Clock, sleep, type Timer } from '../agent/base/clock.ts';
import { asError, errorCode, internalError } from '../agent/base/errors.ts';
import type { Logger } from '../agent/base/log.ts';
import { openBackoff } from '../agent/base/retry.ts';
import {
  type Connection,
  capability,
  type Device,
  type DeviceEvent,
  type DeviceFacts,
  type DeviceFile,
  type Display,
  type Driver,
  type LineStatistics,
} from './drivers/driver.ts';
import { addLines, NO_LINE } from './line-totals.ts';
import { Mirror, type MirrorEvent, type MirrorMode, type MirrorProgress, type Problem } from './mirror.ts';
import type { MirrorMemory } from './mirror-memory.ts';
import { takeOffered } from './offered.ts';
import { Sender, type SenderEvent, type SendRules } from './sender.ts';
import type { ShareFolder } from './share-folder.ts';

export type DeviceState =
  | { readonly kind: 'opening' }
  /** Opened again after a pause, milliseconds of the monotonic clock. */
  | { readonly kind: 'waiting'; readonly error: Error; readonly until: number }
  | { readonly kind: 'idle' }
  | { readonly kind: 'mirroring' }
  | { readonly kind: 'closed' };

export type KeeperEvent =
  | MirrorEvent
  | SenderEvent
  | { readonly kind: 'button' }
  | { readonly kind: 'battery-low'; readonly percent: number }
  | { readonly kind: 'connected'; readonly device: DeviceFacts }
  | { readonly kind: 'disconnected'; readonly error: Error };

export interface KeeperOptions {
  /** Opens the line to the device. */
  readonly connect: (signal: AbortSignal) => Promise<Connection>;
  readonly driver: Driver;
  readonly mode: MirrorMode;
  readonly memory: MirrorMemory;
  readonly memoryKey: string;
  /** What of the folder may go to the device. */
  readonly send: SendRules;
  readonly openFolder: () => Promise<ShareFolder>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly random?: () => number;
  /** Must not throw. */
  readonly onEvent: (event: KeeperEvent) => void;
}

export interface KeeperStatus {
  readonly state: DeviceState;
  readonly device: DeviceFacts | undefined;
  readonly files: number;
  readonly bytes: number;
  readonly arriving: MirrorProgress | undefined;
  /** Of all the lines so far. */
  readonly line: LineStatistics;
  readonly battery: number | undefined;
  readonly problems: readonly Problem[];
}

/** A device that is back is noticed within these limits. Milliseconds. */
const REOPEN = { first: 500, longest: 4_000 };
/** A device that was there for so long was no false start. Milliseconds. */
const LASTING = 10_000;
/** For what failed on a device that is there: a full disk, a share that is not there. Milliseconds. */
const RETRY = { first: 1_000, longest: 300_000 };
/** Even if the device says nothing, its files are looked at so often. Milliseconds. */
const POLL = 60_000;
/** Between two passes at least. Milliseconds. */
const BREATH = 250;
/** What was changed a moment ago is looked at again after this. Milliseconds. */
const UNSETTLED = 2_500;
/** That are told; the others are told when these are over. */
const MOST_PROBLEMS = 100;
const BATTERY_LOW = 15;
const BATTERY_FINE = 25;
/** Before this the agent's own clock was never set. 2024-01-01. */
const CLOCK_SET = 1_704_067_200_000_000_000n;

export class Keeper {
  readonly #options: KeeperOptions;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #ending = new AbortController();
  readonly #reported = new Set<string>();
  #running: Promise<void> | undefined;
  #state: DeviceState = { kind: 'opening' };
  #device: Device | undefined;
  #facts: DeviceFacts | undefined;
  #mirror: Mirror | undefined;
  #sender: Sender | undefined;
  #soon: Timer | undefined;
  #earlierLines = NO_LINE;
  #problems: readonly Problem[] = [];
  #battery: number | undefined;
  #batteryLow = false;
  #display: { readonly display: Display; readonly until: number } | undefined;
  #offered: DeviceFile[] = [];
  #lastPass = Number.NEGATIVE_INFINITY;
  /** When the present device was opened; infinite before that. */
  #openedAt = Number.POSITIVE_INFINITY;
  #due = { files: true, clock: true, display: true };
  #wake: (() => void) | undefined;

  constructor(options: KeeperOptions) {
    this.#options = options;
    this.#clock = options.clock;
    this.#log = options.log;
  }

  start(): void {
    this.#running ??= this.#keep();
  }

  get status(): KeeperStatus {
    return {
      state: this.#state,
      device: this.#facts,
      files: this.#mirror?.totals.files ?? 0,
      bytes: this.#mirror?.totals.bytes ?? 0,
      arriving: this.#mirror?.progress,
      line: addLines(this.#earlierLines, this.#device?.statistics ?? NO_LINE),
      battery: this.#battery,
      problems: this.#problems,
    };
  }

  /** Shows it as soon as, and whenever, the device is there, until the time is over. @param seconds 0: no end. */
  show(display: Display, seconds: number): void {
    const until = seconds === 0 ? Number.POSITIVE_INFINITY : this.#clock.monotonic() + seconds * 1000;
    this.#display = { display, until };
    this.#due.display = true;
    this.#wake?.();
  }

  /** The folder has changed: there may be something for the device. */
  look(): void {
    if (this.#options.send.patterns.length === 0) return;
    this.#due.files = true;
    this.#wake?.();
  }

  async close(): Promise<void> {
    this.#soon?.cancel();
    this.#ending.abort(internalError('bridge.closed', 'the bridge was closed'));
    await this.#running;
    await this.#mirror?.close();
    this.#state = { kind: 'closed' };
  }

  /** Never rejects. */
  async #keep(): Promise<void> {
    const { signal } = this.#ending;
    const backoff = openBackoff(REOPEN, this.#options.random);
    while (!signal.aborted) {
      this.#openedAt = Number.POSITIVE_INFINITY;
      try {
        await this.#once(signal);
      } catch (thrown) {
        if (signal.aborted) return;
        const error = asError(thrown);
        if (this.#clock.monotonic() - this.#openedAt > LASTING) {
          backoff.reset();
          this.#reported.clear();
        }
        const pause = backoff.next();
        this.#state = { kind: 'waiting', error, until: this.#clock.monotonic() + pause };
        this.#report('line', 'the device is not there', { name: '', error });
        await sleep(this.#clock, pause, signal).catch(() => {});
      }
    }
  }

  /** Opens the device and serves it until it is gone, which is thrown. */
  async #once(signal: AbortSignal): Promise<never> {
    this.#state = { kind: 'opening' };
    const { driver, clock, log, random } = this.#options;
    const connection = await this.#options.connect(signal);
    // What was offered on an earlier connection can't be had any more.
    this.#offered = [];
    const onEvent = (event: DeviceEvent) => this.#happened(event);
    const device = await driver.open(connection, {
      clock,
      log,
      signal,
      onEvent,
      ...(random ? { random } : {}),
    });
    this.#device = device;
    this.#openedAt = clock.monotonic();
    const { id, model, firmware } = device.facts;
    // A line that comes and goes all the time is worth one line in the log.
    const again = this.#facts?.id === id && this.#reported.size > 0;
    log[again ? 'debug' : 'info']('a device is connected', { id, model, firmware });
    this.#facts = device.facts;
    this.#due = { files: true, clock: true, display: true };
    this.#options.onEvent({ kind: 'connected', device: device.facts });
    const left = new AbortController();
    void device.lost.then((reason) => left.abort(reason));
    try {
      return await this.#serve(device, AbortSignal.any([signal, left.signal]));
    } catch (thrown) {
      const error = asError(left.signal.aborted ? left.signal.reason : thrown);
      if (!signal.aborted) this.#options.onEvent({ kind: 'disconnected', error });
      throw error;
    } finally {
      await device.close();
      this.#earlierLines = addLines(this.#earlierLines, device.statistics);
      this.#device = undefined;
    }
  }

  async #serve(device: Device, signal: AbortSignal): Promise<never> {
    const retry = openBackoff(RETRY, this.#options.random);
    for (;;) {
      signal.throwIfAborted();
      await this.#setClock(device, signal);
      await this.#showDisplay(device, signal);
      const pause = (await this.#mirrorFiles(device, signal)) ? POLL : retry.next();
      if (this.#problems.length === 0) retry.reset();
      this.#state = { kind: 'idle' };
      await this.#somethingDue(pause, signal);
    }
  }

  /** @returns false if something failed that is worth another try soon. */
  async #mirrorFiles(device: Device, signal: AbortSignal): Promise<boolean> {
    if (!this.#due.files && this.#offered.length === 0) return this.#problems.length === 0;
    // A device that says at every moment that something has changed is heard a few times a second.
    await sleep(this.#clock, Math.max(0, this.#lastPass + BREATH - this.#clock.monotonic()), signal);
    this.#state = { kind: 'mirroring' };
    // What changes from now on is due again.
    this.#due.files = false;
    try {
      this.#mirror ??= await this.#openMirror();
      const problems: Problem[] = [];
      for (const file of this.#offered.splice(0)) {
        problems.push(...(await takeOffered(this.#mirror, device, file, signal)));
      }
      if (capability(device, 'list')) problems.push(...(await this.#mirror.pass(device, signal)));
      problems.push(...(await this.#send(device, signal)));
      this.#noteProblems(problems);
    } catch (thrown) {
      if (signal.aborted || errorCode(thrown)?.startsWith('device.')) throw thrown;
      // The share's side: another one may have taken its place.
      await this.#mirror?.close();
      this.#mirror = undefined;
      this.#noteProblems([{ name: '', error: asError(thrown) }]);
    }
    this.#lastPass = this.#clock.monotonic();
    return this.#problems.length === 0;
  }

  async #openMirror(): Promise<Mirror> {
    const { memory, memoryKey, mode, send, clock, log, onEvent } = this.#options;
    const folder = await this.#options.openFolder();
    const mirror = new Mirror({ folder, memory, memoryKey, mode, clock, log, onEvent });
    this.#sender = new Sender({ folder, mirror, rules: send, clock, onEvent });
    return mirror;
  }

  async #send(device: Device, signal: AbortSignal): Promise<readonly Problem[]> {
    const pass = await this.#sender?.pass(device, signal);
    if (pass?.isUnsettled) {
      this.#soon?.cancel();
      this.#soon = this.#clock.after(UNSETTLED, () => this.look());
    }
    return pass?.problems ?? [];
  }

  #noteProblems(problems: readonly Problem[]): void {
    this.#problems = problems.slice(0, MOST_PROBLEMS);
    if (problems.length === 0) {
      for (const key of this.#reported) if (key.startsWith('file ')) this.#reported.delete(key);
    }
    for (const problem of this.#problems)
      this.#report('file', 'a file of the device could not be mirrored', problem);
  }

  /** The same problem once, until it is over. */
  #report(about: string, message: string, { name, error }: Problem): void {
    const key = `${about} ${name} ${errorCode(error) ?? error.message}`;
    if (this.#reported.has(key) || this.#reported.size > 1_000) return;
    this.#reported.add(key);
    this.#log.warn(message, { ...(name === '' ? {} : { name }), error });
  }

  async #setClock(device: Device, signal: AbortSignal): Promise<void> {
    const now = this.#clock.now();
    if (!this.#due.clock) return;
    this.#due.clock = false;
    if (capability(device, 'clock') === undefined || now < CLOCK_SET) return;
    await this.#extra('the device does not take the time', signal, async () => {
      const zone = -new Date(Number(now / 1_000_000n)).getTimezoneOffset();
      const before = await device.setClock(now, zone, signal);
      const wrongBy = before === undefined ? undefined : Number((before - now) / 1_000_000n);
      this.#log.debug("the device's clock was set", { wrong_by_ms: wrongBy });
    });
  }

  async #showDisplay(device: Device, signal: AbortSignal): Promise<void> {
    if (!this.#due.display) return;
    this.#due.display = false;
    if (this.#display === undefined || capability(device, 'show') === undefined) return;
    const { display, until } = this.#display;
    const left = (until - this.#clock.monotonic()) / 1000;
    if (left <= 0) return;
    const seconds = Number.isFinite(left) ? Math.min(65_535, Math.ceil(left)) : 0;
    await this.#extra('the device does not show it', signal, () => device.show(display, seconds, signal));
  }

  /** What is nice to have: a refusal does not end the session. */
  async #extra(message: string, signal: AbortSignal, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (thrown) {
      if (
        signal.aborted ||
        ['device.lost', 'device.silent', 'device.stuck'].includes(errorCode(thrown) ?? '')
      ) {
        throw thrown;
      }
      this.#log.warn(message, { error: asError(thrown) });
    }
  }

  /** Waits for news, at most so long; then the files are due anyway. */
  async #somethingDue(longest: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted || this.#offered.length > 0 || Object.values(this.#due).includes(true)) return;
    await new Promise<void>((resolve) => {
      const timer = this.#clock.after(longest, () => {
        this.#due.files = true;
        done();
      });
      const done = () => {
        timer.cancel();
        signal.removeEventListener('abort', done);
        this.#wake = undefined;
        resolve();
      };
      this.#wake = done;
      signal.addEventListener('abort', done, { once: true });
    });
  }

  #happened(event: DeviceEvent): void {
    switch (event.kind) {
      case 'files-changed':
        this.#due.files = true;
        break;
      case 'offered':
        this.#offered.push(event.file);
        break;
      case 'restarted':
        this.#due = { files: true, clock: true, display: true };
        break;
      case 'button':
        this.#options.onEvent({ kind: 'button' });
        return;
      case 'battery':
        this.#batteryIs(event.percent);
        return;
      case 'log':
        this.#log[event.level === 'error' ? 'warn' : event.level]('the device says', { text: event.text });
        return;
    }
    this.#wake?.();
  }

  #batteryIs(percent: number): void {
    this.#battery = percent;
    if (percent >= BATTERY_FINE) this.#batteryLow = false;
    if (percent > BATTERY_LOW || this.#batteryLow) return;
    this.#batteryLow = true;
    this.#options.onEvent({ kind: 'battery-low', percent });
  }
}
