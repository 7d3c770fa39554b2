/** Random identifiers and keys. Web Crypto's generator, which browsers have even without a secure context. */

import { toHex } from '../base/bytes.ts';

/** From the operating system's generator. */
export function randomBytes(length: number): Uint8Array {
  return crypto.getRandomValues(new Uint8Array(length));
}

/** Lower-case hexadecimal of so many random bytes. */
export function randomHex(bytes: number): string {
  return toHex(randomBytes(bytes));
}

/** A peer ID, an instance, or our own name of a club: 128 bits. */
export function randomId(): string {
  return randomHex(16);
}
