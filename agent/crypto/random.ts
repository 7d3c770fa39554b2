/** Random bytes from the operating system's generator. */

import { randomFillSync } from 'node:crypto';

/** Small requests are cut from a pool: a call into OpenSSL for 16 bytes costs as much as one for 4 KiB. */
const POOL_BYTES = 4096;
const LARGEST_FROM_POOL = 64;

const pool = new Uint8Array(POOL_BYTES);
let unused = 0;

/** Overwrites all of `target`. */
export function fillRandom(target: Uint8Array): void {
  if (target.length > LARGEST_FROM_POOL) {
    randomFillSync(target);
    return;
  }
  if (unused < target.length) {
    randomFillSync(pool);
    unused = POOL_BYTES;
  }
  const from = unused - target.length;
  target.set(pool.subarray(from, unused));
  // What was handed out may become a key: don't keep a second copy of it.
  pool.fill(0, from, unused);
  unused = from;
}

export function randomBytes(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  fillRandom(bytes);
  return bytes;
}
