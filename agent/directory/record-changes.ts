/**
 * Turns what was found on the disk into changes of records: what its owner did becomes a new version, based on the one
 * that lay on the disk; what the disk and the records agree on already is only noted in the index. Index and records
 * change in one transaction.
 */

import type { Json } from '../base/json.ts';
import { type FileFacts, sameFacts } from '../platform/files.ts';
import { decodeEntry, type Entry, encodeEntry } from './entry.ts';
import type { Finding } from './examine.ts';
import type { IndexRow, LocalIndex, VectorClock } from './local-index.ts';
import { newRow } from './scan.ts';

/** What we need to know of a record. */
export interface RecordVersion {
  readonly uuid: string;
  readonly key: string;
  readonly value: Json;
  readonly deleted: boolean;
  readonly vectorClock: VectorClock;
}

/** A record after a change of ours. */
export interface WrittenVersion extends RecordVersion {
  /** What the writer had seen, and the change itself: the version that lies on the disk. */
  readonly writtenClock: VectorClock;
}

export interface ChangeOptions {
  readonly uuid?: string;
  /** The version that the writer had seen: if the record has moved on, this is a concurrent change. */
  readonly basedOn?: VectorClock;
}

/** The club's database, as far as the directory changes it. */
export interface RecordStore {
  /** Whether we may change records at all. */
  readonly writable: boolean;
  get(key: string): RecordVersion | undefined;
  getByUuid(uuid: string): RecordVersion | undefined;
  put(key: string, value: Json, options?: ChangeOptions): WrittenVersion;
  rename(uuid: string, key: string, options?: ChangeOptions): WrittenVersion;
  remove(uuid: string, options?: ChangeOptions): WrittenVersion;
  transaction<T>(work: () => T): T;
}

export interface Recorder {
  readonly index: LocalIndex;
  readonly records: RecordStore;
  /**
   * We may not change records: this known file or directory differs from its record (`now` undefined: it is gone), and
   * should be put right.
   */
  readonly onDeviation: (row: IndexRow, now: FileFacts | undefined) => void;
}

/** `stale`: the index has changed since the path was looked at; look again. */
export type Recorded = 'recorded' | 'unchanged' | 'gone' | 'stale';

const NO_CLOCK: VectorClock = new Map();
/** Times that differ by less are equal: no program can set a file's time to the nanosecond through Node. */
const TIME_TOLERANCE_NS = 1_000n;

type Present = Extract<Finding, { kind: 'file' | 'directory' }>;

/** To be called inside a transaction of the records. */
export function record(finding: Finding, recorder: Recorder): Recorded {
  switch (finding.kind) {
    case 'nothing':
    case 'restless':
      return 'unchanged';
    case 'obstacle':
      // The next full scan tries again.
      recorder.index.setMark(finding.path, 'blocked');
      return 'unchanged';
    case 'same':
      if (!isStillThe(finding.row, recorder.index.byPath(finding.path))) return 'stale';
      recorder.index.setMark(finding.path, 'none');
      return 'unchanged';
    case 'gone':
      if (!isStillThe(finding.row, recorder.index.byPath(finding.path))) return 'stale';
      // Not at once: it may turn up elsewhere.
      if (finding.row.kind === 'directory') recorder.index.markTree(finding.path, 'gone');
      else recorder.index.setMark(finding.path, 'gone');
      return 'gone';
    case 'file':
    case 'directory':
      return recordPresent(finding, recorder);
    default:
      return finding satisfies never;
  }
}

function recordPresent(finding: Present, recorder: Recorder): Recorded {
  const { index, records } = recorder;
  const { path, row, facts, movedFrom } = finding;
  if (!isStillThe(row, index.byPath(path))) return 'stale';
  if (movedFrom !== undefined && !isStillThe(movedFrom, index.byPath(movedFrom.path))) return 'stale';
  // Where a directory was, there is nothing below any more.
  const isNoDirectoryNow = row?.kind === 'directory' && finding.kind === 'file';
  if (isNoDirectoryNow) index.markTree(path, 'gone');

  const sha256 = finding.kind === 'file' ? finding.sha256 : undefined;
  const seen: IndexRow = { ...(row ?? newRow(path, facts, false)), ...placeOf(facts), sha256 };
  if (row?.found && row.uuid === undefined && sameFacts(row, facts) && row.mode === (facts.mode & 0o777)) {
    index.put(seen);
    return 'unchanged';
  }
  // Linked, or given the mode that it had: what its owner had before his eyes is what he has now. As a version of its own
  // it would displace a newer one whose contents are still on their way.
  if (row?.uuid !== undefined && isSameVersion(row, seen)) {
    index.put({ ...row, ...placeOf(facts) });
    return 'unchanged';
  }
  const current = live(records.get(path));
  if (current !== undefined && agrees(seen, finding, current, recorder)) return 'recorded';
  if (!records.writable) return recordDeviation(finding, seen, recorder);
  if (row?.uuid === undefined && movedFrom?.uuid !== undefined && current === undefined)
    return recordMove(seen, movedFrom, movedFrom.uuid, recorder);

  const basis = basisOf(row, current);
  recordVersion(seen, basis, recorder);
  return isNoDirectoryNow ? 'gone' : 'recorded';
}

