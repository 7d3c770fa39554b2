/**
 * The one datagram of the LAN broadcast (core.md, "LAN Broadcast"; docs/protocol.md). Pure.
 *
 *     {"name":"ClearSkiesBroadcast","version":1,"id":"adf6...","peer":"2a37...","myport":40121,"establish":[1]}
 *
 * "The Broadcast message is versioned separately." `establish`, the versions of the secure channel accepted on that port, is
 * ours; without it only version 1 is meant.
 */

import { fromUtf8, utf8 } from '../base/bytes.ts';
import { peerError } from '../base/errors.ts';
import { parseJson, stringifyJson } from '../base/json.ts';
import { field, hex, type Infer, integer, list, literal, object, optionalField } from '../base/schema.ts';
import { DEFAULT_VERSIONS } from './source.ts';

/** UDP port of the broadcasts. */
export const BROADCAST_PORT = 60_106;
/** Longer datagrams are not looked at: ours have some 240 bytes. */
export const MAX_DATAGRAM = 2_048;

const datagram = object({
  name: field('name', literal('ClearSkiesBroadcast')),
  version: field('version', literal(1)),
  id: field('id', hex(32)),
  peer: field('peer', hex(16)),
  port: field('myport', integer({ min: 1, max: 65_535 })),
  establish: optionalField('establish', list(integer({ min: 1, max: 65_535 }), { max: 16 })),
});

export interface Broadcast {
  readonly id: string;
  readonly peer: string;
  readonly port: number;
  readonly versions: readonly number[];
}

export function encodeBroadcast({ id, peer, port, versions }: Broadcast): Uint8Array {
  const value: Infer<typeof datagram> = {
    name: 'ClearSkiesBroadcast',
    version: 1,
    id,
    peer,
    port,
    establish: versions,
  };
  return utf8(stringifyJson(datagram.encode(value)));
}

/** @throws SkylarkError (peer) for anything but such a datagram of version 1. */
export function decodeBroadcast(bytes: Uint8Array): Broadcast {
  if (bytes.length > MAX_DATAGRAM) throw peerError('lan.too_long', 'a broadcast is too long');
  const { id, peer, port, establish } = datagram.decode(parseJson(fromUtf8(bytes), { depth: 4 }));
  return {
    id,
    peer,
    port,
    versions: establish === undefined || establish.length === 0 ? DEFAULT_VERSIONS : establish,
  };
}

const HEX_RUN = /[0-9a-f]{64}/g;
const latin1 = new TextDecoder('latin1');

/**
 * Whether the bytes name one of the IDs at all. Far cheaper than decoding, for all that a noisy network sends. An ID written
 * with JSON escapes is not recognised; nobody writes one so.
 */
export function mentions(bytes: Uint8Array, ids: { has(id: string): boolean }): boolean {
  if (bytes.length > MAX_DATAGRAM) return false;
  return (
    latin1
      .decode(bytes)
      .match(HEX_RUN)
      ?.some((run) => ids.has(run)) ?? false
  );
}
