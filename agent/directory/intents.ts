/**
 * What we are about to do to the disk, written down before it is done, and how a restart finds out from the disk what
 * had been done: only what is exactly as intended counts, everything else is left for the detector and the next try.
 */

import {
  isJsonObject,
  type Json,
  type JsonObject,
  jsonObject,
  parseJson,
  stringifyJson,
} from '../base/json.ts';
import type { Logger } from '../base/log.ts';
import { type FileFacts, parentOf, type ShareRoot } from '../platform/files.ts';
import type { Sqlite } from '../platform/sqlite.ts';
import type { Archive, ArchivedFile } from './archive.ts';
import type { Hashing } from './hashing.ts';
import type { IndexRow, LocalIndex, VectorClock } from './local-index.ts';
import { joinPath } from './paths.ts';
import type { FileRecord } from './projection.ts';

/** What a file or directory of a record will look like. */
export interface IntendedRow {
  readonly path: string;
  readonly kind: 'file' | 'directory';
  readonly localName: string | undefined;
  readonly uuid: string | undefined;
  readonly clock: VectorClock | undefined;
  readonly sha256: string | undefined;
  readonly size: bigint;
}

export type Intent =
  /** A file with these contents, or a directory, will be at this path. */
  | { readonly op: 'place'; readonly row: IntendedRow }
  /** What is at `from` will be at the row's path. */
  | { readonly op: 'move'; readonly from: string; readonly row: IntendedRow }
  /** What is at this path will be gone; a file will be in the archive. */
  | { readonly op: 'remove'; readonly path: string }
  /** Its owner's own change, made by us: the detector will find it at this path, as it finds any other. */
  | { readonly op: 'restore'; readonly path: string };

interface Noted {
  readonly intent: Intent;
  /** Id of the place in the archive. */
  readonly archived: bigint | undefined;
}

export function intendedRow(
  record: FileRecord,
  path: string,
  kind: 'file' | 'directory',
  sha256: string | undefined,
  size: bigint,
  localName: string | undefined,
): IntendedRow {
  const { uuid, vectorClock } = record;
  return { path, kind, localName, uuid, clock: vectorClock, sha256, size };
}

/** An index row for what the disk shows now. */
export function indexRow(row: IntendedRow, facts: FileFacts): IndexRow {
  return {
    path: row.path,
    kind: row.kind,
    ino: facts.ino,
    size: facts.size,
    mtimeNs: facts.mtimeNs,
    ctimeNs: facts.ctimeNs,
    mode: facts.mode & 0o777,
    sha256: row.sha256,
    uuid: row.uuid,
    clock: row.clock,
    found: row.uuid === undefined,
    localName: row.localName,
  };
}

/** Where the row lies on the disk; its parent must be in the index. */
export function localPathOf(index: LocalIndex, path: string, localName: string | undefined): string {
  return localName === undefined
    ? index.localPath(path)
    : joinPath(index.localPath(parentOf(path)), localName);
}

/** The paths that the detector could take for a change of the owner's while the row comes into being. */
export function pathsOf({ path, localName }: IntendedRow): string[] {
  return localName === undefined ? [path] : [path, joinPath(parentOf(path), localName)];
}

export function encodeIntents(noted: readonly Noted[]): string {
  return stringifyJson(
    noted.map(({ intent, archived }) => {
      const members: [string, Json][] = [['op', intent.op]];
      if (archived !== undefined) members.push(['archived', archived]);
      if (intent.op === 'remove' || intent.op === 'restore') members.push(['path', intent.path]);
      else members.push(['row', encodeRow(intent.row)]);
      if (intent.op === 'move') members.push(['from', intent.from]);
      return jsonObject(members);
    }),
  );
}

export interface RecoveryOptions {
  readonly sqlite: Sqlite;
  readonly club: string;
  readonly index: LocalIndex;
  readonly archive: Archive;
  readonly root: ShareRoot;
  readonly hashing: Hashing;
  readonly log: Logger;
  readonly signal: AbortSignal;
  /** Compares record and index anew; inside a transaction. */
  readonly settle: (uuid: string) => void;
}

/** To be called before the detector looks at anything. */
export async function recover(options: RecoveryOptions): Promise<void> {
  const { sqlite, club, log } = options;
  const stored = sqlite
    .prepare<{ id: bigint; intents: string }>(
      'SELECT id, intents FROM directory_intent WHERE club = ? ORDER BY id',
    )
    .all(club);
  let found = 0;
  for (const { id, intents } of stored) {
    for (const noted of decodeIntents(intents)) if (await recoverOne(noted, options)) found += 1;
    sqlite.prepare('DELETE FROM directory_intent WHERE id = ?').run(id);
  }
  if (stored.length > 0) log.info('finished what an interruption had left half done', { changes: found });
}

