/**
 * CRC-32C (Castagnoli), the checksum of Skylink's frames and of whole files: polynomial 0x1EDC6F41, reflected, initial
 * value and final XOR 0xFFFFFFFF (RFC 3720, section 12.1, and its appendix B.4 for examples).
 */

const REFLECTED_POLYNOMIAL = 0x82f63b78;

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = (value >>> 1) ^ (value & 1 ? REFLECTED_POLYNOMIAL : 0);
  return value >>> 0;
});

/** The CRC of `bytes`, or, given the CRC of what came before them, of both together. Unsigned 32 bits. */
export function crc32c(bytes: Uint8Array, before = 0): number {
  let crc = ~before;
  for (let i = 0; i < bytes.length; i++) crc = TABLE[(crc ^ bytes[i]!) & 0xff]! ^ (crc >>> 8);
  return ~crc >>> 0;
}

/**
 * The CRC of A followed by B, from their CRCs and the length of B (0 to 2^53 - 1 bytes) alone. Appending B multiplies
 * A's remainder by x^(8 x length); squaring makes that logarithmic in the length.
 */
export function combineCrc32c(a: number, b: number, lengthOfB: number): number {
  let shifted = a;
  let power = X_TO_THE_8;
  for (let left = lengthOfB; left > 0; left = Math.floor(left / 2)) {
    if (left % 2 === 1) shifted = multiply(power, shifted);
    power = multiply(power, power);
  }
  return (shifted ^ b) >>> 0;
}

/** Reflected: the coefficient of x^0 is the highest bit. */
const X_TO_THE_8 = 0x00800000;

/** Product of two polynomials over GF(2) modulo the CRC's, all reflected. */
function multiply(a: number, b: number): number {
  let product = 0;
  let shifted = b;
  for (let mask = 0x80000000; mask !== 0; mask >>>= 1) {
    if (a & mask) product ^= shifted;
    shifted = (shifted >>> 1) ^ (shifted & 1 ? REFLECTED_POLYNOMIAL : 0);
  }
  return product >>> 0;
}
