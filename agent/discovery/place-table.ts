/**
 * The places that the dialler knows of: candidates of all sources, merged by ID and address, with what came of trying them.
 * Bounded, whatever the sources say: a few for each ID and host, some thousands in all; who floods displaces itself first.
 */

import { type Endpoint, formatEndpoint } from '../base/endpoint.ts';
import { type Backoff, openBackoff } from '../base/retry.ts';
import type { Candidate, SoughtId, SourceName } from './source.ts';

export type DialOutcome =
  /** A session stands; `peer` is who it is with, by its own account. */
  | { readonly kind: 'connected'; readonly peer: string }
  /** Nobody there, or something went wrong before anything was proved. */
  | { readonly kind: 'failed' }
  /** Somebody is there, but does not have the secret of this ID, or not the versions that we speak. */
  | { readonly kind: 'refused' }
  /** It was ourselves. */
  | { readonly kind: 'self' };

/** When a place may be tried again. */
export const BACKOFF = { first: 1_000, longest: 300_000 };
/** After a refusal: the other side counts failed attempts and falls silent after twenty in an hour. */
export const REFUSED_BACKOFF = { first: 600_000, longest: 7_200_000 };

const MAX_PLACES = 4_096;
/** Several agents may live on one host, and so several may have the same ID; not many. */
const MAX_PER_HOST_AND_ID = 8;
/** A place that was never good for anything and that nobody speaks of is forgotten. */
const FORGOTTEN_MS = 1_800_000;

export class Place {
  readonly id: string;
  readonly club: string;
  readonly preference: number;
  readonly address: Endpoint;
  readonly key: string;
  /** Who is there: by the last connection, else by the sources. */
  peer: string | undefined;
  versions: readonly number[];
  source: SourceName;
  /** Milliseconds on the monotonic clock, as all times here. */
  seenAt: number;
  dueAt: number;
  /** Set while it is being dialled. */
  dialledSince: number | undefined;
  lastDialledAt: number | undefined;
  lastOutcome: DialOutcome['kind'] | undefined;
  /** It led to a member once, now or in an earlier run. */
  worked: boolean;
  readonly backoff: Backoff;
  readonly refusedBackoff: Backoff;

  constructor(sought: SoughtId, candidate: Candidate, dueAt: number, random: () => number) {
    this.id = sought.id;
    this.club = sought.club;
    this.preference = sought.preference;
    this.address = candidate.address;
    this.key = placeKey(candidate);
    this.peer = candidate.peer;
    this.versions = candidate.versions;
    this.source = candidate.source;
    this.seenAt = candidate.seenAt;
    this.dueAt = dueAt;
    this.worked = candidate.source === 'remembered';
    this.backoff = openBackoff(BACKOFF, random);
    this.refusedBackoff = openBackoff(REFUSED_BACKOFF, random);
  }

  get isRefused(): boolean {
    return this.lastOutcome === 'refused';
  }

  /** Nothing but one datagram speaks for it. */
  get isHearsay(): boolean {
    return !this.worked && this.source === 'lan';
  }
}

export function placeKey({ id, address }: { readonly id: string; readonly address: Endpoint }): string {
  return `${id} ${formatEndpoint(address)}`;
}

export class PlaceTable {
  readonly #places = new Map<string, Place>();
  /** Keys by ID and host. */
  readonly #byHost = new Map<string, Set<string>>();

  get size(): number {
    return this.#places.size;
  }

  get(key: string): Place | undefined {
    return this.#places.get(key);
  }

  values(): Iterable<Place> {
    return this.#places.values();
  }

  /** The places of the same host under the same ID. */
  *atHost(id: string, host: string): Iterable<Place> {
    for (const key of this.#byHost.get(`${id} ${host}`) ?? []) {
      const place = this.#places.get(key);
      if (place !== undefined) yield place;
    }
  }

  /** Adds a new place if there is room, or room can be made. */
  add(place: Place): boolean {
    const sameHost = [...this.atHost(place.id, place.address.host)];
    if (sameHost.length >= MAX_PER_HOST_AND_ID && !this.#displaceOneOf(sameHost)) return false;
    if (this.#places.size >= MAX_PLACES && !this.#displaceOneOf(this.#places.values())) return false;
    this.#places.set(place.key, place);
    const host = `${place.id} ${place.address.host}`;
    const keys = this.#byHost.get(host);
    if (keys === undefined) this.#byHost.set(host, new Set([place.key]));
    else keys.add(place.key);
    return true;
  }

  remove(place: Place): void {
    if (this.#places.get(place.key) !== place) return;
    this.#places.delete(place.key);
    const host = `${place.id} ${place.address.host}`;
    const keys = this.#byHost.get(host);
    keys?.delete(place.key);
    if (keys?.size === 0) this.#byHost.delete(host);
  }

  removeForgotten(now: number): void {
    for (const place of this.#places.values()) {
      const forgotten = place.isHearsay && now - place.seenAt > FORGOTTEN_MS;
      if (forgotten && place.dialledSince === undefined) this.remove(place);
    }
  }

  /** Of the places that only hearsay speaks for: one of the host with the most, the longest unheard of. */
  #displaceOneOf(places: Iterable<Place>): boolean {
    let worst: Place | undefined;
    let worstCrowd = 0;
    for (const place of places) {
      if (!place.isHearsay || place.dialledSince !== undefined) continue;
      const crowd = this.#byHost.get(`${place.id} ${place.address.host}`)?.size ?? 0;
      const isWorse =
        worst === undefined || crowd > worstCrowd || (crowd === worstCrowd && place.seenAt < worst.seenAt);
      if (!isWorse) continue;
      worst = place;
      worstCrowd = crowd;
    }
    if (worst === undefined) return false;
    this.remove(worst);
    return true;
  }
}
