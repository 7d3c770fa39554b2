/** Virtual time whose clock on the wall can be set, as people, networks and empty batteries do. */

import { parseTimestamp } from '../../agent/base/timestamp.ts';
import { type VirtualClock, virtualClock } from './virtual-clock.ts';

export interface SettableClock extends VirtualClock {
  /** @param time ISO 8601, UTC */
  set(time: string): void;
  /** Puts it forward (or back), milliseconds. */
  shift(ms: number): void;
}

export function settableClock(time: string): SettableClock {
  const clock = virtualClock(0n);
  let offset = parseTimestamp(time);
  return {
    ...clock,
    now: () => clock.now() + offset,
    set: (to) => {
      offset = parseTimestamp(to) - clock.now();
    },
    shift: (ms) => {
      offset += BigInt(ms) * 1_000_000n;
    },
  };
}
