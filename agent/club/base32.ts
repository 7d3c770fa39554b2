/** Base32 (RFC 4648, section 6) without padding, and its check character. Runs in a browser. */

import { userError } from '../base/errors.ts';

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
const SIZE = 32;

/** Upper case; five bits a character, the last one filled up with zero bits. */
export function encodeBase32(bytes: Uint8Array): string {
  let text = '';
  let bits = 0;
  let held = 0;
  for (const byte of bytes) {
    bits = (bits << 8) | byte;
    held += 8;
    for (; held >= 5; held -= 5) text += ALPHABET[(bits >> (held - 5)) & 31];
    bits &= (1 << held) - 1;
  }
  if (held > 0) text += ALPHABET[(bits << (5 - held)) & 31];
  return text;
}

/**
 * Upper case only; the length in bits must be a multiple of eight, as that of an access code is.
 * @throws SkylarkError (user) `base32.malformed`.
 */
export function decodeBase32(text: string): Uint8Array {
  if ((text.length * 5) % 8 !== 0) throw userError('base32.malformed', 'the base32 text has a wrong length');
  const bytes = new Uint8Array((text.length * 5) / 8);
  let bits = 0;
  let held = 0;
  let filled = 0;
  for (const character of text) {
    bits = (bits << 5) | base32Value(character);
    held += 5;
    if (held < 8) continue;
    held -= 8;
    bytes[filled++] = bits >> held;
    bits &= (1 << held) - 1;
  }
  return bytes;
}

/** True for one character of the alphabet. */
export function isBase32(character: string): boolean {
  return character.length === 1 && ALPHABET.includes(character);
}

/**
 * The check character of the Luhn mod N algorithm with N = 32, over the RFC 4648 values. It finds every single wrong
 * character and every swap of neighbours, except that of `A` and `7` (values 0 and 31), which no such check can tell.
 */
export function luhnCheckCharacter(text: string): string {
  let sum = 0;
  let factor = 2;
  for (let i = text.length - 1; i >= 0; i--) {
    const product = factor * base32Value(text.charAt(i));
    sum += Math.floor(product / SIZE) + (product % SIZE);
    factor = 3 - factor;
  }
  return ALPHABET.charAt((SIZE - (sum % SIZE)) % SIZE);
}

function base32Value(character: string): number {
  const value = character.length === 1 ? ALPHABET.indexOf(character) : -1;
  if (value < 0) throw userError('base32.malformed', 'the text is not base32');
  return value;
}