function isSameVersion(row: IndexRow, seen: IndexRow): boolean {
  if (row.kind !== seen.kind || row.mode !== seen.mode) return false;
  return row.kind === 'directory' || (row.sha256 === seen.sha256 && row.mtimeNs === seen.mtimeNs);
}

/** The record that a change replaces, and the version that the owner had before his eyes. */
interface Basis {
  readonly uuid: string | undefined;
  readonly clock: VectorClock | undefined;
  readonly row: IndexRow | undefined;
}

function basisOf(row: IndexRow | undefined, current: RecordVersion | undefined): Basis {
  if (row?.uuid !== undefined) return { uuid: row.uuid, clock: row.clock ?? NO_CLOCK, row };
  // A record of this name has come and its file has not yet: two people made it without knowing of each other.
  if (current !== undefined) return { uuid: current.uuid, clock: NO_CLOCK, row: undefined };
  return { uuid: undefined, clock: undefined, row: undefined };
}

function recordVersion(seen: IndexRow, basis: Basis, { index, records }: Recorder): void {
  const { uuid, clock } = basis;
  const previous = uuid === undefined ? undefined : records.getByUuid(uuid);
  const value = encodeEntry(entryOf(seen, basis.row, entryIn(previous)), previous?.value);
  const options = {
    ...(uuid === undefined ? {} : { uuid }),
    ...(clock === undefined ? {} : { basedOn: clock }),
  };
  const made = records.put(seen.path, value, options);
  index.put({ ...seen, uuid: made.uuid, clock: made.writtenClock, found: false });
}

function recordMove(seen: IndexRow, from: IndexRow, uuid: string, recorder: Recorder): Recorded {
  const { index, records } = recorder;
  const basedOn = from.clock ?? NO_CLOCK;
  if (live(records.getByUuid(uuid)) === undefined) {
    // Deleted elsewhere while it was moved here: it lives on under its new name.
    index.remove(from.path);
    recordVersion(seen, { uuid, clock: basedOn, row: from }, recorder);
    return 'recorded';
  }
  const { writtenClock: clock } = records.rename(uuid, seen.path, { basedOn });
  // Its children, if it is a directory, are found at their new places one by one.
  index.remove(from.path);
  const moved: IndexRow = { ...seen, uuid, clock, found: false };
  const hasChangedToo =
    from.mode !== seen.mode ||
    (seen.kind === 'file' && (from.sha256 !== seen.sha256 || from.mtimeNs !== seen.mtimeNs));
  if (hasChangedToo) recordVersion(moved, { uuid, clock, row: from }, recorder);
  else index.put(moved);
  return 'recorded';
}

/**
 * Equal is no edit: the disk shows what the record says, because somebody made the same change, or because we placed it
 * and were interrupted before we could note it. Where only mode or time differ on a file that was there before we knew
 * the record, the record's are right, and the row keeps saying that they are still to be set.
 */
function agrees(
  seen: IndexRow,
  { row, movedFrom }: Present,
  current: RecordVersion,
  { index }: Recorder,
): boolean {
  const entry = entryIn(current);
  if (entry === undefined || entry.kind !== seen.kind) return false;
  if (entry.kind === 'file' && (entry.sha256 !== seen.sha256 || entry.size !== seen.size)) return false;
  const sameMode = entry.mode === undefined || entry.mode === seen.mode;
  const sameTime = entry.kind === 'directory' || isSameTime(entry.mtime, seen, row);
  if (sameMode && sameTime) {
    if (movedFrom?.uuid === current.uuid) index.remove(movedFrom.path);
    index.put({ ...seen, uuid: current.uuid, clock: current.vectorClock, found: false });
    return true;
  }
  if (row?.uuid === current.uuid) return false;
  index.put({ ...seen, uuid: current.uuid, clock: NO_CLOCK, found: false });
  return true;
}

