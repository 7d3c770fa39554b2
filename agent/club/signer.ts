/** Signatures of a club's read-write members: base64 of PKCS#1 v1.5 with SHA-256 over the exact bytes of a body. */

import { internalError } from '../base/errors.ts';
import { type ClubKeys, readWritePublicKey } from './keys.ts';

export interface ClubSigner {
  /** True if we hold the read-write key. */
  readonly canSign: boolean;
  /** Base64 without line breaks. @throws SkylarkError (internal) `club.cannot_sign` without the read-write key. */
  sign(body: Uint8Array): Promise<string>;
  /** Whether a read-write member signed exactly this body. Never rejects. */
  verify(body: Uint8Array, signature: string): Promise<boolean>;
}

/** Longest signature that any RSA key in use makes: 4096 bits. */
const LONGEST_SIGNATURE = 684;

export function clubSigner(keys: ClubKeys): ClubSigner {
  return {
    canSign: keys.level === 'read_write',
    async sign(body) {
      if (keys.level !== 'read_write') {
        throw internalError('club.cannot_sign', 'a read-only member was asked to sign');
      }
      return toBase64(await keys.readWrite.rsa.sign(body));
    },
    async verify(body, signature) {
      const bytes = fromBase64(signature);
      return bytes !== undefined && readWritePublicKey(keys).verify(body, bytes);
    },
  };
}

function toBase64(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes));
}

/** Strict: the one text of these bytes, as it is passed on unchanged and compared. */
function fromBase64(text: string): Uint8Array | undefined {
  if (text.length > LONGEST_SIGNATURE || !/^[A-Za-z0-9+/]+={0,2}$/.test(text)) return undefined;
  try {
    const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
    return toBase64(bytes) === text ? bytes : undefined;
  } catch {
    return undefined;
  }
}
