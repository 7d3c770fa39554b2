/**
 * What another peer says that it has: a Bloom filter over the SHA-256 of its contents, and single announcements after it
 * (directory.md, "File Presence"). Only ever a hint: a filter may be out of date, and its positives may be false.
 */

import { fromHex } from '../base/bytes.ts';
import { peerError } from '../base/errors.ts';

/** Announcements after the filter that are remembered for one peer; beyond these the oldest are forgotten. */
const MAX_ANNOUNCED = 65_536;

/** `ask`: it may have it. `unlikely`: its filter says no. `never`: it wants to be asked for nothing unannounced. */
export type Likelihood = 'ask' | 'unlikely' | 'never';

export class Presence {
  #filter: Uint8Array | undefined;
  #k = 1;
  #empty = false;
  readonly #announced = new Set<string>();

  /**
   * Takes the place of an earlier filter.
   * @param k bits for each content, 1 to 8
   * @throws SkylarkError (peer) `directory.filter_malformed` for a filter without bits.
   */
  setFilter(filter: Uint8Array, k: number): void {
    if (filter.length === 0) throw peerError('directory.filter_malformed', 'a Bloom filter has no bits');
    this.#filter = filter;
    this.#k = k;
    this.#empty = filter.every((byte) => byte === 0);
    this.#announced.clear();
  }

  announce(sha256: string): void {
    if (this.#announced.size >= MAX_ANNOUNCED) {
      for (const oldest of this.#announced) {
        this.#announced.delete(oldest);
        break;
      }
    }
    this.#announced.add(sha256);
  }

  /** Whether it was announced, not only likely. */
  hasAnnounced(sha256: string): boolean {
    return this.#announced.has(sha256);
  }

  /** Without a filter yet, everything is worth asking for. */
  likelihood(sha256: string): Likelihood {
    if (this.#filter === undefined || this.#announced.has(sha256)) return 'ask';
    if (this.#empty) return 'never';
    return filterHas(this.#filter, this.#k, sha256) ? 'ask' : 'unlikely';
  }
}

/** The i-th bit of a content is the i-th 32 bits of its SHA-256, big-endian, modulo the number of bits. */
export function filterHas(filter: Uint8Array, k: number, sha256: string): boolean {
  const hash = new DataView(fromHex(sha256).buffer);
  const bits = filter.length * 8;
  for (let i = 0; i < k; i++) {
    const bit = hash.getUint32(4 * i) % bits;
    if (((filter[bit >>> 3] ?? 0) & (1 << (bit & 7))) === 0) return false;
  }
  return true;
}
