/**
 * SRP-6a (RFC 2945, as RFC 5054 uses it, with SHA-1): two sides that know the same password agree on a secret; neither
 * learns anything that helps to guess the password offline. The arithmetic only; the messages are secure-channel's.
 */

import { concatBytes, utf8 } from '../base/bytes.ts';
import { peerError } from '../base/errors.ts';
import { sha1 } from './hash.ts';
import { fromBigInt, modExp, toBigInt } from './mod-exp.ts';
import { randomBytes } from './random.ts';
import type { SrpGroup } from './srp-groups.ts';

/** RFC 5054, 2.5.3 and 2.5.4: the private values are at least 256 bits long. */
const PRIVATE_BYTES = 32;
const COLON = utf8(':');

export interface SrpCredentials {
  readonly username: Uint8Array;
  readonly password: Uint8Array;
  /** Chosen by the server. */
  readonly salt: Uint8Array;
}

/** x = SHA1(salt | SHA1(username | ":" | password)), RFC 5054, 2.4. */
export function srpPrivateKey(credentials: SrpCredentials): Uint8Array {
  const { username, password, salt } = credentials;
  return sha1(salt, sha1(username, COLON, password));
}

/** v = g^x mod N, RFC 5054, 2.4, without leading zeros. */
export function srpVerifier(group: SrpGroup, credentials: SrpCredentials): Uint8Array {
  return modExp(group.prime, group.generator, srpPrivateKey(credentials));
}

/**
 * Whether a received A or B may be used: 0 < value < N. RFC 5054 (2.5.3, 2.5.4) demands that value mod N is not 0, since
 * such a value makes the secret 0 whatever the password; an honest side never sends N or more, so neither do we take it.
 */
export function isSrpPublicValue(group: SrpGroup, value: Uint8Array): boolean {
  const integer = toBigInt(value);
  return integer > 0n && integer < group.N;
}

export interface SrpClientExchange {
  /** A, without leading zeros. */
  readonly publicValue: Uint8Array;
  /** S, without leading zeros: RFC 5054, 2.6 converts without PAD. */
  readonly premasterSecret: Uint8Array;
}

/**
 * The client's side, once it knows salt and B.
 * @param privateValue a; for test vectors only.
 * @throws SkylarkError `srp.public_value` for a B that no honest server sends.
 */
export function srpClientExchange(
  group: SrpGroup,
  credentials: SrpCredentials,
  serverPublic: Uint8Array,
  privateValue: Uint8Array = randomBytes(PRIVATE_BYTES),
): SrpClientExchange {
  const B = checkedPublicValue(group, serverPublic, 'B');
  const A = modExp(group.prime, group.generator, privateValue);
  const u = scramble(group, toBigInt(A), B);
  const x = srpPrivateKey(credentials);
  const gx = toBigInt(modExp(group.prime, group.generator, x));
  // (B - k g^x)^(a + u x)
  const base = modulo(B - group.k * gx, group.N);
  const exponent = toBigInt(privateValue) + u * toBigInt(x);
  return { publicValue: A, premasterSecret: power(group, base, fromBigInt(exponent)) };
}

export interface SrpServerExchange {
  /** B, without leading zeros. */
  readonly publicValue: Uint8Array;
  /**
   * S without leading zeros, from the client's A.
   * @throws SkylarkError `srp.public_value` for an A that no honest client sends.
   */
  premasterSecret(clientPublic: Uint8Array): Uint8Array;
}

/**
 * The server's side. All of its work is done for every handshake, nothing is remembered, so that a name that was never
 * seen before costs the same time as one in daily use.
 * @param privateValue b; for test vectors only.
 */
export function srpServerExchange(
  group: SrpGroup,
  credentials: SrpCredentials,
  privateValue: Uint8Array = randomBytes(PRIVATE_BYTES),
): SrpServerExchange {
  const verifier = srpVerifier(group, credentials);
  const gb = toBigInt(modExp(group.prime, group.generator, privateValue));
  // k v + g^b
  const B = modulo(group.k * toBigInt(verifier) + gb, group.N);
  return {
    publicValue: fromBigInt(B),
    premasterSecret(clientPublic) {
      const A = checkedPublicValue(group, clientPublic, 'A');
      const u = scramble(group, A, B);
      const vu = toBigInt(modExp(group.prime, verifier, fromBigInt(u)));
      // (A v^u)^b
      return power(group, modulo(A * vu, group.N), privateValue);
    },
  };
}

function checkedPublicValue(group: SrpGroup, value: Uint8Array, name: 'A' | 'B'): bigint {
  if (!isSrpPublicValue(group, value))
    throw peerError('srp.public_value', `the other side's SRP public value ${name} is not between 0 and N`);
  return toBigInt(value);
}

/** u = SHA1(PAD(A) | PAD(B)), RFC 5054, 2.6. */
function scramble(group: SrpGroup, A: bigint, B: bigint): bigint {
  const length = group.prime.length;
  const u = toBigInt(sha1(concatBytes(fromBigInt(A, length), fromBigInt(B, length))));
  // With u = 0 the verifier alone, or nothing at all, would be enough (SRP-6a's third safeguard).
  if (u === 0n) throw peerError('srp.public_value', "the SRP public values' hash is zero");
  return u;
}

/** The shared secret. A base of 0, 1 or N-1 gives a secret that everybody can tell. */
function power(group: SrpGroup, base: bigint, exponent: Uint8Array): Uint8Array {
  if (base <= 1n || base === group.N - 1n)
    throw peerError('srp.public_value', "the other side's SRP public value leads to a known secret");
  return modExp(group.prime, fromBigInt(base), exponent);
}

function modulo(value: bigint, modulus: bigint): bigint {
  const rest = value % modulus;
  return rest < 0n ? rest + modulus : rest;
}
