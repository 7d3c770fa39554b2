/**
 * RSA signatures of clubs: PKCS#1 v1.5 with SHA-256 (RFC 8017, 8.2), keys as PEM in PKCS#1 form (`RSA PRIVATE KEY`, `RSA
 * PUBLIC KEY`). All arithmetic happens on the thread pool, never on the main thread.
 */

import {
  createPrivateKey,
  createPublicKey,
  generateKeyPair,
  type KeyObject,
  sign as signWith,
  verify as verifyWith,
} from 'node:crypto';
import { peerError } from '../base/errors.ts';
import { Secret } from '../base/log.ts';

export interface RsaPublicKey {
  /** PKCS#1 PEM, in one canonical form: equal keys have equal texts. */
  readonly pem: string;
  /** Whether `signature` (raw bytes) is one of exactly these bytes. Never rejects. */
  verify(body: Uint8Array, signature: Uint8Array): Promise<boolean>;
}

export interface RsaPrivateKey {
  /** PKCS#1 PEM. */
  readonly pem: Secret<string>;
  readonly publicKey: RsaPublicKey;
  sign(body: Uint8Array): Promise<Uint8Array>;
}

/** What a club needs of RSA. A browser brings its own. */
export interface Rsa {
  /** A new key of 2048 bits: some 100 ms of one core, on a Raspberry Pi a second. */
  generate(): Promise<RsaPrivateKey>;
  /**
   * A key from outside; PKCS#8 is understood too.
   * @throws SkylarkError (peer) `rsa.key_malformed`, `rsa.key_unsuitable` (size, exponent, numbers that do not fit each other).
   */
  readPrivate(pem: Secret<string>): Promise<RsaPrivateKey>;
  /**
   * A key from outside; SubjectPublicKeyInfo is understood too, a private key is not.
   * @throws SkylarkError (peer) `rsa.key_malformed`, `rsa.key_unsuitable`.
   */
  readPublic(pem: string): RsaPublicKey;
}

/** Size of the keys that we make, bits (core.md, "Cryptographic Keys"). */
const BITS = 2048;
/** The draft's own example shows a key of 4096 bits; anything larger would only cost us time. */
const LARGEST_BITS = 4096;
const EXPONENT = 65_537n;
/** No exponent that is in use is larger; a huge one makes each verification as slow as a signature. */
const LARGEST_EXPONENT = 2n ** 32n;
/** A private key of 4096 bits has some 3,300 characters. */
const LONGEST_PEM = 8_192;

export const rsa: Rsa = {
  generate: () =>
    new Promise((resolve, reject) => {
      generateKeyPair('rsa', { modulusLength: BITS, publicExponent: Number(EXPONENT) }, (error, _, key) => {
        if (error !== null) reject(error);
        else resolve(privateKey(key));
      });
    }),
  async readPrivate(pem) {
    const key = readPem(pem.reveal(), ['RSA PRIVATE KEY', 'PRIVATE KEY'], createPrivateKey);
    if (!isConsistent(key)) throw peerError('rsa.key_unsuitable', 'an RSA private key is damaged');
    return privateKey(key);
  },
  readPublic: (pem) => publicKey(readPem(pem, ['RSA PUBLIC KEY', 'PUBLIC KEY'], createPublicKey)),
};

function readPem(pem: string, labels: readonly string[], parse: (pem: string) => KeyObject): KeyObject {
  // OpenSSL would read a public key out of a private key or a certificate too, and skip text around it.
  const label = /^-----BEGIN ([A-Z ]+)-----\r?\n[A-Za-z0-9+/=\r\n]+-----END \1-----\s*$/.exec(
    pem.length <= LONGEST_PEM ? pem : '',
  )?.[1];
  if (label === undefined || !labels.includes(label)) throw malformed();
  let key: KeyObject;
  try {
    key = parse(pem);
  } catch (cause) {
    throw malformed(cause);
  }
  const { modulusLength = 0, publicExponent = 0n } = key.asymmetricKeyDetails ?? {};
  const suitable =
    key.asymmetricKeyType === 'rsa' &&
    modulusLength >= BITS &&
    modulusLength <= LARGEST_BITS &&
    publicExponent >= EXPONENT &&
    publicExponent <= LARGEST_EXPONENT &&
    publicExponent % 2n === 1n;
  if (!suitable) {
    throw peerError(
      'rsa.key_unsuitable',
      `an RSA key is not one of ${BITS} to ${LARGEST_BITS} bits with a usual exponent`,
    );
  }
  return key;
}

function malformed(cause?: unknown) {
  return peerError('rsa.key_malformed', 'a text is not an RSA key in PEM form', { cause });
}

/**
 * RFC 8017, 3.2. The parser takes any numbers, and signing with wrong factors falls back to a slow way without a word,
 * so a damaged key would not show in use.
 */
function isConsistent(key: KeyObject): boolean {
  const jwk = key.export({ format: 'jwk' });
  const number = (base64: string | undefined) =>
    BigInt(`0x${Buffer.from(base64 ?? '', 'base64url').toString('hex') || '0'}`);
  const [n, e, d, p, q] = [number(jwk.n), number(jwk.e), number(jwk.d), number(jwk.p), number(jwk.q)];
  if (p < 3n || q < 3n || p * q !== n) return false;
  const inverse = (a: bigint, b: bigint, modulus: bigint) => (a * b) % modulus === 1n;
  return (
    inverse(e, d, p - 1n) &&
    inverse(e, d, q - 1n) &&
    inverse(e, number(jwk.dp), p - 1n) &&
    inverse(e, number(jwk.dq), q - 1n) &&
    inverse(q, number(jwk.qi), p)
  );
}

function privateKey(key: KeyObject): RsaPrivateKey {
  return {
    pem: new Secret(String(key.export({ type: 'pkcs1', format: 'pem' }))),
    publicKey: publicKey(createPublicKey(key)),
    sign: (body) =>
      new Promise((resolve, reject) => {
        signWith('sha256', body, key, (error, signature) => {
          if (error === null) resolve(new Uint8Array(signature));
          else reject(error);
        });
      }),
  };
}

function publicKey(key: KeyObject): RsaPublicKey {
  const bytes = Math.ceil((key.asymmetricKeyDetails?.modulusLength ?? 0) / 8);
  // A key read from PKCS#1 can't be written as PKCS#1 (OpenSSL 3.5: "Failed to encode public key"); one from numbers can.
  const rebuilt = createPublicKey({ key: key.export({ format: 'jwk' }), format: 'jwk' });
  return {
    pem: String(rebuilt.export({ type: 'pkcs1', format: 'pem' })),
    verify: (body, signature) =>
      new Promise((resolve) => {
        // RFC 8017, 8.2.2, step 1. OpenSSL takes a shorter one and fills it up with zeros.
        if (signature.length !== bytes) return resolve(false);
        verifyWith('sha256', body, key, signature, (error, good) => resolve(error === null && good));
      }),
  };
}
