/**
 * What became of one path: the disk is compared with the index, and the contents are read where they may have changed.
 * Only looks; nothing is decided and nothing is written here.
 */

import { describeError, errorCode } from '../base/errors.ts';
import { type FileFacts, nameOf, type ShareRoot, sameFacts } from '../platform/files.ts';
import type { Hashing } from './hashing.ts';
import type { IndexRow, LocalIndex } from './local-index.ts';
import { type Obstacle, obstacleOf } from './scan.ts';
import { outsideObstacle, type Selection } from './selection.ts';

/** `row` is what the index said when the path was looked at. */
export type Finding =
  | { readonly kind: 'same'; readonly path: string; readonly row: IndexRow }
  | { readonly kind: 'gone'; readonly path: string; readonly row: IndexRow }
  /** Nothing there, and nothing known about it. */
  | { readonly kind: 'nothing'; readonly path: string }
  | {
      readonly kind: 'file';
      readonly path: string;
      readonly row: IndexRow | undefined;
      readonly facts: FileFacts;
      readonly sha256: string;
      /** The row of a path that has disappeared, whose file this is. */
      readonly movedFrom: IndexRow | undefined;
    }
  | {
      readonly kind: 'directory';
      readonly path: string;
      readonly row: IndexRow | undefined;
      readonly facts: FileFacts;
      readonly movedFrom: IndexRow | undefined;
    }
  /** It is being changed right now. */
  | { readonly kind: 'restless'; readonly path: string }
  | { readonly kind: 'obstacle'; readonly path: string; readonly obstacle: Obstacle };

export interface Examiner {
  readonly root: ShareRoot;
  readonly index: LocalIndex;
  readonly hashing: Hashing;
  readonly signal: AbortSignal;
  /** Nanoseconds since 1970. */
  readonly now: () => bigint;
  /** False where nothing local may become a record: new files are not even read then. */
  readonly writable: boolean;
  readonly selection: Selection;
}

/** Younger changes may be followed by another one that leaves no trace in the times of the file. */
const FRESH_NS = 100_000_000n;
/** As above, where the file system only keeps whole seconds (FAT: every other). */
const COARSE_FRESH_NS = 2_000_000_000n;
const SECOND_NS = 1_000_000_000n;
/**
 * Times that are kept no finer come from file systems (FAT, exFAT) whose inode numbers mean nothing after a while: there,
 * equal numbers, sizes and times are no proof of equal contents.
 */
const FINE_NS = 10_000_000n;

/**
 * @param patiently false: takes a file that keeps changing as it is, if it holds still while it is read.
 * @throws the signal's reason; SkylarkError `share.*` if the root is not there.
 */
export async function examine(path: string, patiently: boolean, examiner: Examiner): Promise<Finding> {
  const { root, index } = examiner;
  const localPath = index.localPath(path);
  const row = index.byPath(path);
  let facts: FileFacts | undefined;
  try {
    facts = await root.lookExactly(localPath);
  } catch (thrown) {
    return obstacleFrom(path, localPath, errorCode(thrown), thrown);
  }
  const blocked = facts && path !== '/' ? obstacleOf(nameOf(localPath), facts) : undefined;
  if (facts !== undefined && blocked === undefined && (facts.kind === 'file' || facts.kind === 'directory')) {
    const standing = examiner.selection.standing(path, facts.kind);
    if (standing !== 'wanted') return unwantedAt(path, localPath, row, standing);
  }
  if (facts === undefined || (blocked !== undefined && row !== undefined))
    return row === undefined ? { kind: 'nothing', path } : { kind: 'gone', path, row };
  if (blocked !== undefined) return { kind: 'obstacle', path, obstacle: { path: localPath, ...blocked } };
  if (row !== undefined && isUntouched(row, facts, examiner.writable)) return { kind: 'same', path, row };
  if (facts.kind === 'directory') {
    const movedFrom =
      row?.uuid === undefined ? (await findMove(facts, path, examiner))?.movedFrom : undefined;
    return { kind: 'directory', path, row, facts, movedFrom };
  }
  if (patiently && isFresh(facts, examiner.now())) return { kind: 'restless', path };
  return examineFile(path, localPath, row, facts, examiner);
}

/** What is there now is not part of what is kept of the share; what was there before may have been. */
function unwantedAt(
  path: string,
  localPath: string,
  row: IndexRow | undefined,
  standing: 'ignored' | 'outside',
): Finding {
  if (row?.uuid !== undefined) return { kind: 'gone', path, row };
  if (row?.kind === 'file') return { kind: 'same', path, row };
  if (standing === 'ignored' || row !== undefined) return { kind: 'nothing', path };
  return { kind: 'obstacle', path, obstacle: outsideObstacle(localPath) };
}