function isSameTime(wanted: bigint | undefined, seen: IndexRow, row: IndexRow | undefined): boolean {
  if (wanted === undefined || row?.mtimeNs === seen.mtimeNs) return true;
  const apart = wanted - seen.mtimeNs;
  return -TIME_TOLERANCE_NS < apart && apart < TIME_TOLERANCE_NS;
}

function recordDeviation(finding: Present, seen: IndexRow, recorder: Recorder): Recorded {
  const { index } = recorder;
  const { row } = finding;
  if (row?.uuid === undefined) {
    // Its owner's own, beside the share: known, so that it is not read again and again.
    index.put({ ...seen, sha256: undefined, found: false });
    return 'unchanged';
  }
  const isOnlyTouched = row.sha256 === seen.sha256 && row.kind === seen.kind && row.mode === seen.mode;
  if (isOnlyTouched) index.put({ ...row, ...placeOf(finding.facts) });
  else {
    index.setMark(row.path, 'none');
    recorder.onDeviation(row, finding.facts);
  }
  return 'unchanged';
}

/** A row that is marked as gone, and still is: its record is deleted. To be called inside a transaction. */
export function recordGone(row: IndexRow, recorder: Recorder): Recorded {
  const { index, records } = recorder;
  if (!isStillThe(row, index.byPath(row.path))) return 'stale';
  const known = row.uuid === undefined ? undefined : live(records.getByUuid(row.uuid));
  // The record has got another name, and its file is there already: it has left this path, nobody deleted it.
  const hasMoved =
    known !== undefined && known.key !== row.path && index.byPath(known.key)?.uuid === known.uuid;
  const current = hasMoved ? undefined : known;
  if (current !== undefined && !records.writable) {
    index.setMark(row.path, 'none');
    recorder.onDeviation(row, undefined);
    return 'unchanged';
  }
  if (current !== undefined) records.remove(current.uuid, { basedOn: row.clock ?? NO_CLOCK });
  index.remove(row.path);
  return 'recorded';
}

function entryOf(seen: IndexRow, row: IndexRow | undefined, previous: Entry | undefined): Entry {
  const isUnmoved = row !== undefined && row.mtimeNs === seen.mtimeNs;
  if (seen.kind === 'directory') return { kind: 'directory', mtime: previous?.mtime, mode: seen.mode };
  return {
    kind: 'file',
    size: seen.size,
    sha256: seen.sha256 ?? '',
    // The record may know the time more exactly than the disk could keep it.
    mtime: isUnmoved && previous?.mtime !== undefined ? previous.mtime : seen.mtimeNs,
    mode: seen.mode,
  };
}

function entryIn(version: RecordVersion | undefined): Entry | undefined {
  if (version === undefined || version.deleted) return undefined;
  try {
    return decodeEntry(version.value);
  } catch {
    // A record of another kind, or of a broken peer, under the name of a file: it describes none.
    return undefined;
  }
}

function live(version: RecordVersion | undefined): RecordVersion | undefined {
  return version === undefined || version.deleted ? undefined : version;
}

function placeOf(facts: FileFacts): Pick<IndexRow, 'kind' | 'ino' | 'size' | 'mtimeNs' | 'ctimeNs' | 'mode'> {
  const { kind, ino, size, mtimeNs, ctimeNs, mode } = newRow('/', facts, false);
  return { kind, ino, size, mtimeNs, ctimeNs, mode };
}

/** Whether two readings of a row say the same. */
function isStillThe(then: IndexRow | undefined, now: IndexRow | undefined): boolean {
  if (then === undefined || now === undefined) return then === now;
  return (
    sameFacts(then, now) &&
    then.mode === now.mode &&
    then.sha256 === now.sha256 &&
    then.uuid === now.uuid &&
    then.found === now.found &&
    isSameClock(then.clock, now.clock)
  );
}

function isSameClock(a: VectorClock | undefined, b: VectorClock | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  if (a.size !== b.size) return false;
  for (const [peer, count] of a) if (b.get(peer) !== count) return false;
  return true;
}
