/**
 * The keys of a club (core.md, "Cryptographic Keys" and "Key Exchange"). Each access level has a public key ID and a
 * secret key, with which its members find and authenticate each other, and an RSA key, with which they sign. Runs in a
 * browser, which brings its own RSA.
 */

import { peerError } from '../base/errors.ts';
import { Secret } from '../base/log.ts';
import type { Rsa, RsaPrivateKey, RsaPublicKey } from '../crypto/rsa.ts';
import type { MessageOf } from '../wire/message.ts';
import type { coreKeys } from './messages.ts';
import { randomHex } from './random.ts';
import type { AccessLevel } from './session.ts';

/** All that a member of a level holds of it. */
export interface LevelKeys {
  /** Key ID: public, 64 hexadecimal digits. */
  readonly id: string;
  /** 256 bits, as the lower-case hexadecimal text that the secure channel takes as its password. */
  readonly key: Secret<string>;
  readonly rsa: RsaPrivateKey;
}

/** Read-write members hold the read-only keys too; read-only members can only verify what read-write members sign. */
export type ClubKeys =
  | { readonly level: 'read_write'; readonly readOnly: LevelKeys; readonly readWrite: LevelKeys }
  | { readonly level: 'read_only'; readonly readOnly: LevelKeys; readonly readWriteRsa: RsaPublicKey };

export type KeysMessage = MessageOf<typeof coreKeys>;
type KeysEntry = KeysMessage['keys'][number];

/** Keys of a new club. Takes two RSA keys' time, up to seconds on a small device, but not on the main thread. */
export async function generateClubKeys(rsa: Rsa): Promise<ClubKeys> {
  const generateLevel = async (): Promise<LevelKeys> => ({
    id: randomHex(32),
    key: new Secret(randomHex(32)),
    rsa: await rsa.generate(),
  });
  const [readWrite, readOnly] = await Promise.all([generateLevel(), generateLevel()]);
  return { level: 'read_write', readWrite, readOnly };
}

/** The levels whose connections we make and accept. */
export function heldLevels(keys: ClubKeys): ReadonlyMap<AccessLevel, LevelKeys> {
  const levels = new Map<AccessLevel, LevelKeys>();
  if (keys.level === 'read_write') levels.set('read_write', keys.readWrite);
  levels.set('read_only', keys.readOnly);
  return levels;
}

/** With what read-write members' updates are verified. */
export function readWritePublicKey(keys: ClubKeys): RsaPublicKey {
  return keys.level === 'read_write' ? keys.readWrite.rsa.publicKey : keys.readWriteRsa;
}

/** The keys that a holder of `keys` gives to a new member of `level`; undefined if it does not have them itself. */
export function keysFor(keys: ClubKeys, level: AccessLevel): KeysMessage | undefined {
  if (level === 'read_only') {
    const publicRsa = readWritePublicKey(keys).pem;
    return {
      accessLevel: level,
      keys: [entry('read_only', keys.readOnly), { accessLevel: 'read_write', publicRsa }],
    };
  }
  if (keys.level !== 'read_write') return undefined;
  return {
    accessLevel: level,
    keys: [entry('read_write', keys.readWrite), entry('read_only', keys.readOnly)],
  };
}

function entry(accessLevel: AccessLevel, { id, key, rsa }: LevelKeys): KeysEntry {
  return { accessLevel, id, key: key.reveal(), privateRsa: rsa.pem.reveal() };
}

/**
 * Keys from outside: out of `core.keys`, or as they were stored. Levels that we don't know are passed over.
 * @throws SkylarkError (peer) `keys.level_unknown`, `keys.incomplete`, `keys.contradictory`, `keys.too_many` (a read-only
 *   member was sent what only a read-write member may have), `rsa.key_malformed`, `rsa.key_unsuitable`.
 */
export async function readClubKeys(message: KeysMessage, rsa: Rsa): Promise<ClubKeys> {
  const { accessLevel } = message;
  if (accessLevel !== 'read_write' && accessLevel !== 'read_only') {
    throw peerError('keys.level_unknown', 'the keys are for an access level that we do not know');
  }
  const readOnlyEntry = only(message, 'read_only');
  const readWriteEntry = only(message, 'read_write');
  if (accessLevel === 'read_only') {
    // Whoever sends these makes a mistake that would hand the club over; better not to have them at all.
    const { id, key, privateRsa } = readWriteEntry;
    if (id !== undefined || key !== undefined || privateRsa !== undefined) {
      throw peerError('keys.too_many', 'a read-only member was sent read-write keys');
    }
  }
  const readOnly = await readLevel(readOnlyEntry, rsa);
  if (accessLevel === 'read_only') {
    const readWriteRsa = rsa.readPublic(present(readWriteEntry.publicRsa));
    apart(readOnly.rsa.publicKey.pem, readWriteRsa.pem);
    return { level: 'read_only', readOnly, readWriteRsa };
  }
  const readWrite = await readLevel(readWriteEntry, rsa);
  apart(readOnly.rsa.publicKey.pem, readWrite.rsa.publicKey.pem);
  apart(readOnly.id, readWrite.id);
  apart(readOnly.key.reveal(), readWrite.key.reveal());
  return { level: 'read_write', readOnly, readWrite };
}

function only(message: KeysMessage, level: AccessLevel): KeysEntry {
  const entries = message.keys.filter(({ accessLevel }) => accessLevel === level);
  const [first] = entries;
  if (first === undefined) throw peerError('keys.incomplete', `the ${level} keys are missing`);
  if (entries.length > 1) throw peerError('keys.contradictory', `the ${level} keys stand there twice`);
  return first;
}

async function readLevel({ id, key, privateRsa, publicRsa }: KeysEntry, rsa: Rsa): Promise<LevelKeys> {
  const level = {
    id: present(id),
    key: new Secret(present(key)),
    rsa: await rsa.readPrivate(new Secret(present(privateRsa))),
  };
  if (publicRsa !== undefined && rsa.readPublic(publicRsa).pem !== level.rsa.publicKey.pem) {
    throw peerError('keys.contradictory', 'a public RSA key does not belong to its private key');
  }
  return level;
}

function present(value: string | undefined): string {
  if (value === undefined) throw peerError('keys.incomplete', 'a part of the keys is missing');
  return value;
}

/** If the levels shared one, a read-only member could pass for a read-write member. */
function apart(a: string, b: string): void {
  if (a === b) throw peerError('keys.contradictory', 'two access levels share a key');
}
