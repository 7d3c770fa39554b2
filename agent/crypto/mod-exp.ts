/** Modular exponentiation with a secret exponent, and the conversions between integers and bytes around it. */

import { createPrivateKey, createPublicKey } from 'node:crypto';
import { concatBytes, toHex } from '../base/bytes.ts';
import { internalError } from '../base/errors.ts';

/** Big-endian, unsigned; no bytes at all are 0. */
export function toBigInt(bytes: Uint8Array): bigint {
  return bytes.length === 0 ? 0n : BigInt(`0x${toHex(bytes)}`);
}

/**
 * Big-endian, unsigned, left-padded with zeros to `length`; without `length` as short as possible (0 is one zero byte).
 */
export function fromBigInt(value: bigint, length?: number): Uint8Array {
  const digits = value.toString(16);
  const shortest = (digits.length + 1) >> 1;
  const bytes = new Uint8Array(length ?? shortest);
  if (value < 0n || bytes.length < shortest)
    throw internalError('crypto.integer_range', 'an integer does not fit its field');
  const padded = digits.padStart(bytes.length * 2, '0');
  for (let i = 0; i < bytes.length; i++) bytes[i] = Number.parseInt(padded.slice(2 * i, 2 * i + 2), 16);
  return bytes;
}

/** Without its leading zero bytes; the integer 0 has no bytes left. */
export function withoutLeadingZeros(bytes: Uint8Array): Uint8Array {
  let zeros = 0;
  while (zeros < bytes.length && bytes[zeros] === 0) zeros++;
  return bytes.subarray(zeros);
}

/**
 * base^exponent mod prime, by OpenSSL's constant-time ladder: a Diffie-Hellman private key (PKCS #8, RFC 5208) is
 * imported whose generator is the base, and its public key is what we are after. BigInt costs several times more and
 * leaks the exponent; createDiffieHellman(prime) tests the prime anew, which takes seconds.
 * @param prime an odd prime of 512 to 10000 bits
 * @param base 1 < base < prime
 */
export function modExp(prime: Uint8Array, base: Uint8Array, exponent: Uint8Array): Uint8Array {
  const privateKey = createPrivateKey({
    key: Buffer.from(
      sequence(integer(ZERO), algorithm(prime, base), element(OCTET_STRING, integer(exponent))),
    ),
    format: 'der',
    type: 'pkcs8',
  });
  const info = new DerReader(createPublicKey(privateKey).export({ format: 'der', type: 'spki' })).enter(
    SEQUENCE,
  );
  info.enter(SEQUENCE);
  const key = info.enter(BIT_STRING);
  key.skip(1); // the number of unused bits
  return new Uint8Array(withoutLeadingZeros(key.enter(INTEGER).rest()));
}

// DER (ITU-T X.690), as little of it as these two structures need.

const INTEGER = 0x02;
const BIT_STRING = 0x03;
const OCTET_STRING = 0x04;
const SEQUENCE = 0x30;
const ZERO = new Uint8Array(1);
/** 1.2.840.113549.1.3.1, PKCS #3 Diffie-Hellman, as a DER object identifier. */
const DH_KEY_AGREEMENT = Uint8Array.of(6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x03, 0x01);

function algorithm(prime: Uint8Array, generator: Uint8Array): Uint8Array {
  return sequence(DH_KEY_AGREEMENT, sequence(integer(prime), integer(generator)));
}

function sequence(...parts: readonly Uint8Array[]): Uint8Array {
  return element(SEQUENCE, concatBytes(...parts));
}

function integer(value: Uint8Array): Uint8Array {
  const shortest = withoutLeadingZeros(value);
  // A set top bit would make it negative.
  const signed = shortest.length === 0 || shortest[0]! >= 0x80 ? concatBytes(ZERO, shortest) : shortest;
  return element(INTEGER, signed);
}

function element(tag: number, content: Uint8Array): Uint8Array {
  const { length } = content;
  if (length < 0x80) return concatBytes(Uint8Array.of(tag, length), content);
  if (length < 0x100) return concatBytes(Uint8Array.of(tag, 0x81, length), content);
  return concatBytes(Uint8Array.of(tag, 0x82, length >> 8, length & 0xff), content);
}

/** Reads what OpenSSL just wrote. */
class DerReader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** The content of the next element, which must have this tag. */
  enter(tag: number): DerReader {
    if (this.#byte() !== tag) throw internalError('crypto.der', 'a public key has an unexpected form');
    let length = this.#byte();
    if (length >= 0x80) {
      let bytes = length - 0x80;
      for (length = 0; bytes > 0; bytes--) length = length * 256 + this.#byte();
    }
    const content = this.#bytes.subarray(this.#at, this.#at + length);
    this.skip(length);
    return new DerReader(content);
  }

  skip(count: number): void {
    this.#at += count;
    if (this.#at > this.#bytes.length) throw internalError('crypto.der', 'a public key is cut short');
  }

  rest(): Uint8Array {
    return this.#bytes.subarray(this.#at);
  }

  #byte(): number {
    this.skip(1);
    return this.#bytes[this.#at - 1]!;
  }
}
