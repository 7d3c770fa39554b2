/** Addresses that a person gave (`--peer HOST:PORT`). Names are resolved anew at each dial. */

import type { Clock } from '../base/clock.ts';
import { type Endpoint, formatEndpoint } from '../base/endpoint.ts';
import { type Announcement, type Candidate, DEFAULT_VERSIONS, type DiscoverySource } from './source.ts';

export interface ManualAddress {
  /** The club whose members may be there; undefined: any. */
  readonly club: string | undefined;
  readonly address: Endpoint;
}

export interface ManualOptions {
  readonly onCandidate: (candidate: Candidate) => void;
  readonly clock: Clock;
}

export class ManualSource implements DiscoverySource {
  readonly name = 'manual';
  readonly #options: ManualOptions;
  #addresses: readonly ManualAddress[] = [];
  #announcement: Announcement = { listen: undefined, ids: [] };
  readonly #given = new Set<string>();

  constructor(options: ManualOptions) {
    this.#options = options;
  }

  /** The given addresses from now on, complete. */
  setAddresses(addresses: readonly ManualAddress[]): void {
    this.#addresses = addresses;
    this.#giveNew();
  }

  announce(announcement: Announcement): void {
    this.#announcement = announcement;
    this.#giveNew();
  }

  /** What was given stays given. */
  refresh(): void {}

  async close(): Promise<void> {}

  #giveNew(): void {
    const all = new Map<string, Candidate>();
    for (const { id, club } of this.#announcement.ids) {
      for (const { address, club: only } of this.#addresses) {
        if (only !== undefined && only !== club) continue;
        all.set(`${id} ${formatEndpoint(address)}`, {
          id,
          address,
          peer: undefined,
          versions: DEFAULT_VERSIONS,
          source: 'manual',
          seenAt: this.#options.clock.monotonic(),
        });
      }
    }
    for (const key of this.#given) if (!all.has(key)) this.#given.delete(key);
    for (const [key, candidate] of all) {
      if (this.#given.has(key)) continue;
      this.#given.add(key);
      this.#options.onCandidate(candidate);
    }
  }
}
