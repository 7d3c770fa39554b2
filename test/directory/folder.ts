/** A real temporary folder with a detector on it. */

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../agent/base/clock.ts';
import { silentLogger } from '../../agent/base/log.ts';
import { type Detector, type DetectorOptions, openDetector } from '../../agent/directory/detect.ts';
import { decodeEntry } from '../../agent/directory/entry.ts';
import { type Hashing, openHashing } from '../../agent/directory/hashing.ts';
import { type IndexRow, type LocalIndex, openLocalIndex } from '../../agent/directory/local-index.ts';
import { type FileFacts, openShareRoot, type ShareRoot } from '../../agent/platform/files.ts';
import { openSqlite, type Sqlite } from '../../agent/platform/sqlite.ts';
import { type PlainRecords, plainRecords } from './plain-records.ts';

export interface Folder {
  /** Absolute path of the share. */
  readonly path: string;
  readonly root: ShareRoot;
  readonly sqlite: Sqlite;
  readonly index: LocalIndex;
  readonly records: PlainRecords;
  readonly hashing: Hashing;
  readonly deviations: { readonly row: IndexRow; readonly now: FileFacts | undefined }[];
  /** Opens a detector, which ends with the folder. */
  detector(options?: Partial<DetectorOptions>): Detector;
  /** Absolute path of something in the share. */
  at(path: string): string;
}

/** Runs `body` with a new folder and removes everything afterwards. */
export async function withFolder(
  body: (folder: Folder) => Promise<void>,
  makeRecords: (sqlite: Sqlite) => PlainRecords = plainRecords,
): Promise<void> {
  const top = mkdtempSync(join(tmpdir(), 'skylark-folder-'));
  const path = join(top, 'share');
  mkdirSync(path);
  const sqlite = openSqlite(':memory:');
  const root = await openShareRoot(path);
  const hashing = openHashing();
  const detectors: Detector[] = [];
  const index = openLocalIndex(sqlite, 'c1');
  const records = makeRecords(sqlite);
  const deviations: Folder['deviations'] = [];
  const folder: Folder = {
    path,
    root,
    sqlite,
    index,
    records,
    hashing,
    deviations,
    at: (inner) => join(path, inner),
    detector(options = {}) {
      const detector = openDetector({
        root,
        index,
        records,
        hashing,
        clock: systemClock,
        log: silentLogger,
        onDeviation: (row, now) => deviations.push({ row, now }),
        ...options,
      });
      detectors.push(detector);
      return detector;
    },
  };
  try {
    await body(folder);
  } finally {
    for (const detector of detectors) await detector.close();
    await hashing.close();
    root.close();
    sqlite.close();
    // Owners take permissions away from folders, which only root may ignore.
    execFileSync('chmod', ['-R', 'u+rwx', top]);
    rmSync(top, { recursive: true, force: true });
  }
}

/** One line for each file and directory on the disk: path, kind, mode, size, hash, time in microseconds. */
export function onDisk(folder: Folder): string[] {
  const lines: string[] = [];
  const visit = (path: string): void => {
    const stats = lstatSync(folder.at(path), { bigint: true });
    const mode = Number(stats.mode & 0o777n);
    if (stats.isDirectory()) {
      lines.push(line(path, mode, undefined));
      for (const name of readdirSync(folder.at(path)))
        if (name !== '.clearskies') visit(path === '/' ? `/${name}` : `${path}/${name}`);
    } else if (stats.isFile()) {
      const sha256 = createHash('sha256')
        .update(readFileSync(folder.at(path)))
        .digest('hex');
      lines.push(
        line(path, mode, { size: stats.size, sha256, mtimeNs: asRecorded(folder, path, stats.mtimeNs) }),
      );
    }
  };
  visit('/');
  return lines.sort();
}

/** The time in the record, if it differs by less than a file's time can be set to. */
function asRecorded(folder: Folder, path: string, mtimeNs: bigint): bigint {
  const record = folder.records.get(path);
  const recorded = record === undefined ? undefined : decodeEntry(record.value).mtime;
  if (recorded === undefined) return mtimeNs;
  const apart = recorded - mtimeNs;
  return -1_000n < apart && apart < 1_000n ? recorded : mtimeNs;
}

/** The same, as the records say it. */
export function inRecords(folder: Folder): string[] {
  return Array.from(folder.records.live().values(), ({ key, value }) => {
    const entry = decodeEntry(value);
    if (entry.kind === 'directory') return line(key, entry.mode ?? 0, undefined);
    return line(key, entry.mode ?? 0, { size: entry.size, sha256: entry.sha256, mtimeNs: entry.mtime ?? 0n });
  }).sort();
}

function line(
  path: string,
  mode: number,
  file: { readonly size: bigint; readonly sha256: string; readonly mtimeNs: bigint } | undefined,
): string {
  const shown = `${JSON.stringify(path)} ${mode.toString(8)}`;
  return file === undefined
    ? `${shown} folder`
    : `${shown} ${file.size} ${file.sha256} ${file.mtimeNs / 1_000n}`;
}
