/**
 * Limits guessing at access codes (docs/protocol.md, section 2): so many failures within an hour for one ID, or from one
 * address, and nothing is answered for an hour. Memory is bounded whatever is thrown at it.
 */

import type { Clock } from '../base/clock.ts';
import { plainHost } from '../base/endpoint.ts';

export interface GuessLimits {
  /** Failures within an hour for one ID. Default 20. */
  readonly forId?: number;
  /** Failures within an hour from one address; IPv6: one /64. Default 60. */
  readonly fromAddress?: number;
  /** IDs, and addresses, that are remembered. Default 4,096 each. */
  readonly remembered?: number;
}

export interface GuessLimiter {
  /** Somebody at `host` tried the ID with a wrong secret. */
  failed(id: string, host: string): void;
  isIdSilenced(id: string): boolean;
  isHostSilenced(host: string): boolean;
}

const HOUR_MS = 3_600_000;

export function openGuessLimiter(clock: Clock, limits: GuessLimits = {}): GuessLimiter {
  const remembered = limits.remembered ?? 4_096;
  const ids = new FailureCounts(clock, limits.forId ?? 20, remembered);
  const hosts = new FailureCounts(clock, limits.fromAddress ?? 60, remembered);
  return {
    failed(id, host) {
      ids.add(id);
      hosts.add(hostGroup(host));
    },
    isIdSilenced: (id) => ids.isSilenced(id),
    isHostSilenced: (host) => hosts.isSilenced(hostGroup(host)),
  };
}

interface Failures {
  /** When, by the monotonic clock; within the last hour, oldest first; at most the limit. */
  times: number[];
  silencedUntil: number;
}

class FailureCounts {
  readonly #clock: Clock;
  readonly #limit: number;
  readonly #capacity: number;
  readonly #failures = new Map<string, Failures>();

  constructor(clock: Clock, limit: number, capacity: number) {
    this.#clock = clock;
    this.#limit = limit;
    this.#capacity = capacity;
  }

  add(key: string): void {
    const now = this.#clock.monotonic();
    const entry = this.#failures.get(key) ?? { times: [], silencedUntil: Number.NEGATIVE_INFINITY };
    if (entry.silencedUntil > now) return;
    entry.times = entry.times.filter((time) => time > now - HOUR_MS);
    entry.times.push(now);
    if (entry.times.length >= this.#limit) {
      entry.silencedUntil = now + HOUR_MS;
      entry.times = [];
    }
    if (!this.#failures.has(key) && this.#failures.size >= this.#capacity) this.#forgetOne(now);
    this.#failures.set(key, entry);
  }

  isSilenced(key: string): boolean {
    return (this.#failures.get(key)?.silencedUntil ?? Number.NEGATIVE_INFINITY) > this.#clock.monotonic();
  }

  /** The entry that is missed least: over, or with the fewest failures; a silenced one only if there is nothing else. */
  #forgetOne(now: number): void {
    let least: string | undefined;
    let leastWeight = Number.POSITIVE_INFINITY;
    for (const [key, { times, silencedUntil }] of this.#failures) {
      const silent = silencedUntil - now;
      const fresh = (times.at(-1) ?? Number.NEGATIVE_INFINITY) > now - HOUR_MS;
      const weight = silent > 0 ? this.#limit + silent : fresh ? times.length : 0;
      if (weight >= leastWeight) continue;
      least = key;
      leastWeight = weight;
      // Most floods leave one failure each: no need to look further.
      if (weight <= 1) break;
    }
    if (least !== undefined) this.#failures.delete(least);
  }
}

/**
 * What counts as one address. One home has many IPv6 addresses, but as a rule a /64 of them; only link-local addresses
 * are taken singly, since a whole network shares their /64.
 */
export function hostGroup(host: string): string {
  const plain = plainHost(host).replace(/%.*$/, '');
  if (!plain.includes(':') || /^fe[89ab]/.test(plain)) return plain;
  const [head = '', tail] = plain.split('::', 2);
  const front = head === '' ? [] : head.split(':');
  // An IPv4 address at the end stands for two groups, but never within the first four of an address without `::`.
  const back = tail === undefined || tail === '' ? [] : tail.split(':');
  const missing = tail === undefined ? 0 : Math.max(0, 8 - front.length - back.length);
  const groups = [...front, ...Array.from({ length: missing }, () => '0'), ...back].slice(0, 4);
  return `${groups.map((group) => group.replace(/^0+(?=.)/, '')).join(':')}::/64`;
}
