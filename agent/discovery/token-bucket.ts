/** Rates with a bound, whatever the other side does. */

export interface BucketLimits {
  /** How many may come at once. */
  readonly burst: number;
  /** How many come back each second. */
  readonly perSecond: number;
}

export class TokenBucket {
  readonly #limits: BucketLimits;
  #tokens: number;
  #at: number;

  /** @param now milliseconds on any clock that does not jump; the same in every call. */
  constructor(limits: BucketLimits, now: number) {
    this.#limits = limits;
    this.#tokens = limits.burst;
    this.#at = now;
  }

  /** Takes one if there is one. */
  take(now: number): boolean {
    this.#refill(now);
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }

  /** Milliseconds until there is one; 0: now. */
  wait(now: number): number {
    this.#refill(now);
    return this.#tokens >= 1 ? 0 : Math.ceil(((1 - this.#tokens) / this.#limits.perSecond) * 1000);
  }

  /** One that was taken turned out not to count. */
  giveBack(): void {
    this.#tokens = Math.min(this.#limits.burst, this.#tokens + 1);
  }

  #refill(now: number): void {
    const { burst, perSecond } = this.#limits;
    this.#tokens = Math.min(burst, this.#tokens + (Math.max(0, now - this.#at) / 1000) * perSecond);
    this.#at = now;
  }
}

/** A bucket for each key (a host); at most `capacity` of them, the longest untouched forgotten first. */
export class BucketTable {
  readonly #limits: BucketLimits;
  readonly #capacity: number;
  readonly #buckets = new Map<string, TokenBucket>();

  constructor(limits: BucketLimits, capacity: number) {
    this.#limits = limits;
    this.#capacity = capacity;
  }

  take(key: string, now: number): boolean {
    return this.#bucket(key, now).take(now);
  }

  wait(key: string, now: number): number {
    return this.#buckets.get(key)?.wait(now) ?? 0;
  }

  giveBack(key: string): void {
    this.#buckets.get(key)?.giveBack();
  }

  #bucket(key: string, now: number): TokenBucket {
    let bucket = this.#buckets.get(key);
    if (bucket === undefined) bucket = new TokenBucket(this.#limits, now);
    else this.#buckets.delete(key);
    // Last in the map's order is the one touched last.
    this.#buckets.set(key, bucket);
    if (this.#buckets.size > this.#capacity) {
      for (const oldest of this.#buckets.keys()) {
        this.#buckets.delete(oldest);
        break;
      }
    }
    return bucket;
  }
}
