/** A real folder into which records of one peer are placed, without a detector and without connections. */

import { createHash } from 'node:crypto';
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../agent/base/clock.ts';
import type { JsonObject } from '../../agent/base/json.ts';
import { silentLogger } from '../../agent/base/log.ts';
import { openClubDatabase } from '../../agent/database/database.ts';
import { conflictKey, isConflictWorthy } from '../../agent/directory/conflict.ts';
import { type Hashing, openHashing } from '../../agent/directory/hashing.ts';
import type { Outcome } from '../../agent/directory/place.ts';
import { makeParts, type ShareParts } from '../../agent/directory/share-parts.ts';
import { supplyOfBytes } from '../../agent/directory/supply.ts';
import { openShareRoot, type ShareRoot } from '../../agent/platform/files.ts';
import { openSqlite, type Sqlite } from '../../agent/platform/sqlite.ts';

const SELF = '11'.repeat(16);
const PEER = '22'.repeat(16);

interface Version {
  readonly uuid: string;
  readonly key: string;
  readonly value: JsonObject | null;
}

export class Place {
  readonly folder: string;
  readonly root: ShareRoot;
  readonly sqlite: Sqlite;
  readonly hashing: Hashing;
  readonly nudged: string[] = [];
  readonly placed: string[] = [];
  readonly parts: ShareParts;
  readonly database: ReturnType<typeof openClubDatabase>;
  #revision = 0n;

  constructor(folder: string, root: ShareRoot, hashing: Hashing, sqlite: Sqlite) {
    this.folder = folder;
    this.root = root;
    this.hashing = hashing;
    this.sqlite = sqlite;
    const shared = { club: 'club', clock: systemClock, log: silentLogger, sqlite };
    const conflicts = { conflictKey, isConflictWorthy };
    this.database = openClubDatabase({ ...shared, self: SELF, writable: true, conflicts });
    this.parts = makeParts({
      ...shared,
      database: this.database,
      hashing,
      root,
      signal: new AbortController().signal,
      archive: undefined,
      hold: () => () => undefined,
      nudge: (path) => this.nudged.push(path),
      mayPlace: () => true,

      mayMend: () => false,
      mayTidy: () => true,
      mayFetch: () => true,
      received: () => undefined,
      onPlaced: (path) => this.placed.push(path),
      onConflict: () => undefined,
      onChanges: () => undefined,
      announce: () => undefined,
      halt: () => Promise.resolve(),
      proceed: () => undefined,
    });
  }

  at(path: string): string {
    return join(this.folder, path);
  }

  /** A version of a record, from a peer. */
  record({ uuid, key, value }: Version): void {
    this.#revision += 1n;
    this.database.transaction(() => {
      this.database.receive(
        {
          uuid: id(uuid),
          key,
          value,
          deleted: value === null,
          lastUpdatedBy: PEER,
          lastUpdatedRev: this.#revision,
          updateTime: new Date(1_790_000_000_000 + Number(this.#revision)).toISOString(),
          vectorClock: new Map([[PEER, this.#revision]]),
        },
        PEER,
        undefined,
      );
    });
  }

  apply(uuid: string, contents?: string): Promise<Outcome> {
    const supply =
      contents === undefined
        ? undefined
        : supplyOfBytes(this.root, `test-${uuid}`, new Uint8Array(Buffer.from(contents)));
    return this.parts.placer.apply(id(uuid), supply);
  }

  async file(uuid: string, key: string, contents: string, rest: JsonObject = {}): Promise<Outcome> {
    this.record({ uuid, key, value: file(contents, rest) });
    return this.apply(uuid, contents);
  }

  /** Names of files and folders, and the contents of files. */
  shown(): string[] {
    const names = fs.readdirSync(this.folder, { recursive: true, encoding: 'utf8' });
    return names
      .filter((name) => !name.startsWith('.clearskies'))
      .map((name) => {
        const path = this.at(name);
        return fs.statSync(path).isDirectory() ? `${name}/` : `${name}=${fs.readFileSync(path, 'utf8')}`;
      })
      .sort();
  }

  archived(): string[] {
    const rows = this.sqlite.prepare<{ id: bigint }>('SELECT id FROM directory_archive ORDER BY id').all();
    return rows.map(({ id: row }) => {
      const kept = this.parts.archive.get(row);
      return `${kept?.key}=${fs.readFileSync(this.at(kept?.path ?? ''), 'utf8')}`;
    });
  }
}

export function id(name: string): string {
  return createHash('sha256').update(name).digest('hex').slice(0, 32);
}

export function sha256(contents: string): string {
  return createHash('sha256').update(contents).digest('hex');
}

export function file(contents: string, rest: JsonObject = {}): JsonObject {
  return { size: contents.length, sha256: sha256(contents), ...rest };
}

export const FOLDER: JsonObject = { size: null, sha256: null };

/** Names of the temporaries below the folder that this process has open. */
export function openFilesBelow(folder: string): string[] {
  return fs
    .readdirSync('/proc/self/fd')
    .map((fd) => {
      try {
        return fs.readlinkSync(`/proc/self/fd/${fd}`);
      } catch {
        return '';
      }
    })
    .filter((path) => path.startsWith(join(folder, '.clearskies/tmp/')));
}

export async function inPlace(body: (place: Place) => Promise<void>): Promise<void> {
  const folder = fs.mkdtempSync(join(tmpdir(), 'skylark-place-'));
  const root = await openShareRoot(folder);
  const hashing = openHashing();
  const sqlite = openSqlite(':memory:');
  try {
    await body(new Place(folder, root, hashing, sqlite));
  } finally {
    await hashing.close();
    root.close();
    sqlite.close();
    fs.rmSync(folder, { recursive: true });
  }
}
