/** Which members have said that they have everything, and up to which place in the order of arrival that was. */

import type { Sqlite, SqlOutput } from '../platform/sqlite.ts';
import { bytesOf, hexOf } from './row-codec.ts';
import type { Level } from './since.ts';

export interface Holder {
  /** Peer ID. */
  readonly id: string;
  /** Of the connection on which it said so. */
  readonly level: Level;
  /** It has everything up to this place. */
  readonly place: number;
  /** Since when that is known, nanoseconds since 1970. */
  readonly since: bigint;
}

export interface HolderStore {
  load(): Holder[];
  /** Takes the place of all that was stored. */
  save(holders: readonly Holder[]): void;
}

interface Row extends Readonly<Record<string, SqlOutput>> {
  readonly peer: Uint8Array;
  readonly level: bigint;
  readonly place: bigint;
  readonly since: bigint;
}

export function openHolderStore(sqlite: Sqlite, club: number): HolderStore {
  const load = sqlite.prepare<Row>('SELECT peer, level, place, since FROM database_holder WHERE club = ?');
  const clear = sqlite.prepare('DELETE FROM database_holder WHERE club = ?');
  const add = sqlite.prepare('INSERT INTO database_holder VALUES(?, ?, ?, ?, ?)');
  return {
    load: () =>
      load.all(club).map(({ peer, level, place, since }) => ({
        id: hexOf(peer),
        level: level === 1n ? 'read_write' : 'read_only',
        place: Number(place),
        since,
      })),
    save(holders) {
      sqlite.transaction(() => {
        clear.run(club);
        for (const { id, level, place, since } of holders) {
          add.run(club, bytesOf(id), level === 'read_write' ? 1 : 0, place, since);
        }
      });
    },
  };
}
