/**
 * Tells of shares that were not in step with any other member for long: what is in them is in one place only, and mostly
 * nobody notices.
 */

import type { Clock, Timer } from '../base/clock.ts';
import { describeError } from '../base/errors.ts';
import type { Json } from '../base/json.ts';
import type { Logger } from '../base/log.ts';
import { isSane, type SteadyTime } from '../base/steady-time.ts';
import { formatTimestamp, parseTimestamp } from '../base/timestamp.ts';
import type { Club } from '../club/club.ts';
import type { Registry } from '../club/registry.ts';

export interface SyncAlertOptions {
  readonly registry: Pick<Registry, 'list' | 'configure'>;
  /** See `LastSync`. */
  readonly lastSync: { of(club: Club): bigint | undefined; isInStep(club: Club): boolean };
  /** How long is long, milliseconds. */
  readonly after: () => number;
  readonly time: SteadyTime;
  readonly clock: Clock;
  readonly log: Logger;
  readonly onAlert: (club: Club, alert: Alert) => void;
}

export interface Alert {
  readonly code: string;
  readonly message: string;
  readonly remedy: string;
}

/** A time from which to count where no better one is known. */
const SETTING = 'alert_from';
const LOOK_MS = 60_000;
const DAY_MS = 86_400_000;

interface State {
  /** Monotonic milliseconds: it was in step then, or looked at for the first time. */
  since: number;
  /** Milliseconds for which it was not, if that is too long. */
  overdue: number | undefined;
}

export class SyncAlert {
  readonly #options: SyncAlertOptions;
  readonly #states = new Map<string, State>();
  #timer: Timer | undefined;

  constructor(options: SyncAlertOptions) {
    this.#options = options;
    this.#look();
  }

  of(club: Club): Alert | undefined {
    const overdue = this.#states.get(club.id)?.overdue;
    return overdue === undefined ? undefined : alertOf(club, overdue);
  }

  close(): void {
    this.#timer?.cancel();
  }

  #look(): void {
    const { registry, clock } = this.#options;
    const clubs = registry.list();
    const ids = new Set(clubs.map(({ id }) => id));
    for (const id of this.#states.keys()) if (!ids.has(id)) this.#states.delete(id);
    for (const club of clubs) this.#judge(club);
    this.#timer = clock.after(LOOK_MS, () => this.#look());
  }

  #judge(club: Club): void {
    const { clock, lastSync, after, log, onAlert } = this.#options;
    const state = this.#states.get(club.id) ?? { since: clock.monotonic(), overdue: undefined };
    this.#states.set(club.id, state);
    const hasOthers = club.joined || club.peers.length > 0;
    if (!hasOthers || lastSync.isInStep(club)) {
      state.since = clock.monotonic();
      state.overdue = undefined;
      return;
    }
    const age = this.#age(club, state);
    // While the clock can't be relied upon, what was known holds.
    if (age === undefined) return;
    const wasOverdue = state.overdue !== undefined;
    state.overdue = age >= after() ? age : undefined;
    if (state.overdue === undefined || wasOverdue) return;
    const alert = alertOf(club, state.overdue);
    log.warn(alert.message, { share: club.name, remedy: alert.remedy });
    onAlert(club, alert);
  }

  /** Milliseconds since it was in step; undefined if that can't be told. */
  #age(club: Club, { since }: State): number | undefined {
    const { clock, time, after } = this.#options;
    const running = clock.monotonic() - since;
    const now = time.now();
    if (now === undefined) return running >= after() ? running : undefined;
    return Math.max(running, Number((now - this.#from(club, now)) / 1_000_000n));
  }

  /** @param now nanoseconds since 1970 */
  #from(club: Club, now: bigint): bigint {
    const isUsable = (from: bigint | undefined) => from !== undefined && isSane(from) && from <= now;
    const last = this.#options.lastSync.of(club) ?? club.created;
    const noted = stored(club.settings.get(SETTING));
    if (noted !== undefined && isUsable(noted)) return isUsable(last) && last > noted ? last : noted;
    if (isUsable(last)) return last;
    // The clock was wrong then.
    void this.#note(club, now);
    return now;
  }

  async #note(club: Club, now: bigint): Promise<void> {
    try {
      const settings = new Map([[SETTING, formatTimestamp(now)]]);
      await this.#options.registry.configure(club.id, { settings });
    } catch (thrown) {
      this.#options.log.debug('the beginning of a time was not written down', { why: describeError(thrown) });
    }
  }
}

function alertOf(club: Club, age: number): Alert {
  const days = Math.floor(age / DAY_MS);
  const span = days >= 2 ? `${days} days` : `${Math.floor(age / 3_600_000)} hours`;
  return {
    code: 'share.unsynced',
    message: `the share was not in step with any other member for ${span}`,
    remedy: club.paused ? "'skylark resume' it" : 'connect a device that has it',
  };
}

function stored(json: Json | undefined): bigint | undefined {
  try {
    return typeof json === 'string' ? parseTimestamp(json) : undefined;
  } catch {
    return undefined;
  }
}
