/**
 * AES in cipher block chaining mode (NIST SP 800-38A, 6.2) as one running chain: the last ciphertext block of a call is
 * the initialisation vector of the next. No padding is added or removed.
 */

import { createCipheriv, createDecipheriv } from 'node:crypto';
import { internalError } from '../base/errors.ts';
import { randomBytes } from './random.ts';

export const AES_BLOCK = 16;

/** Takes a multiple of 16 bytes and gives as many, in memory of its own. */
export type BlockTransform = (blocks: Uint8Array) => Uint8Array;

/** @param key 16 or 32 bytes: AES-128 or AES-256. The chain starts from a random block. */
export function openCbcEncryption(key: Uint8Array): BlockTransform {
  return whole(createCipheriv(algorithm(key), key, randomBytes(AES_BLOCK)).setAutoPadding(false));
}

/**
 * The chain starts from an unknown block: the first 16 bytes of every message that begins with its own explicit
 * initialisation vector come out as noise, all that follow come out right.
 */
export function openCbcDecryption(key: Uint8Array): BlockTransform {
  return whole(createDecipheriv(algorithm(key), key, new Uint8Array(AES_BLOCK)).setAutoPadding(false));
}

function algorithm(key: Uint8Array): string {
  return key.length === 32 ? 'aes-256-cbc' : 'aes-128-cbc';
}

function whole(cipher: { update(data: Uint8Array): Buffer }): BlockTransform {
  return (blocks) => {
    const out = cipher.update(blocks);
    // Anything else would stay inside the cipher and shift every later message.
    if (out.length !== blocks.length)
      throw internalError('crypto.partial_block', 'CBC was given a partial block');
    return new Uint8Array(out.buffer, out.byteOffset, out.length);
  };
}
