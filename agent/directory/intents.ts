/** What we are about to do to the disk, written down before it is done; recovery.ts reads it after a crash. */

import {
  isJsonObject,
  type Json,
  type JsonObject,
  jsonObject,
  parseJson,
  stringifyJson,
} from '../base/json.ts';
import { type FileFacts, parentOf } from '../platform/files.ts';
import type { IndexRow, LocalIndex, VectorClock } from './local-index.ts';
import { joinPath } from './paths.ts';
import type { FileRecord } from './projection.ts';
import type { Selection } from './selection.ts';

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

export interface Noted {
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

/** As the index is to have a row of ours: where nothing is kept, it has no claim to what lies there. */
export function claimedRow(row: IndexRow, selection: Pick<Selection, 'isWanted'>): IndexRow {
  return selection.isWanted(row.path, row.kind)
    ? row
    : { ...row, uuid: undefined, clock: undefined, found: true };
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
export function decodeIntents(text: string): Noted[] {
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
