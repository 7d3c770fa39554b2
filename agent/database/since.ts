/**
 * How far each remote peer has told us about each author's changes. Kept for each remote peer by itself: a peer may relay
 * an author's newest change before it has the older ones of other authors that go with it, and what one peer has told
 * says nothing about what another one still has to tell.
 *
 * Peer IDs are self-asserted, so the access level of the connection is part of the name: a member who can only read, and
 * claims to be someone else, can't make us skip anything on that other peer's read-write connections.
 */

import type { Clock } from '../base/clock.ts';
import { TokenBucket } from '../discovery/token-bucket.ts';
import type { Sqlite } from '../platform/sqlite.ts';
import { MAX_AUTHORS } from './messages.ts';
import type { PeerNumbers } from './row-codec.ts';
import type { VectorClock } from './vector-clock.ts';

export type Level = 'read_write' | 'read_only';

export interface Remote {
  /** Peer ID. */
  readonly id: string;
  readonly level: Level;
}

export interface SinceStore {
  /**
   * Whether what this remote tells is noted: it is if it was before, or if not too many new ones came lately. What is not
   * noted is told again the next time. To be asked before `advance`, in the same transaction.
   * @param now nanoseconds since 1970.
   */
  admit(remote: Remote, now: bigint): boolean;
  /** The last revision of each author that this remote has told us. */
  load(remote: Remote): VectorClock;
  /** The remote has told us this author's changes up to this revision. Only ever forward. */
  advance(remote: Remote, author: string, revision: bigint): void;
  /** Whether others know changes of ours under this peer ID that are not here. */
  missesOwn(self: string): boolean;
  /** They do. Nothing ends this but another peer ID: which of our revisions were given out twice is not known. */
  missOwn(self: string): void;
  /** When the remote was last asked for everything, nanoseconds since 1970; undefined: never. */
  refreshed(remote: Remote): bigint | undefined;
  /** It is asked for everything now. Of too many remotes, those asked longest ago are forgotten. */
  setRefreshed(remote: Remote, now: bigint): void;
}

/** A club has a few dozen members; a member that invents IDs must not fill the disk. */
const MAX_REMOTES = 256;
/** New remotes. The number that a peer ID gets stays for ever, and IDs cost nothing. */
const NEW_REMOTES = { burst: 64, perSecond: 1 / 300 };

/** @param clock for how often something happens. */
export function openSinceStore(
  sqlite: Sqlite,
  club: number,
  peers: PeerNumbers,
  clock: Pick<Clock, 'monotonic'>,
): SinceStore {
  const newRemotes = new TokenBucket(NEW_REMOTES, clock.monotonic());
  const load = sqlite.prepare<{ author: bigint; revision: bigint }>(
    `SELECT author, revision FROM database_since WHERE club = ? AND remote = ? AND level = ?
     ORDER BY revision DESC LIMIT ${MAX_AUTHORS - 1}`,
  );
  const advance = sqlite.prepare(
    `INSERT INTO database_since VALUES(?, ?, ?, ?, ?)
     ON CONFLICT DO UPDATE SET revision = excluded.revision WHERE excluded.revision > revision`,
  );
  // In a row of its own: we are no remote of ours.
  const missesOwn = sqlite.prepare(
    'SELECT 1 FROM database_since WHERE club = ? AND remote = ? AND level = ? AND author = ?',
  );
  const missOwn = sqlite.prepare('INSERT OR IGNORE INTO database_since VALUES(?, ?, ?, ?, 0)');
  const refreshed = sqlite.prepare<{ refreshed: bigint }>(
    'SELECT refreshed FROM database_remote WHERE club = ? AND remote = ? AND level = ?',
  );
  const setRefreshed = sqlite.prepare('INSERT OR REPLACE INTO database_remote VALUES(?, ?, ?, ?)');
  const superfluous = sqlite.prepare<{ remote: bigint; level: bigint }>(
    `SELECT remote, level FROM database_remote WHERE club = ?
     ORDER BY refreshed DESC LIMIT -1 OFFSET ${MAX_REMOTES}`,
  );
  const forget = ['since', 'remote'].map((table) =>
    sqlite.prepare(`DELETE FROM database_${table} WHERE club = ? AND remote = ? AND level = ?`),
  );

  const timeOf = (remote: Remote): bigint | undefined => {
    const known = knownColumns(remote, peers);
    return known === undefined ? undefined : refreshed.get(club, ...known)?.refreshed;
  };

  const store: SinceStore = {
    admit(remote, now) {
      if (timeOf(remote) !== undefined) return true;
      if (!newRemotes.take(clock.monotonic())) return false;
      store.setRefreshed(remote, now);
      return true;
    },
    load(remote) {
      const known = knownColumns(remote, peers);
      if (known === undefined) return new Map();
      const rows = load.all(club, ...known);
      return new Map(rows.map(({ author, revision }) => [peers.peerOf(Number(author)), revision]));
    },
    advance: (remote, author, revision) =>
      void advance.run(club, ...columns(remote, peers), peers.numberOf(author), revision),
    missesOwn(self) {
      const known = knownColumns({ id: self, level: 'read_write' }, peers);
      return known !== undefined && missesOwn.get(club, ...known, known[0]) !== undefined;
    },
    missOwn(self) {
      const own = columns({ id: self, level: 'read_write' }, peers);
      missOwn.run(club, ...own, own[0]);
    },
    refreshed: timeOf,
    setRefreshed(remote, now) {
      sqlite.transaction(() => {
        setRefreshed.run(club, ...columns(remote, peers), now);
        for (const row of superfluous.all(club)) {
          for (const statement of forget) statement.run(club, row.remote, row.level);
        }
      });
    },
  };
  return store;
}

/** Without giving a number to whoever has none. */
function knownColumns({ id, level }: Remote, peers: PeerNumbers): [number, number] | undefined {
  const number = peers.find(id);
  return number === undefined ? undefined : [number, level === 'read_write' ? 1 : 0];
}

function columns({ id, level }: Remote, peers: PeerNumbers): [number, number] {
  return [peers.numberOf(id), level === 'read_write' ? 1 : 0];
}
