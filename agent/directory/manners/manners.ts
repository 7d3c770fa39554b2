/**
 * Consideration for others on this device, on its line and on its bill: how fast contents may pass, how many of them in a
 * month, and when none do. One for the whole daemon. Only contents are ever held back: what their owner changes is noted,
 * and records spread, at all times.
 */

import type { Clock, Timer } from '../../base/clock.ts';
import { type DailyHours, endOfHours, formatMinute } from '../../base/daily-hours.ts';
import type { Logger } from '../../base/log.ts';
import { formatSize } from '../../base/size.ts';
import { isSane, type SteadyTime } from '../../base/steady-time.ts';
import { type Flows, Inflow, Outflow } from './flow.ts';
import { type Direction, MonthCount, type MonthStore } from './month-count.ts';

export interface MannersSettings {
  /** Bytes a second; undefined: no limit. */
  readonly rate: Readonly<Record<Direction, bigint | undefined>>;
  /** Bytes of contents in a calendar month; undefined: no limit. */
  readonly month: Readonly<Record<Direction, bigint | undefined>>;
  readonly quietHours: readonly DailyHours[];
  readonly onBattery: 'sync' | 'pause';
  readonly onMetered: 'sync' | 'pause';
}

/** What the system knows; undefined: it can't tell. Never reject. */
export interface Circumstances {
  isOnBattery(): Promise<boolean | undefined>;
  isMetered(): Promise<boolean | undefined>;
}

export interface MannersOptions {
  readonly settings: MannersSettings;
  readonly circumstances: Circumstances;
  readonly store: MonthStore;
  readonly time: SteadyTime;
  readonly clock: Clock;
  readonly log: Logger;
  /** Told of every hold that begins. */
  readonly onHold: (hold: Hold) => void;
}

/** Why contents do not pass at the moment. */
export interface Hold {
  /** `manners.quiet_hours`, `manners.on_battery`, `manners.on_metered`, `manners.monthly_upload`, `manners.monthly_download`. */
  readonly code: string;
  readonly message: string;
  readonly remedy: string;
  readonly directions: readonly Direction[];
  /** Somebody may have to do something: it is not over by itself in some hours. */
  readonly isProblem: boolean;
}

/** How often quiet hours and the month are looked at, milliseconds. */
const LOOK_MS = 15_000;
/** How often the system is asked: reading a file costs nothing, asking the network's program takes a process. */
const BATTERY_MS = 15_000;
const METERED_MS = 120_000;
/** Where it can't tell, that will hardly change. */
const UNKNOWN_MS = 1_800_000;
const BOTH: readonly Direction[] = ['upload', 'download'];
const WORDS = { upload: 'sent', download: 'received' } as const;

export class Manners implements Flows {
  readonly upload: Outflow;
  readonly download: Inflow;
  readonly #options: MannersOptions;
  readonly #month: MonthCount;
  readonly #battery: Sensor;
  readonly #metered: Sensor;
  #settings: MannersSettings;
  #holds: readonly Hold[] = [];
  #timer: Timer | undefined;

