/** From the premaster secret to keys: RFC 5246, 5, 6.3, 7.4.9 and 8.1, and RFC 7627. Always with SHA-256. */

import { concatBytes, utf8 } from '../../base/bytes.ts';
import { hmacSha256 } from '../../crypto/hash.ts';
import { VERIFY_DATA_BYTES } from './messages.ts';
import type { RecordKeys } from './record-protection.ts';

const MASTER_SECRET_BYTES = 48;
/** HMAC-SHA1's key in these suites. */
const MAC_KEY_BYTES = 20;

/** RFC 5246, 5: P_SHA256(secret, label | seed), cut to `length`. */
export function prf(secret: Uint8Array, label: string, seed: Uint8Array, length: number): Uint8Array {
  const mac = hmacSha256(secret);
  const labelled = concatBytes(utf8(label), seed);
  const output = new Uint8Array(length);
  let a = labelled;
  for (let offset = 0; offset < length; ) {
    a = mac(a);
    const block = mac(a, labelled).subarray(0, length - offset);
    output.set(block, offset);
    offset += block.length;
  }
  return output;
}

export interface Randoms {
  readonly client: Uint8Array;
  readonly server: Uint8Array;
}

/** RFC 5246, 8.1. */
export function masterSecret(premaster: Uint8Array, randoms: Randoms): Uint8Array {
  return prf(premaster, 'master secret', concatBytes(randoms.client, randoms.server), MASTER_SECRET_BYTES);
}

/**
 * RFC 7627, 4.
 * @param sessionHash over all handshake messages up to and including the ClientKeyExchange
 */
export function extendedMasterSecret(premaster: Uint8Array, sessionHash: Uint8Array): Uint8Array {
  return prf(premaster, 'extended master secret', sessionHash, MASTER_SECRET_BYTES);
}

/** The keys of both directions, named by who writes with them: RFC 5246, 6.3. */
export function recordKeys(
  master: Uint8Array,
  randoms: Randoms,
  cipherKeyBytes: number,
): { readonly client: RecordKeys; readonly server: RecordKeys } {
  const seed = concatBytes(randoms.server, randoms.client);
  const block = prf(master, 'key expansion', seed, 2 * (MAC_KEY_BYTES + cipherKeyBytes));
  let at = 0;
  const next = (length: number) => {
    at += length;
    return block.slice(at - length, at);
  };
  const clientMac = next(MAC_KEY_BYTES);
  const serverMac = next(MAC_KEY_BYTES);
  return {
    client: { mac: clientMac, cipher: next(cipherKeyBytes) },
    server: { mac: serverMac, cipher: next(cipherKeyBytes) },
  };
}

/** The content of a Finished message: RFC 5246, 7.4.9. */
export function verifyData(
  master: Uint8Array,
  sender: 'client' | 'server',
  transcriptHash: Uint8Array,
): Uint8Array {
  return prf(master, `${sender} finished`, transcriptHash, VERIFY_DATA_BYTES);
}
