/** What the firmware bridge remembers of its devices, in `records.db`, beside the share's own state. */

import type {
  MemoryChange,
  MirroredDevice,
  MirroredFile,
  MirrorMemory,
} from '../../firmware-bridge/mirror-memory.ts';
import type { Sqlite } from '../platform/sqlite.ts';

const MIGRATIONS = [
  `CREATE TABLE bridge_devices (
     device TEXT PRIMARY KEY,
     mark TEXT
   ) STRICT, WITHOUT ROWID;
   CREATE TABLE bridge_files (
     device TEXT NOT NULL,
     key TEXT NOT NULL,
     version TEXT NOT NULL,
     name TEXT NOT NULL,
     size INTEGER NOT NULL,
     digest INTEGER NOT NULL,
     path TEXT NOT NULL,
     placed_mtime_ns INTEGER NOT NULL,
     PRIMARY KEY (device, key)
   ) STRICT, WITHOUT ROWID;`,
  `CREATE TABLE bridge_sent (
     device TEXT NOT NULL,
     path TEXT NOT NULL,
     size INTEGER NOT NULL,
     mtime_ns INTEGER NOT NULL,
     PRIMARY KEY (device, path)
   ) STRICT, WITHOUT ROWID;`,
];

interface FileRow {
  readonly key: string;
  readonly version: string;
  readonly name: string;
  readonly size: bigint | number;
  readonly digest: bigint | number;
  readonly path: string;
  readonly placed_mtime_ns: bigint | number;
}

interface SentRow {
  readonly path: string;
  readonly size: bigint | number;
  readonly mtime_ns: bigint | number;
}

/** The table outlives a device's removal from the configuration: if it comes back, nothing is read twice. */
export function openBridgeMemory(sqlite: Sqlite): MirrorMemory {
  sqlite.migrate('bridge', MIGRATIONS);
  return {
    load: async (id) => load(sqlite, id),
    save: async (id, changes) => sqlite.transaction(() => save(sqlite, id, changes)),
  };
}

function load(sqlite: Sqlite, id: string): MirroredDevice | undefined {
  const device = sqlite
    .prepare<{ mark: string | null }>('SELECT mark FROM bridge_devices WHERE device = ?')
    .get(id);
  if (device === undefined) return undefined;
  const rows = sqlite.prepare<FileRow>('SELECT * FROM bridge_files WHERE device = ? ORDER BY key').all(id);
  const sent = sqlite
    .prepare<SentRow>('SELECT path, size, mtime_ns FROM bridge_sent WHERE device = ? ORDER BY path')
    .all(id)
    .map(({ path, size, mtime_ns }) => ({ path, size: Number(size), mtimeNs: BigInt(mtime_ns) }));
  return { mark: device.mark ?? undefined, files: rows.map(fileOf), sent };
}

function fileOf(row: FileRow): MirroredFile {
  return {
    key: row.key,
    version: row.version,
    name: row.name,
    size: Number(row.size),
    digest: Number(row.digest),
    path: row.path,
    placedMtimeNs: BigInt(row.placed_mtime_ns),
  };
}

function save(sqlite: Sqlite, id: string, changes: readonly MemoryChange[]): void {
  sqlite.prepare('INSERT OR IGNORE INTO bridge_devices (device, mark) VALUES (?, NULL)').run(id);
  for (const change of changes) {
    switch (change.kind) {
      case 'put': {
        const { key, version, name, size, digest, path, placedMtimeNs } = change.file;
        sqlite
          .prepare('INSERT OR REPLACE INTO bridge_files VALUES (?, ?, ?, ?, ?, ?, ?, ?)')
          .run(id, key, version, name, size, digest, path, placedMtimeNs);
        break;
      }
      case 'forget':
        sqlite.prepare('DELETE FROM bridge_files WHERE device = ? AND key = ?').run(id, change.key);
        break;
      case 'sent': {
        const { path, size, mtimeNs } = change.file;
        sqlite.prepare('INSERT OR REPLACE INTO bridge_sent VALUES (?, ?, ?, ?)').run(id, path, size, mtimeNs);
        break;
      }
      case 'unsent':
        sqlite.prepare('DELETE FROM bridge_sent WHERE device = ? AND path = ?').run(id, change.path);
        break;
      case 'mark':
        sqlite.prepare('UPDATE bridge_devices SET mark = ? WHERE device = ?').run(change.mark ?? null, id);
        break;
    }
  }
}
