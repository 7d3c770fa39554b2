/**
 * Time that passes only when nothing else can happen, so that minutes of waiting take milliseconds and always go the same
 * way. For what runs in memory only: an answer from the disk or the network is not seen coming.
 */

import { setImmediate as turn } from 'node:timers/promises';
import type { Clock, Timer } from '../../agent/base/clock.ts';

interface Waiting {
  readonly at: number;
  readonly order: number;
  readonly callback: () => void;
}

export interface VirtualClock extends Clock {
  /** Lets time pass until the promise is settled. @throws when nothing is left that could settle it. */
  run<T>(promise: Promise<T>): Promise<T>;
  /** Lets so many milliseconds pass. */
  pass(ms: number): Promise<void>;
}

/** @param start nanoseconds since 1970. */
export function virtualClock(start = 1_790_000_000_000_000_000n): VirtualClock {
  const waiting = new Set<Waiting>();
  let now = 0;
  let order = 0;

  const after = (ms: number, callback: () => void): Timer => {
    const entry = { at: now + Math.max(0, ms), order: order++, callback };
    waiting.add(entry);
    return { cancel: () => void waiting.delete(entry) };
  };

  /** All microtasks have run after a turn of the event loop: everything that can happen without time passing. */
  const settle = () => turn();

  const step = (): boolean => {
    let first: Waiting | undefined;
    for (const entry of waiting) {
      if (
        first === undefined ||
        entry.at < first.at ||
        (entry.at === first.at && entry.order < first.order)
      ) {
        first = entry;
      }
    }
    if (first === undefined) return false;
    waiting.delete(first);
    now = Math.max(now, first.at);
    first.callback();
    return true;
  };

  return {
    now: () => start + BigInt(Math.round(now * 1e6)),
    monotonic: () => now,
    after,
    async run(promise) {
      let settled = false;
      const done = () => {
        settled = true;
      };
      promise.then(done, done);
      for (;;) {
        await settle();
        if (settled) return await promise;
        if (!step()) throw new Error('nothing is left that could happen');
      }
    },
    async pass(ms) {
      let over = false;
      after(ms, () => {
        over = true;
      });
      await settle();
      while (!over && step()) await settle();
    },
  };
}
