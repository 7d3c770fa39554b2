/** Hashes and message authentication codes over bytes that are already in memory. */

import { createHash, createHmac, createSecretKey } from 'node:crypto';

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
