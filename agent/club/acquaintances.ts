/**
 * Whom this device met in its clubs, and where. It is known at once and written down sparingly, since flash wears and
 * peer IDs cost nothing: for each club some at once, then one write an hour, with all that has come until then. What a
 * power cut takes away is met again.
 *
 * There is no word for leaving a club. So who was not seen for 90 days, as the device lived through them whatever its clock
 * said, is forgotten; and when there are too many, those
 * whom we have no address of, which only came to us, go first, and among them those met longest ago.
 */

import type { Clock, Timer } from '../base/clock.ts';
import { asError } from '../base/errors.ts';
import { LivedTime } from '../base/lived-time.ts';
import type { Logger } from '../base/log.ts';
import { TokenBucket } from '../discovery/token-bucket.ts';
import type { Section } from '../platform/state-file.ts';
import { changeClub, storedClub } from './club.ts';
import { type DeviceState, MAX_ADDRESSES, MAX_PEERS, type StoredPeer } from './device-state.ts';

export interface MetPeer {
  readonly id: string;
  readonly name?: string | undefined;
  readonly software: string;
  /** `HOST:PORT`, if we dialled it. */
  readonly address?: string | undefined;
}

export interface AcquaintancesOptions {
  readonly state: Section<DeviceState>;
  readonly clock: Clock;
  readonly log: Logger;
}

/** That a peer is still there is written down twice a day. Nanoseconds. */
const SEEN_AGAIN = 43_200n * 1_000_000_000n;
const FORGOTTEN_AFTER = 90n * 86_400n * 1_000_000_000n;
/** 2025-01-01: a clock before this was never set. */
const CLOCK_IS_SET = 1_735_689_600n * 1_000_000_000n;
/** The time that was lived through is written down so often, or at the end of the program. Nanoseconds. */
const LIVED_EVERY = 86_400n * 1_000_000_000n;
const LIVED_AT_END = 3_600n * 1_000_000_000n;
/** Writes for one club. */
const WRITES = { burst: 16, perSecond: 1 / 3_600 };

interface Circle {
  /** The latest first. */
  peers: readonly StoredPeer[];
  /** There is something in it that ought to be on the disk. */
  isNews: boolean;
  readonly writes: TokenBucket;
  later: Timer | undefined;
  writing: Promise<void> | undefined;
}

export class Acquaintances {
  readonly #options: AcquaintancesOptions;
  readonly #circles = new Map<string, Circle>();
  readonly #time: LivedTime;
  #closed = false;

  constructor(options: AcquaintancesOptions) {
    this.#options = options;
    this.#time = new LivedTime(options.clock, options.state.value.device.lived);
  }

  /** The latest first; none of a club that was left. */
  of(club: string): readonly StoredPeer[] {
    const { state } = this.#options;
    return this.#circles.get(club)?.peers ?? state.value.clubs.find(({ id }) => id === club)?.peers ?? [];
  }

  /**
   * Resolves when it is written down, or it is clear that it will be later.
   * @throws SkylarkError (user) `club.unknown`.
   */
  async met(club: string, peer: MetPeer): Promise<void> {
    const circle = this.#circle(club);
    const known = circle.peers.find(({ id }) => id === peer.id);
    const others = known?.addresses.filter((address) => address !== peer.address) ?? [];
    const met: StoredPeer = {
      id: peer.id,
      name: peer.name,
      software: peer.software,
      addresses: peer.address === undefined ? others : [peer.address, ...others].slice(0, MAX_ADDRESSES),
      lastSeen: this.#options.clock.now(),
      lived: this.#time.now().lived,
    };
    const rest = circle.peers.filter((each) => each !== known);
    if (known !== undefined && isOldNews(known, met)) {
      // With the time that is on the disk, so that it gets old.
      circle.peers = [known, ...rest];
      return;
    }
    circle.peers = bounded([met, ...rest]);
    circle.isNews = true;
    await this.#write(club, circle);
  }

