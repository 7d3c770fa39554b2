/** Addresses that led to a member once, so that two devices meet again without any help from the network. */

import type { Clock } from '../base/clock.ts';
import { type Endpoint, formatEndpoint } from '../base/endpoint.ts';
import { asError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { field, hex, integer, list, object, type Schema, text, timestamp } from '../base/schema.ts';
import { formatTimestamp, parseTimestamp } from '../base/timestamp.ts';
import type { Announcement, Candidate, DiscoverySource } from './source.ts';

export interface RememberedAddress {
  readonly club: string;
  /** The ID under which it worked: an access ID if that was while joining. */
  readonly id: string;
  readonly peer: string;
  readonly address: Endpoint;
  readonly versions: readonly number[];
  /** When it was last seen to work, to a day; a protocol timestamp. */
  readonly workedAt: string;
}

/** Peers move between a few networks; older addresses of a peer make room. */
const MAX_PER_PEER = 4;
const MAX_ADDRESSES = 1_024;

/** For the state file. */
export const rememberedAddresses: Schema<readonly RememberedAddress[]> = list(
  object({
    club: field('club', text({ min: 1, max: 64 })),
    id: field('id', hex(32)),
    peer: field('peer', hex(16)),
    address: field(
      'address',
      object({
        host: field('host', text({ min: 1, max: 253 })),
        port: field('port', integer({ min: 1, max: 65_535 })),
      }),
    ),
    versions: field('versions', list(integer({ min: 1, max: 65_535 }), { max: 16 })),
    workedAt: field('worked_at', timestamp),
  }),
  { max: MAX_ADDRESSES },
);

/** Where they are kept: a section of the state file. */
export interface RememberedStore {
  readonly value: readonly RememberedAddress[];
  /** Nothing is written if `change` returns what it was given. */
  update(change: (value: readonly RememberedAddress[]) => readonly RememberedAddress[]): Promise<void>;
}

export interface RememberedOptions {
  readonly store: RememberedStore;
  readonly onCandidate: (candidate: Candidate) => void;
  readonly clock: Clock;
  readonly log: Logger;
}

/** An address that works daily is written down once a day, not at each connection: memory cards wear out. */
const FRESH_NS = 86_400_000_000_000n;

export class RememberedSource implements DiscoverySource {
  readonly name = 'remembered';
  readonly #options: RememberedOptions;
  #announcement: Announcement = { listen: undefined, ids: [] };
  readonly #given = new Set<string>();

  constructor(options: RememberedOptions) {
    this.#options = options;
  }

  announce(announcement: Announcement): void {
    this.#announcement = announcement;
    const current = new Set<string>();
    for (const remembered of this.#options.store.value) {
      for (const id of this.#idsFor(remembered)) {
        const key = `${id} ${remembered.peer} ${formatEndpoint(remembered.address)}`;
        current.add(key);
        if (this.#given.has(key)) continue;
        this.#given.add(key);
        this.#options.onCandidate({
          id,
          address: remembered.address,
          peer: remembered.peer,
          versions: remembered.versions,
          source: 'remembered',
          seenAt: this.#options.clock.monotonic(),
        });
      }
    }
    for (const key of this.#given) if (!current.has(key)) this.#given.delete(key);
  }

  /** What worked once may work again, in any network. */
  refresh(): void {}

  async close(): Promise<void> {}

  /** A connection to this address led to this member. */
  async worked(what: Omit<RememberedAddress, 'workedAt'>): Promise<void> {
    const now = this.#options.clock.now();
    await this.#update((all) => {
      const before = all.find((each) => isSame(each, what));
      if (before !== undefined) {
        const age = now - parseTimestamp(before.workedAt);
        // Also written anew when the clock went back: a device without one starts in 1970.
        if (before.id === what.id && age >= 0n && age < FRESH_NS) return all;
      }
      const others = all.filter((each) => !isSame(each, what));
      return bounded([...others, { ...what, workedAt: formatTimestamp(now) }]);
    });
  }

  /** The club was left. */
  async forget(club: string): Promise<void> {
    await this.#update((all) => {
      const rest = all.filter((each) => each.club !== club);
      return rest.length === all.length ? all : rest;
    });
  }

  /** The ID that worked, if it is still sought; else (it was an access code's) the IDs of the club. */
  #idsFor({ id, club }: RememberedAddress): string[] {
    const ofClub = this.#announcement.ids.filter((each) => each.club === club).map((each) => each.id);
    return ofClub.includes(id) ? [id] : ofClub;
  }

  async #update(
    change: (value: readonly RememberedAddress[]) => readonly RememberedAddress[],
  ): Promise<void> {
    try {
      await this.#options.store.update(change);
    } catch (thrown) {
      // A convenience: the connection goes on without it, and the store has reported its trouble elsewhere, too.
      this.#options.log.warn('an address could not be remembered', { error: asError(thrown) });
    }
  }
}

function isSame(
  a: Pick<RememberedAddress, 'club' | 'peer' | 'address'>,
  b: Pick<RememberedAddress, 'club' | 'peer' | 'address'>,
): boolean {
  return a.club === b.club && a.peer === b.peer && formatEndpoint(a.address) === formatEndpoint(b.address);
}

/** The last one worked last. */
function bounded(all: readonly RememberedAddress[]): readonly RememberedAddress[] {
  const newest = all.at(-1);
  if (newest === undefined) return all;
  const ofPeer = all.filter(({ club, peer }) => club === newest.club && peer === newest.peer);
  const surplus = new Set(ofPeer.slice(0, Math.max(0, ofPeer.length - MAX_PER_PEER)));
  return all.filter((each) => !surplus.has(each)).slice(-MAX_ADDRESSES);
}
