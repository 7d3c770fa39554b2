/** Time as a dependency, so that tests can own it. */

export interface Clock {
  /**
   * Nanoseconds since 1970-01-01T00:00:00Z, in 64 bits with a sign. May jump: devices without a real-time clock start in
   * 1970.
   */
  now(): bigint;
  /** Milliseconds from an arbitrary start. Never jumps. */
  monotonic(): number;
  /** Calls back once, after at least `ms`. Does not keep the process alive by itself. */
  after(ms: number, callback: () => void): Timer;
}

/** A clock that says less was never set. Nanoseconds since 1970. */
export const YEAR_2020 = 1_577_836_800_000_000_000n;

export interface Timer {
  cancel(): void;
}

/** 2262-04-11. */
const LATEST = 2n ** 63n - 1n;

/** A time as databases count it, as every clock tells it: whatever is later, or earlier, is as wrong as the last one. */
export function countable(time: bigint): bigint {
  return time > LATEST ? LATEST : time < -LATEST ? -LATEST : time;
}

export const systemClock: Clock = {
  // Date, not performance.timeOrigin: the latter is fixed at start and does not follow the clock when it is set.
  now: () => countable(BigInt(Date.now()) * 1_000_000n),
  monotonic: () => performance.now(),
  after(ms, callback) {
    const handle: unknown = setTimeout(callback, ms);
    // A browser's handle is a number; Node's can be told not to keep the process alive.
    if (typeof handle === 'object' && handle !== null && 'unref' in handle)
      (handle as { unref(): void }).unref();
    return { cancel: () => clearTimeout(handle as number) };
  },
};

/** Resolves after `ms`; rejects with the signal's reason when it aborts first. */
export function sleep(clock: Clock, ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const onAbort = () => {
      timer.cancel();
      reject(signal!.reason);
    };
    const timer = clock.after(ms, () => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    });
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}
