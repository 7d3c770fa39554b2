/** How long the archive has kept something: see `LivedTime`. Written down sparingly, since each time wears the disk. */

import type { Clock } from '../base/clock.ts';
import { type Lived, LivedTime } from '../base/lived-time.ts';
import type { Sqlite } from '../platform/sqlite.ts';

const MIGRATIONS = [
  `
  CREATE TABLE directory_archive_time(
    club TEXT PRIMARY KEY,
    lived INTEGER NOT NULL,
    seen INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  `,
];
/** What a crash may take away: files are kept for so much longer then. Nanoseconds. */
const WRITTEN_EVERY = 43_200n * 1_000_000_000n;

export class ArchiveAge {
  readonly #sqlite: Sqlite;
  readonly #club: string;
  readonly #time: LivedTime;
  #stored: Lived | undefined;

  constructor(sqlite: Sqlite, club: string, clock: Clock) {
    this.#sqlite = sqlite;
    this.#club = club;
    sqlite.migrate('directory_archive_time', MIGRATIONS);
    const row = sqlite
      .prepare<{ lived: bigint; seen: bigint }>(
        'SELECT lived, seen FROM directory_archive_time WHERE club = ?',
      )
      .get(club);
    this.#stored = row && { lived: row.lived, seen: row.seen };
    this.#time = new LivedTime(clock, this.#stored);
  }

  /** Nanoseconds from an arbitrary start: for differences. */
  now(): bigint {
    return this.#time.now().lived;
  }

  /** Writes it down if that is worth a write. @throws SkylarkError `sqlite.*`. */
  keep(worth = WRITTEN_EVERY): void {
    const now = this.#time.now();
    const stored = this.#stored;
    if (stored !== undefined && now.lived - stored.lived < worth) return;
    this.#sqlite
      .prepare('INSERT OR REPLACE INTO directory_archive_time(club, lived, seen) VALUES(?, ?, ?)')
      .run(this.#club, now.lived, now.seen);
    this.#stored = now;
  }
}
