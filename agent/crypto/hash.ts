/** Hashes and message authentication codes over bytes that are already in memory. */

import { createHash, createHmac, createSecretKey, hash } from 'node:crypto';

/** FIPS 180-4. Broken for signatures; here only where RFC 5054 prescribes it. */
export function sha1(...parts: readonly Uint8Array[]): Uint8Array {
  return digest('sha1', parts);
}

/** FIPS 180-4, 32 bytes. */
export function sha256(...parts: readonly Uint8Array[]): Uint8Array {
  return digest('sha256', parts);
}

/** SHA-256 of bytes that come in pieces. */
export interface RunningHash {
  update(bytes: Uint8Array): void;
  /** 32 bytes. Ends it. */
  digest(): Uint8Array;
}

export function openSha256(): RunningHash {
  const hash = createHash('sha256');
  return {
    update(bytes) {
      hash.update(bytes);
    },
    digest: () => plain(hash.digest()),
  };
}

/** A message authentication code under one key: the parts are authenticated as if they were joined. */
export type Mac = (...parts: readonly Uint8Array[]) => Uint8Array;

/** HMAC (RFC 2104) with SHA-1, 20 bytes; the key is prepared once. */
export function hmacSha1(key: Uint8Array): Mac {
  return hmac('sha1', key);
}

/** HMAC (RFC 2104) with SHA-256, 32 bytes; the key is prepared once. */
export function hmacSha256(key: Uint8Array): Mac {
  return hmac('sha256', key);
}

/** SHA-1's block, and the room that `InPlaceMac` needs in front of a message. */
export const HMAC_ROOM = 64;

/** As `Mac`, of `bytes` from `from` to `to`, for bulk data: the HMAC_ROOM bytes in front of `from` are overwritten. */
export type InPlaceMac = (bytes: Uint8Array, from: number, to: number) => Uint8Array;

/**
 * HMAC-SHA1 by its definition, H(key ^ opad | H(key ^ ipad | message)), with two one-shot hashes instead of an object
 * for each message: a sixth faster for 16 KiB.
 * @param key at most 64 bytes
 */
export function hmacSha1InPlace(key: Uint8Array): InPlaceMac {
  const inner = new Uint8Array(HMAC_ROOM).fill(0x36);
  const outer = new Uint8Array(HMAC_ROOM + 20).fill(0x5c, 0, HMAC_ROOM);
  for (const [i, byte] of key.entries()) {
    inner[i] = inner[i]! ^ byte;
    outer[i] = outer[i]! ^ byte;
  }
  return (bytes, from, to) => {
    bytes.set(inner, from - HMAC_ROOM);
    outer.set(hash('sha1', bytes.subarray(from - HMAC_ROOM, to), 'buffer'), HMAC_ROOM);
    return plain(hash('sha1', outer, 'buffer'));
  };
}

function digest(algorithm: string, parts: readonly Uint8Array[]): Uint8Array {
  const hash = createHash(algorithm);
  for (const part of parts) hash.update(part);
  return plain(hash.digest());
}

function hmac(algorithm: string, key: Uint8Array): Mac {
  // A key object halves the price of createHmac for short messages.
  const prepared = createSecretKey(key);
  return (...parts) => {
    const mac = createHmac(algorithm, prepared);
    for (const part of parts) mac.update(part);
    return plain(mac.digest());
  };
}

/** Without Buffer's own `slice` and `toString`, which differ from Uint8Array's. */
function plain(buffer: Buffer): Uint8Array {
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.length);
}
