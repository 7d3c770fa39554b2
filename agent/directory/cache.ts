/**
 * Contents that somebody asked for and that the folder does not show, since this device keeps only a part of the share: a
 * hidden folder of the share, bounded by size, of which the longest unused go first. What lies there is given to other
 * members, and is there at once when it is asked for again or takes its place in the folder.
 *
 * Each file is named by the SHA-256 of its contents, and read again before it counts for anything. The row is written
 * before the file is placed and removed after it has gone: so a crash leaves rows without a file, which are found out,
 * and no file without a row.
 */

import { fromHex, toHex } from '../base/bytes.ts';
import { errorCode } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { type ShareRoot, STATE_FOLDER, type Temporary } from '../platform/files.ts';
import type { Sqlite } from '../platform/sqlite.ts';

export interface ContentCacheOptions {
  readonly sqlite: Sqlite;
  readonly club: string;
  readonly root: ShareRoot;
  readonly log: Logger;
  /** Bytes in all. Default: `CACHE_BYTES`. */
  readonly limit?: bigint | undefined;
  /** Whether contents lie nowhere else and will not: all others need no cache. */
  readonly isElsewhere: (sha256: string) => boolean;
  /** Contents are here now that other members may want. */
  readonly onKept: (sha256: string) => void;
}

/** 256 MiB. */
export const CACHE_BYTES = 268_435_456n;

const MIGRATIONS = [
  `
  CREATE TABLE directory_cache(
    club TEXT NOT NULL,
    sha256 BLOB NOT NULL,
    size INTEGER NOT NULL,
    -- Rises with each use.
    used INTEGER NOT NULL,
    PRIMARY KEY(club, sha256)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX directory_cache_used ON directory_cache(club, used);
  `,
];
const FOLDER = `/${STATE_FOLDER}/cache`;

export class ContentCache {
  readonly #options: ContentCacheOptions;
  readonly #limit: bigint;
  /** One change of the files at a time. */
  #work: Promise<void> = Promise.resolve();

  constructor(options: ContentCacheOptions) {
    this.#options = options;
    this.#limit = options.limit ?? CACHE_BYTES;
    options.sqlite.migrate('directory.cache', MIGRATIONS);
  }

  get bytes(): bigint {
    const { sqlite, club } = this.#options;
    const row = sqlite
      .prepare<{ bytes: bigint }>(
        'SELECT coalesce(sum(size), 0) AS bytes FROM directory_cache WHERE club = ?',
      )
      .get(club);
    return row?.bytes ?? 0n;
  }

  /** Local path of the file that should have these contents; whoever uses it verifies them, or says `forget`. */
  find(sha256: string): string | undefined {
    const { sqlite, club } = this.#options;
    const row = sqlite
      .prepare('SELECT 1 AS yes FROM directory_cache WHERE club = ? AND sha256 = ?')
      .get(club, fromHex(sha256));
    return row === undefined ? undefined : pathOf(sha256);
  }

  /** Somebody asked for them: others go first. */
  used(sha256: string): void {
    const { sqlite, club } = this.#options;
    sqlite
      .prepare(
        `UPDATE directory_cache SET used = (SELECT max(used) + 1 FROM directory_cache WHERE club = ?1)
         WHERE club = ?1 AND sha256 = ?2 AND used < (SELECT max(used) FROM directory_cache WHERE club = ?1)`,
      )
      .run(club, fromHex(sha256));
  }

  /** SHA-256 of all that is here. */
  contents(): Uint8Array[] {
    const { sqlite, club } = this.#options;
    return sqlite
      .prepare<{ sha256: Uint8Array }>('SELECT sha256 FROM directory_cache WHERE club = ?')
      .all(club)
      .map(({ sha256 }) => sha256);
  }

  /**
   * Takes over verified contents, if this device does not keep them anyway and they fit.
   * @returns where they lie then; undefined: the temporary file is still the caller's.
   */
  async keep(
    { sha256, size }: { readonly sha256: string; readonly size: bigint },
    temporary: Temporary,
  ): Promise<string | undefined> {
    if (!this.#options.isElsewhere(sha256) || size > this.#limit || size === 0n) return undefined;
    let path: string | undefined;
    await this.#queued(async () => {
      path = await this.#place(sha256, size, temporary);
    });
    if (path !== undefined) this.#options.onKept(sha256);
    return path;
  }

  /** The file is not there, or its contents are other ones; or no record asks for them any more. Never rejects. */
  async forget(sha256: string): Promise<void> {
    if (this.find(sha256) !== undefined) await this.#queued(() => this.#remove(sha256));
  }

  /** Contents for which no record is left. */
  obsolete(sha256: string): void {
    if (!this.#options.isElsewhere(sha256)) void this.forget(sha256);
  }

  /** Removes what no row speaks of: an earlier share in this folder left it. @throws `share.*`, `files.*`. */
  async clean(): Promise<void> {
    const { root } = this.#options;
    if ((await root.look(FOLDER))?.kind !== 'directory') return;
    for await (const batch of root.list(FOLDER)) {
      for (const entry of batch) {
        if (entry.name === undefined || entry.facts?.kind !== 'file') continue;
        const isKnown = /^[0-9a-f]{64}$/.test(entry.name) && this.find(entry.name) !== undefined;
        if (!isKnown) await root.removeFile(`${FOLDER}/${entry.name}`, entry.facts);
      }
    }
  }

  /** Resolves when no file is being changed. */
  async idle(): Promise<void> {
    await this.#work;
  }

  async #place(sha256: string, size: bigint, temporary: Temporary): Promise<string | undefined> {
    const { sqlite, club, root } = this.#options;
    const path = pathOf(sha256);
    await this.#remove(sha256);
    await this.#makeRoom(size);
    for (const folder of [`/${STATE_FOLDER}`, FOLDER]) await root.makeDirectory(folder, 0o700);
    sqlite.transaction(() => {
      sqlite
        .prepare(
          `INSERT OR REPLACE INTO directory_cache(club, sha256, size, used)
           VALUES(?1, ?2, ?3, (SELECT coalesce(max(used), 0) + 1 FROM directory_cache WHERE club = ?1))`,
        )
        .run(club, fromHex(sha256), size);
    });
    await temporary.commit(path, { mode: 0o600, mtimeNs: undefined, expected: 'absent' });
    return path;
  }

  async #makeRoom(size: bigint): Promise<void> {
    const { sqlite, club } = this.#options;
    const oldest = sqlite.prepare<{ sha256: Uint8Array }>(
      'SELECT sha256 FROM directory_cache WHERE club = ? ORDER BY used LIMIT 1',
    );
    while (this.bytes + size > this.#limit) {
      const row = oldest.get(club);
      if (row === undefined) return;
      await this.#remove(toHex(row.sha256));
    }
  }

  async #remove(sha256: string): Promise<void> {
    const { sqlite, club, root } = this.#options;
    const path = pathOf(sha256);
    const facts = await root.look(path);
    if (facts !== undefined) await root.removeFile(path, facts);
    sqlite.prepare('DELETE FROM directory_cache WHERE club = ? AND sha256 = ?').run(club, fromHex(sha256));
  }

  /** Never rejects: a cache that can't be written to is none. */
  #queued(work: () => Promise<void>): Promise<void> {
    this.#work = this.#work.then(work).catch((thrown: unknown) => {
      this.#options.log.warn('the cache of contents could not be changed', { code: errorCode(thrown) });
    });
    return this.#work;
  }
}

function pathOf(sha256: string): string {
  return `${FOLDER}/${sha256}`;
}
