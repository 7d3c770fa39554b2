/** When each share was last in step with another member. */

import type { Clock, Timer } from '../base/clock.ts';
import { describeError } from '../base/errors.ts';
import type { Json } from '../base/json.ts';
import type { Logger } from '../base/log.ts';
import { isSane } from '../base/steady-time.ts';
import { formatTimestamp, parseTimestamp } from '../base/timestamp.ts';
import type { Club } from '../club/club.ts';
import type { Registry } from '../club/registry.ts';
import type { Shares } from './shares.ts';

export interface LastSyncOptions {
  readonly registry: Registry;
  readonly shares: Shares;
  readonly clock: Clock;
  readonly log: Logger;
}

const SETTING = 'last_sync';
/** How often it is looked at, milliseconds. */
const LOOK_MS = 60_000;
/** Flash wears: it is written down so often at most. Nanoseconds. */
const WRITE_NS = 6n * 3_600n * 1_000_000_000n;

export class LastSync {
  readonly #options: LastSyncOptions;
  readonly #times = new Map<string, bigint>();
  #timer: Timer | undefined;

  constructor(options: LastSyncOptions) {
    this.#options = options;
    this.#wait();
  }

  /** Whether it is at this moment. */
  isInStep(club: Club): boolean {
    const open = this.#options.shares.get(club.id);
    if (open === undefined || club.paused) return false;
    return open.replication.peers().some((peer) => peer.isCaughtUp) && open.share.status().isSynced;
  }

  /** Nanoseconds since 1970, by the clock of then; undefined: never, as far as is known. */
  of(club: Club): bigint | undefined {
    this.#look(club);
    return this.#times.get(club.id) ?? stored(club.settings.get(SETTING));
  }

  /** Writes down what is known. */
  async close(): Promise<void> {
    this.#timer?.cancel();
    for (const club of this.#options.registry.list()) await this.#write(club, 0n);
  }

  #wait(): void {
    this.#timer = this.#options.clock.after(LOOK_MS, () => {
      for (const club of this.#options.registry.list()) {
        this.#look(club);
        void this.#write(club, WRITE_NS);
      }
      this.#wait();
    });
  }

  #look(club: Club): void {
    if (this.isInStep(club)) this.#times.set(club.id, this.#options.clock.now());
  }

  async #write(club: Club, after: bigint): Promise<void> {
    const time = this.#times.get(club.id);
    if (time === undefined) return;
    const since = time - (stored(club.settings.get(SETTING)) ?? 0n);
    // What was written in a future that has not come says nothing any more.
    if (since >= 0n ? since <= after : !isSane(time)) return;
    const settings = new Map([[SETTING, formatTimestamp(time)]]);
    try {
      await this.#options.registry.configure(club.id, { settings });
    } catch (thrown) {
      this.#options.log.warn('the time of the last sync was not written down', {
        why: describeError(thrown),
      });
    }
  }
}

function stored(json: Json | undefined): bigint | undefined {
  try {
    return typeof json === 'string' ? parseTimestamp(json) : undefined;
  } catch {
    return undefined;
  }
}
