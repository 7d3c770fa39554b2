/** What the state file keeps: who this device is, its clubs with their keys and codes, and whom it met in them. */

import { Secret } from '../base/log.ts';
import {
  anyJson,
  dictionary,
  field,
  flag,
  hex,
  type Infer,
  integer,
  list,
  object,
  optionalField,
  type Schema,
  text,
  timestamp,
  u63,
} from '../base/schema.ts';
import { formatTimestamp, parseTimestamp } from '../base/timestamp.ts';
import { coreKeys } from './messages.ts';
import { randomHex, randomId } from './random.ts';
import { storedCode } from './stored-code.ts';

/** Version of the state's content; older ones are migrated, newer ones refused. */
export const STATE_VERSION = 1;
export const MAX_CLUBS = 1_000;
export const MAX_PEERS = 256;
export const MAX_ADDRESSES = 8;

/** A secret that the state file, and nothing else, may write out. */
function secret(inner: Schema<string>): Schema<Secret<string>> {
  return {
    decode: (json, path) => new Secret(inner.decode(json, path)),
    encode: (value) => inner.encode(value.reveal()),
  };
}

/** Nanoseconds since 1970. */
const time: Schema<bigint> = {
  decode: (json, path) => parseTimestamp(timestamp.decode(json, path)),
  encode: (value) => formatTimestamp(value),
};

const storedPeer = object({
  id: field('id', hex(16)),
  name: optionalField('name', text({ max: 256 })),
  software: optionalField('software', text({ max: 256 })),
  /** `HOST:PORT` where it was reached, the latest first. */
  addresses: field('addresses', list(text({ max: 300 }), { max: MAX_ADDRESSES })),
  lastSeen: field('last_seen', time),
  /** The same by the time that the device lived through, nanoseconds: for its age. */
  lived: optionalField('lived', u63),
});

const storedClub = object({
  /** Our own name for it; never sent. */
  id: field('id', hex(16)),
  name: field('name', text({ max: 256 })),
  /** Absolute path of the share's folder. */
  folder: field('folder', text({ max: 4_096 })),
  created: field('created', time),
  paused: field('paused', flag),
  /** It was made by another device: what is in the folder at the first opening is nobody's change. */
  joined: field('joined', flag),
  /** Our peer ID in this club. */
  peer: field('peer', hex(16)),
  /** New peer IDs that were taken since others went by the old one. */
  minted: optionalField(
    'minted',
    object({ at: field('at', time), count: field('count', integer({ min: 1, max: 1_000_000 })) }),
  ),
  /** As `core.keys` hands them on. */
  keys: field('keys', coreKeys.schema),
  codes: field('codes', list(storedCode, { max: 4_096 })),
  peers: field('peers', list(storedPeer, { max: MAX_PEERS })),
  /** Of the parts above the club (directory...), each under its own name and with its own schema. */
  settings: field('settings', dictionary(text({ max: 64 }), anyJson, { max: 64 })),
});

export const deviceState = object({
  device: field(
    'device',
    object({
      id: field('id', hex(16)),
      /** Unknown IDs are answered with verifiers derived from it (RFC 5054, 2.5.1.3). */
      fakeVerifierKey: field('fake_verifier_key', secret(hex(32))),
      /** Where it listened last: other members remember the address. */
      port: optionalField('port', integer({ min: 1, max: 65_535 })),
      /** See `LivedTime`. */
      lived: optionalField('lived', object({ lived: field('time', u63), seen: field('seen', time) })),
      /** Options that were set through the control socket. */
      options: field('options', dictionary(text({ max: 64 }), anyJson, { max: 64 })),
    }),
  ),
  clubs: field('clubs', list(storedClub, { max: MAX_CLUBS })),
});

export type DeviceState = Infer<typeof deviceState>;
export type StoredClub = Infer<typeof storedClub>;
export type StoredPeer = Infer<typeof storedPeer>;

/** A device that never was. */
export function newDeviceState(): DeviceState {
  return {
    device: { id: randomId(), fakeVerifierKey: new Secret(randomHex(32)), options: new Map() },
    clubs: [],
  };
}
