/** Comparisons of secrets whose time does not tell where they differ. */

import { timingSafeEqual } from 'node:crypto';

/** Lengths are public; contents are compared in constant time. */
export function equalSecret(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}

/**
 * TLS's CBC padding (RFC 5246, 6.2.3.2): the last byte is the number of padding bytes before it, and all of them have
 * that value.
 * @param atLeast bytes in front of the padding that must remain (content may be empty, the MAC not).
 * @returns the number of bytes in front of the padding, and whether the padding is right. For wrong padding the
 *   length is that of a record with no padding at all, so that the caller can go on and fail later, as for a wrong MAC.
 */
export function cbcPadding(plaintext: Uint8Array, atLeast: number): { length: number; good: boolean } {
  const total = plaintext.length;
  const count = plaintext[total - 1] ?? 0;
  // All arithmetic on 32-bit integers without branches: a mask is 0 or -1.
  let wrong = (total - 1 - atLeast - count) >> 31;
  const checked = Math.min(255, total - 1);
  for (let i = 0; i < checked; i++) {
    const within = (i - count) >> 31;
    wrong |= within & ((plaintext[total - 2 - i] ?? 0) ^ count);
  }
  // 0 stays 0, everything else becomes -1.
  const bad = (wrong | -wrong) >> 31;
  return { length: total - 1 - (count & ~bad), good: bad === 0 };
}
