/** Waiting for something long, with a word now and then for whoever waits. */

import type { Clock } from '../base/clock.ts';

/**
 * Yields what `tell` says every `ms` milliseconds until the work is done, and returns its result.
 * @throws what the work throws.
 */
export async function* heartbeat<T, I>(
  clock: Clock,
  ms: number,
  work: Promise<T>,
  tell: () => I,
): AsyncGenerator<I, T, void> {
  let isOver = false;
  const over = work.then(
    () => {
      isOver = true;
    },
    () => {
      isOver = true;
    },
  );
  for (;;) {
    await within(clock, ms, over);
    if (isOver) return work;
    yield tell();
  }
}

function within(clock: Clock, ms: number, work: Promise<void>): Promise<void> {
  return new Promise((resolve) => {
    const timer = clock.after(ms, resolve);
    void work.then(() => {
      timer.cancel();
      resolve();
    });
  });
}
