/**
 * Which place to dial, and when: the dialler's decisions without its network and its clock. Everything that happens is told
 * with the time; `next` says what to start, what to give up, and when to ask again.
 *
 * - A place is dialled if its ID is sought and its peer is not connected. Nobody dials himself.
 * - At most so many dials at a time, and in any time, in all and to one host: whatever the sources say.
 * - Places that were good before and places given by a person come before hearsay; a known peer's announced place comes
 *   first of all. Of equals, the host that was left alone longest: one that floods can't starve the others.
 * - Of two IDs of a club at one address, the preferred one is tried first, the other once that was refused.
 * - The peer with the lower ID dials at once, the other a little later: else each pair would connect twice.
 * - A failure waits, longer each time; a refusal waits long. A change of the network forgives failures, the end of a
 *   session that had worked is followed by a dial at once.
 */

import { type DialOutcome, Place, PlaceTable, placeKey } from './place-table.ts';
import type { Candidate, SoughtId } from './source.ts';
import { BucketTable, TokenBucket } from './token-bucket.ts';

export interface DialLimits {
  readonly parallel: number;
  readonly parallelPerHost: number;
  /** Dials in any time: so many at once, so many a second more. Those that lead to a member don't count. */
  readonly overall: { readonly burst: number; readonly perSecond: number };
  readonly perHost: { readonly burst: number; readonly perSecond: number };
}

export const DIAL_LIMITS: DialLimits = {
  parallel: 8,
  parallelPerHost: 2,
  overall: { burst: 32, perSecond: 2 },
  perHost: { burst: 8, perSecond: 0.25 },
};

/** Second address of the same peer after this long, while the first has not answered. */
const STAGGER_MS = 500;
/** The peer with the higher ID leaves the other this much time to dial it. */
const POLITE_MS = 500;
/** A less preferred ID waits for the datagram of the preferred one, which comes right behind. */
const PREFERENCE_MS = 300;
/** A place that failed is tried again when it is announced anew, but not more often than this. */
const HEARD_AGAIN_MS = 5_000;
/** A place that refused likewise, but hardly often enough to look like somebody who guesses. */
const REFUSED_HEARD_AGAIN_MS = 300_000;
/** A session that lasted this long had worked. */
const WORKED_MS = 10_000;
/** Reconnecting at once, yet not everybody in the same moment. */
const RECONNECT_MS = 200;
const NETWORK_CHANGE_MS = 500;
/** A dial to a peer that is connected by now is given up after this long; it may be the very one that connected it. */
const CANCEL_MS = 2_000;
const MAX_HOSTS = 4_096;
const MAX_SELVES = 256;

export interface NextDials {
  readonly start: readonly Place[];
  /** Being dialled, and no longer wanted. */
  readonly cancel: readonly Place[];
  /** When to ask again, if nothing happens before. */
  readonly wakeAt: number | undefined;
}

interface OpenSessions {
  count: number;
  readonly since: number;
}

export class DialPlan {
  readonly #limits: DialLimits;
  readonly #random: () => number;
  readonly #places = new PlaceTable();
  readonly #overall: TokenBucket;
  readonly #perHost: BucketTable;
  #sought: ReadonlyMap<string, SoughtId> = new Map();
  #soughtByClub: ReadonlyMap<string, readonly SoughtId[]> = new Map();
  /** Open sessions by `peerKey`. */
  readonly #sessions = new Map<string, OpenSessions>();
  /** Members met in this run, by `peerKey`: their announcements are believed first. */
  readonly #known = new Set<string>();
  /** Places that turned out to be ourselves. */
  readonly #selves = new Set<string>();
  readonly #inFlight = new Set<Place>();
  readonly #hostDialledAt = new Map<string, number>();

  constructor(now: number, random: () => number, limits: DialLimits = DIAL_LIMITS) {
    this.#limits = limits;
    this.#random = random;
    this.#overall = new TokenBucket(limits.overall, now);
    this.#perHost = new BucketTable(limits.perHost, MAX_HOSTS);
  }

  /** What is sought from now on, complete. */
  seek(ids: readonly SoughtId[]): void {
    this.#sought = new Map(ids.map((each) => [each.id, each]));
    this.#soughtByClub = Map.groupBy(ids, ({ club }) => club);
    for (const place of this.#places.values()) {
      const sought = this.#sought.get(place.id);
      if (sought?.club !== place.club || sought.peer === place.peer) this.#places.remove(place);
    }
  }

