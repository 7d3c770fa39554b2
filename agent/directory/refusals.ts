/**
 * Which peers said that they can't serve which contents. "When a client receives an error from the server, it should not
 * request the file again for an extended period of time, at least several hours" (directory.md): also not after a
 * restart.
 */

import { type Clock, countable } from '../base/clock.ts';
import type { Sqlite } from '../platform/sqlite.ts';

/** How long an error is respected, nanoseconds: six hours. */
const RESPECTED = 21_600_000_000_000n;
/** Most refusals that are remembered for a club; a peer that sends more has made its point. */
const MAX_REFUSALS = 100_000;

const MIGRATIONS = [
  `
  CREATE TABLE directory_refusal(
    club TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    peer TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY(club, sha256, peer)
  ) STRICT, WITHOUT ROWID;
  `,
  `
  DROP TABLE directory_refusal;
  CREATE TABLE directory_refusal(
    club TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    peer TEXT NOT NULL,
    -- As the record says: a wrong one is refused for good reason, and says nothing about the right one.
    size INTEGER NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY(club, sha256, peer, size)
  ) STRICT, WITHOUT ROWID;
  `,
];

export class RefusalStore {
  readonly #sqlite: Sqlite;
  readonly #club: string;
  readonly #clock: Clock;
  /** At least the number of rows. */
  #count = 0;

  constructor(sqlite: Sqlite, club: string, clock: Clock) {
    this.#sqlite = sqlite;
    this.#club = club;
    this.#clock = clock;
    sqlite.migrate('directory_refusal', MIGRATIONS);
    this.#expire();
  }

  /** @param peer its peer ID. @param size that was asked for, bytes */
  add(peer: string, sha256: string, size: number): void {
    if (this.#count >= MAX_REFUSALS) this.#expire();
    if (this.#count >= MAX_REFUSALS) return;
    this.#count += 1;
    this.#sqlite
      .prepare('INSERT OR REPLACE INTO directory_refusal(club, sha256, peer, size, at) VALUES(?, ?, ?, ?, ?)')
      .run(this.#club, sha256, peer, size, countable(this.#clock.now()));
  }

  /** Whether that peer refused it less than six hours ago. */
  has(peer: string, sha256: string, size: number): boolean {
    if (this.#count === 0) return false;
    const row = this.#sqlite
      .prepare<{ at: bigint }>(
        'SELECT at FROM directory_refusal WHERE club = ? AND sha256 = ? AND peer = ? AND size = ?',
      )
      .get(this.#club, sha256, peer, size);
    return row !== undefined && this.#isRespected(row.at);
  }

  /** The peer has it after all. */
  remove(peer: string, sha256: string): void {
    if (this.#count === 0) return;
    this.#sqlite
      .prepare('DELETE FROM directory_refusal WHERE club = ? AND sha256 = ? AND peer = ?')
      .run(this.#club, sha256, peer);
  }

  /** A time in the future means that the clock was set back since: then nothing is known about how long ago it was. */
  #isRespected(at: bigint): boolean {
    const age = countable(this.#clock.now()) - at;
    return age >= 0n && age < RESPECTED;
  }

  #expire(): void {
    const now = countable(this.#clock.now());
    this.#sqlite
      .prepare('DELETE FROM directory_refusal WHERE club = ? AND (at <= ? OR at > ?)')
      .run(this.#club, now - RESPECTED, now);
    const row = this.#sqlite
      .prepare<{ count: bigint }>('SELECT count(*) AS count FROM directory_refusal WHERE club = ?')
      .get(this.#club);
    this.#count = Number(row?.count ?? 0n);
  }
}
