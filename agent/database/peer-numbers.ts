/** Peer IDs by small numbers: a clock of three entries takes six bytes, not a hundred. */

import { internalError } from '../base/errors.ts';
import type { Sqlite } from '../platform/sqlite.ts';
import { bytesOf, hexOf, type PeerNumbers } from './row-codec.ts';

/** Entries that are kept in memory; a club has a few dozen peers, only a hostile one more. */
const KEPT_PEERS = 10_000;

export function openPeerNumbers(sqlite: Sqlite): PeerNumbers {
  const find = sqlite.prepare<{ id: bigint }>('SELECT id FROM database_peer WHERE peer = ?');
  const add = sqlite.prepare<{ id: bigint }>('INSERT INTO database_peer(peer) VALUES(?) RETURNING id');
  const read = sqlite.prepare<{ peer: Uint8Array }>('SELECT peer FROM database_peer WHERE id = ?');
  const numbers = new Map<string, number>();
  const names = new Map<number, string>();
  const remember = (peer: string, number: number) => {
    // Not before it is durable: an undone transaction takes the number back, and another peer gets it.
    sqlite.afterCommit(() => {
      if (numbers.size >= KEPT_PEERS) {
        numbers.clear();
        names.clear();
      }
      numbers.set(peer, number);
      names.set(number, peer);
    });
  };
  const lookUp = (peer: string): number | undefined => {
    const known = numbers.get(peer);
    if (known !== undefined) return known;
    const row = find.get(bytesOf(peer));
    if (row === undefined) return undefined;
    const number = Number(row.id);
    remember(peer, number);
    return number;
  };
  return {
    find: lookUp,
    numberOf(peer) {
      const known = lookUp(peer);
      if (known !== undefined) return known;
      const number = Number(add.get(bytesOf(peer))!.id);
      remember(peer, number);
      return number;
    },
    peerOf(number) {
      const known = names.get(number);
      if (known !== undefined) return known;
      const row = read.get(number);
      if (row === undefined) throw internalError('database.peer_unknown', 'a record names an unknown peer');
      const peer = hexOf(row.peer);
      remember(peer, number);
      return peer;
    },
  };
}
