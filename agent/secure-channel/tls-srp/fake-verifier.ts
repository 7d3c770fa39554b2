/**
 * Names that nobody has must look like names that somebody has (RFC 5054, 2.5.1.3). So the salt of every name, known or
 * not, is derived from the name and a key that only this server knows: it stays the same when a name becomes known or
 * is forgotten. An unknown name gets a password derived in the same way, and then runs through the whole handshake.
 */

import { toHex, utf8 } from '../../base/bytes.ts';
import { hmacSha256 } from '../../crypto/hash.ts';

const SALT_BYTES = 16;

export function saltFor(key: Uint8Array, username: Uint8Array): Uint8Array {
  const salt = hmacSha256(key)(utf8('skylark srp salt:'), username).slice(0, SALT_BYTES);
  // OpenSSL takes the salt for an integer and loses leading zeros.
  if (salt[0] === 0) salt[0] = 1;
  return salt;
}

/** 64 hexadecimal digits, like the password that is made of a key. */
export function fakePassword(key: Uint8Array, username: Uint8Array): Uint8Array {
  return utf8(toHex(hmacSha256(key)(utf8('skylark srp password:'), username)));
}