  /** Forgets who was not seen for long. */
  sweep(): void {
    const now = this.#options.clock.now();
    const { lived } = this.#time.now();
    void this.#keepTime(LIVED_EVERY);
    if (now < CLOCK_IS_SET) return;
    for (const { id } of this.#options.state.value.clubs) {
      const circle = this.#circle(id);
      const kept = circle.peers.flatMap((peer) => {
        // Seen by a clock that was wrong: from now on it is right.
        if (peer.lastSeen < CLOCK_IS_SET || peer.lastSeen > now) return [{ ...peer, lastSeen: now, lived }];
        if (peer.lived === undefined) return [{ ...peer, lived }];
        return lived - peer.lived < FORGOTTEN_AFTER ? [peer] : [];
      });
      if (kept.length === circle.peers.length && kept.every((peer, i) => peer === circle.peers[i])) continue;
      circle.peers = kept;
      circle.isNews = true;
      void this.#write(id, circle);
    }
  }

  /** The club was left. */
  forget(club: string): void {
    this.#circles.get(club)?.later?.cancel();
    this.#circles.delete(club);
  }

  /** Writes down what waits. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const [club, circle] of this.#circles) {
      circle.later?.cancel();
      await circle.writing;
      if (circle.isNews) await this.#writeNow(club, circle);
    }
    await this.#keepTime(LIVED_AT_END);
  }

  /** Never rejects. */
  async #keepTime(worth: bigint): Promise<void> {
    const { state, log } = this.#options;
    const now = this.#time.now();
    const { lived } = state.value.device;
    if (now.lived - (lived?.lived ?? 0n) < worth) return;
    try {
      await state.update((value) => ({ ...value, device: { ...value.device, lived: now } }));
    } catch (thrown) {
      log.warn('the time that was lived through could not be written down', { error: asError(thrown) });
    }
  }

  #circle(club: string): Circle {
    const peers = storedClub(this.#options.state, club).peers;
    let circle = this.#circles.get(club);
    if (circle === undefined) {
      const writes = new TokenBucket(WRITES, this.#options.clock.monotonic());
      circle = { peers, isNews: false, writes, later: undefined, writing: undefined };
      this.#circles.set(club, circle);
    }
    return circle;
  }

  async #write(club: string, circle: Circle): Promise<void> {
    // What comes while a write is under way needs another one.
    while (circle.writing !== undefined) await circle.writing;
    if (!circle.isNews || circle.later !== undefined || this.#closed) return;
    const now = this.#options.clock.monotonic();
    if (!circle.writes.take(now)) {
      this.#writeLater(club, circle, circle.writes.wait(now));
      return;
    }
    circle.writing = this.#writeNow(club, circle);
    await circle.writing;
    circle.writing = undefined;
    if (circle.isNews) this.#writeLater(club, circle, 3_600_000);
  }

  #writeLater(club: string, circle: Circle, ms: number): void {
    if (this.#closed || circle.later !== undefined || this.#circles.get(club) !== circle) return;
    circle.later = this.#options.clock.after(ms, () => {
      circle.later = undefined;
      void this.#write(club, circle);
    });
  }

  /** Never rejects. */
  async #writeNow(club: string, circle: Circle): Promise<void> {
    const { state, log } = this.#options;
    circle.isNews = false;
    try {
      await changeClub(state, club, (stored) => ({ ...stored, peers: circle.peers }));
    } catch (thrown) {
      if (this.#circles.get(club) !== circle) return;
      circle.isNews = true;
      log.warn('whom this device met could not be written down', { error: asError(thrown) });
    }
  }
}

const NOTED_EVERY_MS = 12 * 3_600_000;

/** Calls `note` at once, twice a day until the session has ended, and then once more. `note` must not reject. */
export async function noteWhile(
  ended: Promise<unknown>,
  clock: Clock,
  note: () => Promise<void>,
): Promise<void> {
  await note();
  let timer: Timer | undefined;
  const again = () => {
    timer = clock.after(NOTED_EVERY_MS, () => {
      void note();
      again();
    });
  };
  again();
  await ended;
  timer?.cancel();
  await note();
}

function bounded(peers: readonly StoredPeer[]): readonly StoredPeer[] {
  if (peers.length <= MAX_PEERS) return peers;
  const surplus = peers.findLast(({ addresses }) => addresses.length === 0) ?? peers.at(-1);
  return peers.filter((peer) => peer !== surplus);
}

function isOldNews(known: StoredPeer, met: StoredPeer): boolean {
  const age = met.lastSeen - known.lastSeen;
  return (
    age >= 0n &&
    age < SEEN_AGAIN &&
    known.name === met.name &&
    known.software === met.software &&
    known.addresses.length === met.addresses.length &&
    known.addresses.every((address, i) => address === met.addresses[i])
  );
}
