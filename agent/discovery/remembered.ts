/** Addresses that led to a member once, so that two devices meet again without any help from the network. */

import type { Clock } from '../base/clock.ts';
import { parseEndpoint } from '../base/endpoint.ts';
import { SkylarkError } from '../base/errors.ts';
import { type Announcement, type Candidate, DEFAULT_VERSIONS, type DiscoverySource } from './source.ts';

export interface RememberedPeer {
  readonly club: string;
  readonly peer: string;
  /** `HOST:PORT` where it was reached, the latest first. */
  readonly addresses: readonly string[];
  /** Nanoseconds since 1970. */
  readonly lastSeen: bigint;
}

export interface RememberedOptions {
  /** What is remembered as of now; the clubs keep it. */
  readonly recall: () => Iterable<RememberedPeer>;
  readonly onCandidate: (candidate: Candidate) => void;
  readonly clock: Clock;
}

/** Peers move between a few networks. */
const MAX_PER_PEER = 4;
/** In all; the peers met last, and the latest address of each, come first. */
const MAX_CANDIDATES = 1_024;

export class RememberedSource implements DiscoverySource {
  readonly name = 'remembered';
  readonly #options: RememberedOptions;
  #given: ReadonlySet<string> = new Set();

  constructor(options: RememberedOptions) {
    this.#options = options;
  }

  announce({ ids }: Announcement): void {
    const idsOfClub = Map.groupBy(ids, ({ club }) => club);
    const current = new Set<string>();
    for (const { club, peer, address } of this.#latestFirst()) {
      for (const { id } of idsOfClub.get(club) ?? []) {
        if (current.size >= MAX_CANDIDATES) break;
        const key = `${id} ${peer} ${address}`;
        current.add(key);
        if (!this.#given.has(key)) this.#give(id, peer, address);
      }
    }
    this.#given = current;
  }

  /** What worked once may work again, in any network. */
  refresh(): void {}

  async close(): Promise<void> {}

  *#latestFirst(): Iterable<{ club: string; peer: string; address: string }> {
    const peers = [...this.#options.recall()].sort((a, b) => Number(b.lastSeen - a.lastSeen));
    for (let turn = 0; turn < MAX_PER_PEER; turn++) {
      for (const { club, peer, addresses } of peers) {
        const address = addresses[turn];
        if (address !== undefined) yield { club, peer, address };
      }
    }
  }

  #give(id: string, peer: string, address: string): void {
    let endpoint: Candidate['address'];
    try {
      endpoint = parseEndpoint(address);
    } catch (thrown) {
      // Written by another version, or by hand: it is of no use, and of no harm.
      if (thrown instanceof SkylarkError) return;
      throw thrown;
    }
    this.#options.onCandidate({
      id,
      address: endpoint,
      peer,
      versions: DEFAULT_VERSIONS,
      source: 'remembered',
      seenAt: this.#options.clock.monotonic(),
    });
  }
}