  constructor(options: MannersOptions) {
    const { clock, circumstances } = options;
    this.#options = options;
    this.#settings = options.settings;
    this.#month = new MonthCount(options);
    this.upload = new Outflow(clock, (bytes) => this.#count('upload', bytes));
    this.download = new Inflow(clock, (bytes) => this.#count('download', bytes));
    const again = () => this.#regulate();
    this.#battery = new Sensor(clock, () => circumstances.isOnBattery(), BATTERY_MS, again);
    this.#metered = new Sensor(clock, () => circumstances.isMetered(), METERED_MS, again);
    this.#look();
  }

  /** What holds contents back now. */
  get holds(): readonly Hold[] {
    return this.#holds;
  }

  /** Bytes of contents that passed in this month. */
  passed(direction: Direction): bigint {
    return this.#month.of(direction);
  }

  /** From now on these hold. */
  configure(settings: MannersSettings): void {
    this.#settings = settings;
    this.#regulate();
  }

  /** Writes the count of the month down. Nothing passes any more that is counted. */
  close(): void {
    this.#timer?.cancel();
    this.#battery.close();
    this.#metered.close();
    this.upload.close();
    this.download.close();
    this.#month.close();
  }

  #look(): void {
    this.#regulate();
    this.#timer = this.#options.clock.after(LOOK_MS, () => this.#look());
  }

  #count(direction: Direction, bytes: number): void {
    this.#month.add(direction, bytes);
    const limit = this.#settings.month[direction];
    if (limit === undefined || this.#month.of(direction) < limit) return;
    if (!this[direction].isHeld) this.#regulate();
  }

  #regulate(): void {
    this.#month.look();
    this.#battery.isOn = this.#settings.onBattery === 'pause';
    this.#metered.isOn = this.#settings.onMetered === 'pause';
    const holds = [...this.#quietHours(), ...this.#sensed(), ...BOTH.flatMap((each) => this.#usedUp(each))];
    const earlier = this.#holds;
    this.#holds = holds;
    for (const direction of BOTH) {
      const rate = this.#settings.rate[direction];
      const hold = holds.find(({ directions }) => directions.includes(direction));
      this[direction].regulate(rate === undefined ? undefined : Number(rate), hold?.message);
    }
    const { log, onHold } = this.#options;
    for (const hold of holds) {
      if (earlier.some(({ code }) => code === hold.code)) continue;
      log[hold.isProblem ? 'warn' : 'info']('contents are held back', { code: hold.code, why: hold.message });
      onHold(hold);
    }
    for (const { code } of earlier)
      if (!holds.some((hold) => hold.code === code)) log.info('no longer holds contents back', { code });
  }

  #quietHours(): Hold[] {
    const now = this.#options.clock.now();
    // In 1970 nobody knows what time of the day it is.
    if (this.#settings.quietHours.length === 0 || !isSane(now)) return [];
    const date = new Date(Number(now / 1_000_000n));
    const minute = date.getHours() * 60 + date.getMinutes();
    const end = endOfHours(this.#settings.quietHours, minute);
    if (end === undefined) return [];
    const until = end === minute ? '' : ` until ${formatMinute(end)}`;
    return [
      {
        code: 'manners.quiet_hours',
        message: `contents wait: quiet hours${until}`,
        remedy: 'change manners.quiet_hours to have them before',
        directions: BOTH,
        isProblem: false,
      },
    ];
  }

  #sensed(): Hold[] {
    const hold = (code: string, message: string, remedy: string): Hold => ({
      code: `manners.${code}`,
      message: `contents wait: ${message}`,
      remedy: `${remedy}, or set manners.${code} to "sync"`,
      directions: BOTH,
      isProblem: false,
    });
    return [
      ...(this.#battery.isTrue ? [hold('on_battery', 'this device runs on its battery', 'plug it in')] : []),
      ...(this.#metered.isTrue
        ? [hold('on_metered', 'the network is a metered one', 'use another network')]
        : []),
    ];
  }

  #usedUp(direction: Direction): Hold[] {
    const limit = this.#settings.month[direction];
    if (limit === undefined || this.#month.of(direction) < limit) return [];
    return [
      {
        code: `manners.monthly_${direction}`,
        message: `contents wait to be ${WORDS[direction]}: ${formatSize(limit)} of them were in this month, which is all that may be`,
        remedy: `wait for the next month, or raise manners.monthly_${direction}`,
        directions: [direction],
        isProblem: true,
      },
    ];
  }
}

/** One thing that the system can tell, asked now and then. */
class Sensor {
  readonly #clock: Clock;
  readonly #ask: () => Promise<boolean | undefined>;
  readonly #period: number;
  readonly #onChange: () => void;
  #isOn = false;
  #known: boolean | undefined;
  #isAsking = false;
  #timer: Timer | undefined;

  constructor(clock: Clock, ask: () => Promise<boolean | undefined>, period: number, onChange: () => void) {
    this.#clock = clock;
    this.#ask = ask;
    this.#period = period;
    this.#onChange = onChange;
  }

  get isTrue(): boolean {
    return this.#isOn && this.#known === true;
  }

  /** Whether anybody wants to know. */
  set isOn(isOn: boolean) {
    if (isOn === this.#isOn) return;
    this.#isOn = isOn;
    this.#timer?.cancel();
    this.#known = undefined;
    if (isOn) void this.#look();
  }

  close(): void {
    this.isOn = false;
  }

  async #look(): Promise<void> {
    if (this.#isAsking) return;
    this.#isAsking = true;
    const known = await this.#ask().catch(() => undefined);
    this.#isAsking = false;
    if (!this.#isOn) return;
    this.#timer?.cancel();
    const isHopeless = known === undefined && this.#known === undefined;
    this.#timer = this.#clock.after(isHopeless ? UNKNOWN_MS : this.#period, () => void this.#look());
    if (known === this.#known) return;
    this.#known = known;
    this.#onChange();
  }
}
