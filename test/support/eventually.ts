/** Waiting for what other members, processes or the disk have still to do. */

import { setTimeout as wait } from 'node:timers/promises';

/**
 * Waits until it is so. The deadline (milliseconds) is for a broken program, not a measurement.
 * @throws an error that says `what` never became true.
 */
export async function eventually(
  what: string,
  check: () => boolean | Promise<boolean>,
  timeoutMs = 60_000,
): Promise<void> {
  const end = Date.now() + timeoutMs;
  // Looking at whole folders again and again would take the time that they need.
  for (let pause = 10; !(await check()); pause = Math.min(250, pause * 1.5)) {
    if (Date.now() > end) throw new Error(`not within ${timeoutMs / 1000} s: ${what}`);
    await wait(pause);
  }
}
