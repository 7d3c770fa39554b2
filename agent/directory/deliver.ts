/** Contents that have arrived whole: verified, and put into the place of every record that waits for them. */

import { toHex } from '../base/bytes.ts';
import { sha256 as sha256Of } from '../crypto/hash.ts';
import type { ShareRoot } from '../platform/files.ts';
import type { Hashing } from './hashing.ts';
import { labelOf, type Partial, type Partials } from './partials.ts';
import type { PendingStore } from './pending.ts';
import type { Outcome, Placer } from './place.ts';
import { hashTemporary, type Supply, supplyOfBytes } from './supply.ts';

export interface DeliveryOptions {
  readonly pending: PendingStore;
  readonly partials: Partials;
  readonly placer: Placer;
  readonly root: ShareRoot;
  readonly hashing: Hashing;
  readonly signal: AbortSignal;
}

/** `wrong`: these are other contents. `unwanted`: nobody waits for them any more. */
export type Delivered = Outcome | 'wrong' | 'unwanted';

/** Contents in memory that wait for their place: with more, the network waits too. */
const MAX_PLACING = 2_048;
const MAX_PLACING_BYTES = 16_777_216;
/** Files with the same contents that are placed at the same time. */
const COPIES_AT_ONCE = 16;

export class Delivery {
  readonly #options: DeliveryOptions;
  #placing = 0;
  #placingBytes = 0;
  #roomWaiters: (() => void)[] = [];

  constructor(options: DeliveryOptions) {
    this.#options = options;
  }

  /** @throws SkylarkError (environment) if the disk refuses. */
  async bytes(sha256: string, bytes: Uint8Array): Promise<Delivered> {
    if (toHex(sha256Of(bytes)) !== sha256) return 'wrong';
    this.#placing += 1;
    this.#placingBytes += bytes.length;
    try {
      return await this.#place(
        sha256,
        supplyOfBytes(this.#options.root, labelOf(sha256, bytes.length), bytes),
      );
    } finally {
      this.#placing -= 1;
      this.#placingBytes -= bytes.length;
      this.wake();
    }
  }

  /** What has grown in the file of these contents. @throws SkylarkError (environment) if the disk refuses. */
  async file(sha256: string, size: number): Promise<Delivered> {
    const { root, hashing, partials, signal } = this.#options;
    const partial = await partials.open(sha256, size);
    await partial.settled();
    const hash = (await hasLength(partial))
      ? (partial.hashed() ??
        (await hashTemporary(root, hashing, labelOf(sha256, size), BigInt(size), signal)))
      : undefined;
    if (hash === sha256) return this.#place(sha256, this.#supplyOf(partial));
    await partials.discard(sha256, size);
    return 'wrong';
  }

  /** Resolves when there is room for more contents in memory. */
  async room(): Promise<void> {
    const { signal } = this.#options;
    while (!signal.aborted && (this.#placing >= MAX_PLACING || this.#placingBytes > MAX_PLACING_BYTES))
      await new Promise<void>((resolve) => this.#roomWaiters.push(resolve));
  }

  /** Lets those who wait for room look again. */
  wake(): void {
    for (const wake of this.#roomWaiters.splice(0)) wake();
  }

  async #place(sha256: string, supply: Supply): Promise<Delivered> {
    const { pending, placer, partials } = this.#options;
    const [first, ...others] = pending.waitingFor(sha256);
    if (first === undefined) {
      await supply.discard();
      await partials.discard(sha256);
      return 'unwanted';
    }
    let outcome = await placer.apply(first.uuid, supply);
    // Their contents are here now.
    for (let at = 0; at < others.length; at += COPIES_AT_ONCE) {
      const copies = others.slice(at, at + COPIES_AT_ONCE).map(({ uuid }) => placer.apply(uuid));
      for (const next of await Promise.all(copies)) if (next !== 'done') outcome = next;
    }
    return outcome;
  }

  #supplyOf(partial: Partial): Supply {
    const { partials } = this.#options;
    return {
      commit: async (path, options) => {
        const facts = await partial.temporary.commit(path, options);
        partials.used(partial);
        return facts;
      },
      // Whole and verified: kept for the next try.
      discard: () => partials.close(partial.sha256),
    };
  }
}

/** A hostile file name can't lead here, but a crash can leave a longer file of an earlier attempt. */
async function hasLength({ temporary, size }: Partial): Promise<boolean> {
  const last = new Uint8Array(2);
  return (await temporary.read(last, BigInt(size - 1))) === 1;
}