async function examineFile(
  path: string,
  localPath: string,
  row: IndexRow | undefined,
  facts: FileFacts,
  examiner: Examiner,
): Promise<Finding> {
  const { root, index, hashing, signal } = examiner;
  const move = row?.uuid === undefined ? await findMove(facts, path, examiner) : undefined;
  if (move !== undefined)
    return { kind: 'file', path, row, facts, sha256: move.sha256, movedFrom: move.movedFrom };

  const outcome = await hashing.hash(root, localPath, facts.size, signal);
  switch (outcome.state) {
    case 'hashed': {
      const { sha256 } = outcome;
      const movedFrom =
        row?.uuid === undefined ? await findMovedContents(sha256, outcome.facts, path, examiner) : undefined;
      return { kind: 'file', path, row, facts: outcome.facts, sha256, movedFrom };
    }
    case 'changed':
      return { kind: 'restless', path };
    case 'failed':
      if (outcome.code === 'files.absent')
        return index.byPath(path) === undefined ? { kind: 'nothing', path } : { kind: 'restless', path };
      return obstacleFrom(path, localPath, outcome.code, new Error(outcome.message));
    default:
      return outcome satisfies never;
  }
}

/**
 * A change of the inode's time alone still is a change: whoever writes and then sets the old time back must not go
 * unseen. A row without contents has never been read.
 */
function isUntouched(row: IndexRow, facts: FileFacts, writable: boolean): boolean {
  if (!sameFacts(row, facts) || row.mode !== (facts.mode & 0o777)) return false;
  if (row.uuid !== undefined) return true;
  return row.found ? row.kind === 'directory' || row.sha256 !== undefined : !writable;
}

/** Whether the file changed so short a time ago that a further change could leave its times as they are. */
function isFresh(facts: FileFacts, now: bigint): boolean {
  const isCoarse = facts.ctimeNs % SECOND_NS === 0n && facts.mtimeNs % SECOND_NS === 0n;
  const limit = isCoarse ? COARSE_FRESH_NS : FRESH_NS;
  return [facts.mtimeNs, facts.ctimeNs].some((time) => time <= now && now - time < limit);
}

interface Move {
  readonly movedFrom: IndexRow | undefined;
  readonly sha256: string;
}

/**
 * Whether the index knows this inode under another path: then its contents are known too, and if nothing is at that path
 * now, this is where the file went.
 */
async function findMove(facts: FileFacts, path: string, examiner: Examiner): Promise<Move | undefined> {
  let sha256: string | undefined;
  for (const row of examiner.index.byInode(facts.ino)) {
    if (row.path === path || row.kind !== facts.kind) continue;
    if (row.kind === 'file') {
      if (row.size !== facts.size || row.mtimeNs !== facts.mtimeNs || row.sha256 === undefined) continue;
      if (facts.mtimeNs % FINE_NS === 0n) continue;
      sha256 = row.sha256;
    }
    if (row.uuid !== undefined && (await hasLeft(row, examiner)))
      return { movedFrom: row, sha256: row.sha256 ?? '' };
  }
  return sha256 === undefined ? undefined : { movedFrom: undefined, sha256 };
}

/** Moved to another file system, or copied and then deleted: the same contents, and the old path is gone. */
async function findMovedContents(
  sha256: string,
  facts: FileFacts,
  path: string,
  examiner: Examiner,
): Promise<IndexRow | undefined> {
  // All empty files are equal: that proves nothing.
  if (facts.size === 0n) return undefined;
  for (const row of examiner.index.bySha256(sha256))
    if (row.path !== path && row.uuid !== undefined && (await hasLeft(row, examiner))) return row;
  return undefined;
}

/** Nothing is at its path. Something else there means a backup before saving: then the record stays with the path. */
async function hasLeft(row: IndexRow, { root, index }: Examiner): Promise<boolean> {
  try {
    return (await root.lookExactly(index.localPath(row.path))) === undefined;
  } catch (thrown) {
    if (errorCode(thrown)?.startsWith('files.')) return false;
    throw thrown;
  }
}

function obstacleFrom(path: string, localPath: string, code: string | undefined, thrown: unknown): Finding {
  if (code === undefined || !code.startsWith('files.')) throw thrown;
  return { kind: 'obstacle', path, obstacle: { path: localPath, code, message: describeError(thrown) } };
}