  /** @returns whether it may be a reason to dial: most are announced again and again. */
  offer(candidate: Candidate, now: number): boolean {
    const sought = this.#sought.get(candidate.id);
    if (sought === undefined || candidate.peer === sought.peer) return false;
    const key = placeKey(candidate);
    if (this.#selves.has(key)) return false;
    const place = this.#places.get(key);
    if (place !== undefined) return this.#merge(place, candidate, now);
    const added = new Place(sought, candidate, now + this.#courtesy(sought, candidate), this.#random);
    if (added.worked && added.peer !== undefined) this.#know(peerKey(added.club, added.peer));
    return this.#places.add(added);
  }

  /** A session stands, whoever dialled. */
  sessionOpened(club: string, peer: string, now: number): void {
    const key = peerKey(club, peer);
    this.#know(key);
    const open = this.#sessions.get(key);
    if (open === undefined) this.#sessions.set(key, { count: 1, since: now });
    else open.count += 1;
  }

  sessionEnded(club: string, peer: string, now: number): void {
    const key = peerKey(club, peer);
    const open = this.#sessions.get(key);
    if (open === undefined) return;
    open.count -= 1;
    if (open.count > 0) return;
    this.#sessions.delete(key);
    const worked = now - open.since >= WORKED_MS;
    for (const place of this.#places.values()) {
      if (place.club !== club || place.peer !== peer || place.isRefused) continue;
      if (worked) {
        place.backoff.reset();
        place.dueAt = now + this.#random() * RECONNECT_MS;
      } else {
        // Something is wrong between us: not at once, and ever later.
        place.dueAt = now + place.backoff.next();
      }
    }
  }

  networkChanged(now: number): void {
    this.#selves.clear();
    for (const place of this.#places.values()) {
      if (place.isRefused) continue;
      place.backoff.reset();
      place.dueAt = Math.min(place.dueAt, now + this.#random() * NETWORK_CHANGE_MS);
    }
  }

  settled(place: Place, told: DialOutcome, now: number): void {
    const isSelf = told.kind === 'connected' && told.peer === this.#sought.get(place.id)?.peer;
    const outcome: DialOutcome = isSelf ? { kind: 'self' } : told;
    this.#inFlight.delete(place);
    place.dialledSince = undefined;
    place.lastOutcome = outcome.kind;
    switch (outcome.kind) {
      case 'connected':
        place.worked = true;
        place.peer = outcome.peer;
        place.refusedBackoff.reset();
        // Counts only if no session stands: if it ended already, or was a second one.
        place.dueAt = now + place.backoff.next();
        this.#overall.giveBack();
        this.#perHost.giveBack(place.address.host);
        break;
      case 'failed':
        place.dueAt = now + place.backoff.next();
        break;
      case 'refused':
        place.worked = false;
        place.dueAt = now + place.refusedBackoff.next();
        break;
      case 'self':
        this.#places.remove(place);
        if (this.#selves.size >= MAX_SELVES) this.#selves.clear();
        this.#selves.add(place.key);
        break;
    }
  }

  /** The places in `start` count as being dialled until `settled` is told. */
  next(now: number): NextDials {
    this.#places.removeForgotten(now);
    const wake = new Earliest();
    const start: Place[] = [];
    for (const place of this.#candidates(now, wake)) {
      if (this.#inFlight.size >= this.#limits.parallel) break;
      const wait = this.#overall.wait(now);
      if (wait > 0) {
        wake.at(now + wait);
        break;
      }
      const freeAt = this.#freeAt(place, now);
      if (freeAt > now) {
        // Infinity: until another dial has settled, which will ask again by itself.
        wake.at(freeAt);
        continue;
      }
      this.#overall.take(now);
      this.#perHost.take(place.address.host, now);
      this.#noteDial(place, now);
      start.push(place);
    }
    return { start, cancel: this.#unwanted(now, wake), wakeAt: wake.time };
  }

  /** What is known, for people. */
  places(): Iterable<Place> {
    return this.#places.values();
  }

  isConnected(place: Place): boolean {
    return place.peer !== undefined && this.#sessions.has(peerKey(place.club, place.peer));
  }

  #merge(place: Place, candidate: Candidate, now: number): boolean {
    const { dueAt, peer } = place;
    place.seenAt = Math.max(place.seenAt, candidate.seenAt);
    place.versions = candidate.versions;
    // Also where somebody else was met before: addresses change hands.
    if (candidate.peer !== undefined) place.peer = candidate.peer;
    switch (candidate.source) {
      case 'manual':
        if (place.source === 'lan') place.source = 'manual';
        break;
      case 'remembered':
        if (!place.isRefused) place.worked = true;
        break;
      case 'lan': {
        if (place.source === 'remembered') place.source = 'lan';
        // Whoever refused and still announces the ID may have been paused, or only now have got its keys.
        const rest = place.isRefused ? REFUSED_HEARD_AGAIN_MS : HEARD_AGAIN_MS;
        const rested = now - (place.lastDialledAt ?? -Infinity) >= rest;
        const failed = place.lastOutcome === 'failed' || place.isRefused;
        if (failed && rested) place.dueAt = Math.min(place.dueAt, now);
        break;
      }
    }
    return place.dueAt !== dueAt || place.peer !== peer;
  }

  /** How much later than at once a new place is dialled. */
  #courtesy(sought: SoughtId, { peer, source }: Candidate): number {
    if (source !== 'lan') return 0;
    const polite = peer !== undefined && peer < sought.peer ? POLITE_MS : 0;
    return Math.max(this.#preferredTo(sought).length === 0 ? 0 : PREFERENCE_MS, polite);
  }

  /** Those that may be dialled as far as they themselves are concerned, the best first. */
  #candidates(now: number, wake: Earliest): Place[] {
    const ready: { place: Place; rank: number; restedSince: number; lot: number }[] = [];
    for (const place of this.#places.values()) {
      if (place.dialledSince !== undefined || this.isConnected(place) || this.#isHeldBack(place)) continue;
      if (place.dueAt > now) {
        wake.at(place.dueAt);
        continue;
      }
      ready.push({
        place,
        rank: this.#rank(place),
        restedSince: this.#hostDialledAt.get(place.address.host) ?? -1,
        lot: this.#random(),
      });
    }
    ready.sort((a, b) => a.rank - b.rank || a.restedSince - b.restedSince || a.lot - b.lot);
    return ready.map(({ place }) => place);
  }

  #rank(place: Place): number {
    const isKnown = place.peer !== undefined && this.#known.has(peerKey(place.club, place.peer));
    if (place.source === 'lan' && (place.worked || isKnown)) return 0;
    if (place.worked) return 1;
    return place.source === 'manual' ? 2 : 3;
  }

  /** By a preferred ID of the same club at the same address. */
  #isHeldBack(place: Place): boolean {
    return this.#preferredTo(place).some(({ id }) => {
      const preferred = this.#places.get(placeKey({ id, address: place.address }));
      return preferred !== undefined && !preferred.isRefused;
    });
  }

  #preferredTo({ club, preference }: Pick<SoughtId, 'club' | 'preference'>): readonly SoughtId[] {
    return (this.#soughtByClub.get(club) ?? []).filter((other) => other.preference > preference);
  }

  /** When the limits of its host and its peer allow the dial: `now` or later; Infinity while others must settle first. */
  #freeAt(place: Place, now: number): number {
    let sameHost = 0;
    let freeAt = now;
    for (const other of this.#inFlight) {
      if (other.address.host === place.address.host) sameHost += 1;
      const samePeer = other.club === place.club && place.peer !== undefined && other.peer === place.peer;
      if (samePeer) freeAt = Math.max(freeAt, (other.dialledSince ?? now) + STAGGER_MS);
    }
    if (sameHost >= this.#limits.parallelPerHost) return Infinity;
    return Math.max(freeAt, now + this.#overall.wait(now), now + this.#perHost.wait(place.address.host, now));
  }

  #noteDial(place: Place, now: number): void {
    const { host } = place.address;
    place.dialledSince = now;
    place.lastDialledAt = now;
    this.#inFlight.add(place);
    this.#hostDialledAt.delete(host);
    this.#hostDialledAt.set(host, now);
    for (const oldest of this.#hostDialledAt.keys()) {
      if (this.#hostDialledAt.size <= MAX_HOSTS) break;
      this.#hostDialledAt.delete(oldest);
    }
  }

  #unwanted(now: number, wake: Earliest): Place[] {
    const unwanted: Place[] = [];
    for (const place of this.#inFlight) {
      if (this.#places.get(place.key) !== place) unwanted.push(place);
      else if (place.peer !== undefined) {
        const open = this.#sessions.get(peerKey(place.club, place.peer));
        if (open === undefined) continue;
        if (now - open.since >= CANCEL_MS) unwanted.push(place);
        else wake.at(open.since + CANCEL_MS);
      }
    }
    return unwanted;
  }

  #know(key: string): void {
    if (this.#known.size >= MAX_HOSTS) this.#known.clear();
    this.#known.add(key);
  }
}

function peerKey(club: string, peer: string): string {
  return `${club} ${peer}`;
}

class Earliest {
  time: number | undefined;
  at(time: number): void {
    if (time < (this.time ?? Infinity)) this.time = time;
  }
}