async function recoverOne({ intent, archived }: Noted, options: RecoveryOptions): Promise<boolean> {
  const { sqlite, archive } = options;
  const kept = archived === undefined ? undefined : archive.get(archived);
  const isKept = kept !== undefined && (await isKeptAlone(intent, kept, options));
  const finish = await whatHappened(intent, isKept, options);
  sqlite.transaction(() => {
    if (kept !== undefined && !isKept) archive.forget(kept);
    finish?.();
  });
  return finish !== undefined;
}

/**
 * Whether the archive has the file, and nobody else. Before a file is replaced, it has a second name in the archive; if it
 * came no further, whoever writes to the file would write to what is kept: the second name goes again.
 */
async function isKeptAlone(
  intent: Intent,
  kept: ArchivedFile,
  { archive, index, root }: RecoveryOptions,
): Promise<boolean> {
  const facts = await root.look(kept.path);
  if (facts === undefined) return false;
  if (facts.links === 1) return true;
  const path =
    'row' in intent
      ? localPathOf(index, intent.row.path, intent.row.localName)
      : index.localPath(intent.path);
  const there = await root.look(path);
  if (there?.ino !== facts.ino || there.dev !== facts.dev) return true;
  await archive.discard(kept);
  return false;
}

/** What to write if the change had happened; undefined if not. */
async function whatHappened(
  intent: Intent,
  isKept: boolean,
  { index, root, hashing, signal, settle }: RecoveryOptions,
): Promise<(() => void) | undefined> {
  if (intent.op === 'restore') return undefined;
  if (intent.op === 'remove') {
    const row = index.byPath(intent.path);
    if (row === undefined || (await root.look(index.localPath(intent.path))) !== undefined) return undefined;
    if (row.kind === 'file' && !isKept) return undefined;
    return () => {
      index.remove(intent.path);
      if (row.uuid !== undefined) settle(row.uuid);
    };
  }
  const { row } = intent;
  const local = localPathOf(index, row.path, row.localName);
  const facts = await root.look(local);
  if (facts === undefined || facts.kind !== row.kind) return undefined;
  const from = intent.op === 'move' ? index.byPath(intent.from) : undefined;
  if (row.kind === 'file' && from?.ino !== facts.ino) {
    if (facts.size !== row.size) return undefined;
    const outcome = await hashing.hash(root, local, facts.size, signal);
    if (outcome.state !== 'hashed' || outcome.sha256 !== row.sha256) return undefined;
  }
  return () => {
    if (from !== undefined && from.path !== row.path) index.remove(from.path);
    index.put(indexRow(row, facts));
    if (row.uuid !== undefined) settle(row.uuid);
  };
}

function encodeRow(row: IntendedRow): JsonObject {
  const members: [string, Json][] = [
    ['path', row.path],
    ['kind', row.kind],
    ['size', row.size],
  ];
  if (row.localName !== undefined) members.push(['local_name', row.localName]);
  if (row.uuid !== undefined) members.push(['uuid', row.uuid]);
  if (row.sha256 !== undefined) members.push(['sha256', row.sha256]);
  if (row.clock !== undefined) members.push(['clock', jsonObject(row.clock)]);
  return jsonObject(members);
}

/** Our own text, but possibly of another version: what is not understood is left out. */
function decodeIntents(text: string): Noted[] {
  const json = parseJson(text);
  if (!Array.isArray(json)) return [];
  const noted: Noted[] = [];
  for (const item of json as readonly Json[]) {
    if (!isJsonObject(item)) continue;
    const archived = integer(item.archived);
    const { op, path, from, row } = item;
    if ((op === 'remove' || op === 'restore') && typeof path === 'string')
      noted.push({ intent: { op, path }, archived });
    const intended = isJsonObject(row) ? decodeRow(row) : undefined;
    if (intended === undefined) continue;
    if (op === 'place') noted.push({ intent: { op, row: intended }, archived });
    if (op === 'move' && typeof from === 'string')
      noted.push({ intent: { op, from, row: intended }, archived });
  }
  return noted;
}

function decodeRow(json: JsonObject): IntendedRow | undefined {
  const { path, kind, local_name: localName, uuid, sha256, clock } = json;
  const size = integer(json.size);
  if (typeof path !== 'string' || (kind !== 'file' && kind !== 'directory') || size === undefined)
    return undefined;
  return {
    path,
    kind,
    size,
    localName: typeof localName === 'string' ? localName : undefined,
    uuid: typeof uuid === 'string' ? uuid : undefined,
    sha256: typeof sha256 === 'string' ? sha256 : undefined,
    clock: isJsonObject(clock)
      ? new Map(Object.entries(clock).map(([peer, count]) => [peer, integer(count) ?? 0n]))
      : undefined,
  };
}

function integer(json: Json | undefined): bigint | undefined {
  return typeof json === 'number' || typeof json === 'bigint' ? BigInt(json) : undefined;
}
