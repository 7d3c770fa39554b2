/**
 * Makes the folder show a record: one file or directory at a time, each step only if the disk still is what the index
 * says. What the owner changed meanwhile is left alone and pointed out to the detector; what is replaced or taken away
 * goes to the archive.
 */

import type { Clock } from '../base/clock.ts';
import { environmentError, errorCode } from '../base/errors.ts';
import { type FileFacts, parentOf } from '../platform/files.ts';
import type { ArchiveReason } from './archive.ts';
import { moveFile, withAttributes } from './attributes.ts';
import { type FileEntry, ROOT_KEY } from './entry.ts';
import { claimedRow, type IntendedRow, indexRow, intendedRow, localPathOf, pathsOf } from './intents.ts';
import type { IndexRow } from './local-index.ts';
import { isEnded, isUnwanted, neededFor } from './needed.ts';
import type { PendingStore } from './pending.ts';
import { FolderPlacer, type Outcome } from './place-folder.ts';
import { desiredOf, type FileRecord, fileMode, sameClock } from './projection.ts';
import { putRight } from './put-right.ts';
import type { Selection } from './selection.ts';
import type { LocalContents, Supply } from './supply.ts';
import { type Chain, type Room, Surroundings, type SurroundingsOptions, toArchive } from './surroundings.ts';

export type { Outcome } from './place-folder.ts';

export interface PlacerOptions extends Omit<SurroundingsOptions, 'place' | 'settle'> {
  readonly pending: PendingStore;
  readonly selection: Selection;
  readonly local: LocalContents;
  readonly clock: Clock;
  /** A file of the share has these contents now. */
  readonly onPlaced: (path: string, sha256: string, size: bigint) => void;
}

/** Milliseconds that one record waits for another that is being placed: two could wait for each other. */
const PATIENCE_MS = 250;

/** Errors that mean: the disk is not as the index says. */
const DISK_DIFFERS: ReadonlySet<string | undefined> = new Set([
  'files.changed',
  'files.absent',
  'files.exists',
  'files.not_empty',
  'files.not_a_file',
  'files.symlink',
  'files.is_directory',
]);

export class Placer {
  readonly #options: PlacerOptions;
  readonly #surroundings: Surroundings;
  readonly #folders: FolderPlacer;
  readonly #busy = new Map<string, Promise<Outcome>>();
  /** Records that have changed since we began to place them. */
  readonly #touched = new Set<string>();

  constructor(options: PlacerOptions) {
    this.#options = options;
    this.#surroundings = new Surroundings({
      ...options,
      place: async (uuid, chain) => {
        await this.#enter(uuid, undefined, chain);
      },
      settle: (uuid) => {
        this.settle(uuid);
      },
    });
    this.#folders = new FolderPlacer({
      ...options,
      surroundings: this.#surroundings,
      settle: (uuid) => this.settle(uuid),
      finish: (row, facts) => this.#finish(row, facts),
      outcome: (uuid, isShown) => this.#outcome(uuid, isShown),
    });
  }

  /**
   * @param supply the record's contents, if they were fetched; used up or discarded in any case.
   * @throws SkylarkError (environment) `files.*`, `share.*`, if the disk refuses; nothing is lost then.
   */
  async apply(uuid: string, supply?: Supply): Promise<Outcome> {
    let isUsed = false;
    const once: Supply | undefined = supply && {
      commit: async (path, options) => {
        const facts = await supply.commit(path, options);
        isUsed = true;
        return facts;
      },
      discard: () => supply.discard(),
    };
    try {
      return await this.#enter(uuid, once, new Set());
    } finally {
      if (supply !== undefined && !isUsed) await supply.discard();
    }
  }

  /** The record has a new version. */
  touch(uuid: string): void {
    if (this.#busy.has(uuid)) this.#touched.add(uuid);
  }

  /** Compares record and index anew and notes what is missing. Inside a transaction. */
  settle(uuid: string): void {
    const { records, index, pending, selection } = this.#options;
    const record = records.getByUuid(uuid);
    const row = index.byUuid(uuid);
    const missing = record && neededFor(record, row, selection);
    if (missing === undefined) pending.remove(uuid);
    else pending.put(missing);
    // What the disk shows is this very version, whatever else was merged into it.
    const isShown = missing === undefined && record !== undefined && row !== undefined;
    if (isShown && !sameClock(row.clock, record.vectorClock))
      index.put({ ...row, clock: record.vectorClock });
  }

  /**
   * What differs from its record although nothing may be changed here, or was found at joining and belongs to no record:
   * to the archive; what the record says is pending then.
   * @param now what is at the row's path; undefined: what the row says, or nothing
   */
  putRight(row: IndexRow, now: FileFacts | undefined): Promise<void> {
    const { index, nudge, selection } = this.#options;
    const { isShallow } = selection.rules;
    return putRight(row, now, isShallow, this.#surroundings, index, (uuid) => this.settle(uuid)).catch(
      (thrown: unknown) => {
        if (!DISK_DIFFERS.has(errorCode(thrown))) throw thrown;
        nudge(row.path);
      },
    );
  }

  /** Removes folders that have become empty and belong to no record. @throws SkylarkError (environment), as `apply`. */
  tidy(): Promise<void> {
    return this.#surroundings.tidy();
  }

  async #enter(uuid: string, supply: Supply | undefined, chain: Chain): Promise<Outcome> {
    for (let other = this.#busy.get(uuid); other !== undefined; other = this.#busy.get(uuid)) {
      const isOver = await this.#within(PATIENCE_MS, other);
      if (!isOver) return 'blocked';
    }
    const placing = this.#guarded(uuid, supply, new Set([...chain, uuid]));
    this.#busy.set(uuid, placing);
    try {
      return await placing;
    } finally {
      this.#busy.delete(uuid);
      this.#touched.delete(uuid);
    }
  }

  async #within(ms: number, work: Promise<unknown>): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = this.#options.clock.after(ms, () => resolve(false));
      const over = () => {
        timer.cancel();
        resolve(true);
      };
      work.then(over, over);
    });
  }

  async #guarded(uuid: string, supply: Supply | undefined, chain: Chain): Promise<Outcome> {
    try {
      return await this.#apply(uuid, supply, chain);
    } catch (thrown) {
      const code = errorCode(thrown);
      if (!DISK_DIFFERS.has(code)) throw thrown;
      const { records, index, log, nudge } = this.#options;
      const both = [records.getByUuid(uuid)?.key, index.byUuid(uuid)?.path];
      const paths = both.filter((path) => path !== undefined);
      log.debug('something on the disk is not as expected', { paths, code });
      for (const path of new Set(paths)) nudge(path);
      return 'blocked';
    }
  }

  async #apply(uuid: string, supply: Supply | undefined, chain: Chain): Promise<Outcome> {
    const { records, index, selection } = this.#options;
    const record = records.getByUuid(uuid);
    const row = index.byUuid(uuid);
    const desired = record && desiredOf(record);
    const needed = record && neededFor(record, row, selection, desired);
    if (!record || !desired || desired.kind === 'refused' || !needed || isUnwanted(needed)) {
      index.transaction(() => this.settle(uuid));
      return 'done';
    }
    if (desired.kind === 'nothing' || needed.kind === 'removal' || needed.kind === 'folder_removal') {
      const reason = desired.kind === 'nothing' ? 'deleted' : 'replaced';
      if (row !== undefined) await this.#surroundings.takeAway(row, reason);
      return this.#outcome(uuid, false);
    }
    // Of two live records with one key only one keeps it; the database has yet to decide, or a peer with more rights.
    const isRightful = records.writable
      ? !records.isContested(desired.path)
      : records.get(desired.path)?.uuid === uuid;
    if (!isRightful) return 'blocked';
    return desired.kind === 'directory'
      ? this.#folders.place(record, desired.path, desired.entry, row, chain)
      : this.#file(record, desired.path, desired.entry, row, supply, chain);
  }

  async #file(
    record: FileRecord,
    path: string,
    entry: FileEntry,
    row: IndexRow | undefined,
    supply: Supply | undefined,
    chain: Chain,
  ): Promise<Outcome> {
    const { index, local } = this.#options;
    if (isFileOf(row, entry)) {
      if (row.path === path) return this.#setAttributes(record, entry, row);
      const room = await this.#surroundings.clearTheWay(path, record.uuid, 'file', chain);
      if (room === undefined) return 'blocked';
      if (room.present !== undefined) await this.#surroundings.takeAway(room.present, 'found_at_joining');
      // Making room may have taken it away.
      const own = index.byUuid(record.uuid);
      return isFileOf(own, entry) ? this.#moveHere(record, path, entry, own) : 'blocked';
    }
    if (supply === undefined) {
      const present = index.byPath(path);
      if (present?.found && isFileOf(present, entry)) {
        if (row !== undefined) await this.#surroundings.takeAway(row, 'replaced');
        return this.#setAttributes(record, entry, present);
      }
    }
    if (supply === undefined && entry.size > 0n && !local.mayHave(entry.sha256)) return 'content';
    // Before anything is copied: what is in the way may stay for long, and each try would copy all of it.
    const room = await this.#surroundings.clearTheWay(path, record.uuid, 'file', chain);
    if (room === undefined) return 'blocked';
    const contents = supply ?? (await local.copy(entry.sha256, entry.size, `copy-${record.uuid}`));
    if (contents === undefined) return 'content';
    try {
      const own = row && index.byUuid(record.uuid);
      if (own !== undefined && own.path !== path) await this.#surroundings.takeAway(own, 'replaced');
      return await this.#putContents(record, path, entry, contents, room);
    } catch (thrown) {
      if (contents !== supply) await contents.discard();
      throw thrown;
    }
  }

  async #putContents(
    record: FileRecord,
    path: string,
    entry: FileEntry,
    contents: Supply,
    { present }: Room,
  ): Promise<Outcome> {
    const { index, archive, changes, nudge, onPlaced } = this.#options;
    const reason = reasonToReplace(present);
    const intended = intendedRow(record, path, 'file', entry.sha256, entry.size, present?.localName);
    let isShown = false;
    await this.#surroundings.avoidingClashes(intended, async (chosen) => {
      const local = localPathOf(index, path, chosen.localName);
      const options = { mode: fileMode(entry, present), mtimeNs: entry.mtime };
      let facts: FileFacts | undefined;
      await changes.submit({
        paths: pathsOf(chosen),
        intent: { op: 'place', row: chosen },
        ...(present === undefined ? {} : { archive: toArchive(present, reason) }),
        perform: async (archived) => {
          const kept = present && archived ? await archive.keep(local, archived, present) : present;
          try {
            facts = await contents.commit(local, { ...options, expected: kept ?? 'absent' });
          } catch (thrown) {
            // The second name in the archive goes again; what that did to the time of the inode is noted by the detector.
            if (archived !== undefined) await archive.discard(archived);
            nudge(path);
            throw thrown;
          }
        },
        finish: () => {
          isShown = this.#finish(chosen, facts);
        },
      });
    });
    onPlaced(path, entry.sha256, entry.size);
    return this.#outcome(record.uuid, isShown);
  }

  /** The contents are in the right place; mode and time may not be. */
  async #setAttributes(record: FileRecord, entry: FileEntry, row: IndexRow): Promise<Outcome> {
    const { index, root, changes } = this.#options;
    const intended = intendedRow(record, row.path, 'file', row.sha256, row.size, row.localName);
    const local = index.localPath(row.path);
    let isShown = false;
    let facts: FileFacts | undefined;
    await changes.submit({
      paths: pathsOf(intended),
      intent: { op: 'place', row: intended },
      perform: async () => {
        const there = await root.look(local);
        if (there === undefined) throw environmentError('files.absent', `${JSON.stringify(local)} is gone`);
        facts = await withAttributes(root, local, entry, row, there);
      },
      finish: () => {
        isShown = this.#finish(intended, facts);
      },
    });
    return this.#outcome(record.uuid, isShown);
  }

  async #moveHere(record: FileRecord, path: string, entry: FileEntry, own: IndexRow): Promise<Outcome> {
    const { index, root, changes } = this.#options;
    const intended = intendedRow(record, path, 'file', own.sha256, own.size, undefined);
    let isShown = false;
    const from = index.localPath(own.path);
    await this.#surroundings.avoidingClashes(intended, async (chosen) => {
      const to = localPathOf(index, path, chosen.localName);
      let facts: FileFacts | undefined;
      await changes.submit({
        paths: [own.path, ...pathsOf(chosen)],
        intent: { op: 'move', from: own.path, row: chosen },
        perform: async () => {
          const moved = await moveFile(root, from, to, own);
          facts = await withAttributes(root, to, entry, moved, moved);
        },
        finish: () => {
          index.remove(own.path);
          isShown = this.#finish(chosen, facts);
        },
      });
    });
    await this.#surroundings.leave(parentOf(own.path));
    return this.#outcome(record.uuid, isShown);
  }

  /** Notes what the disk shows. True if that is the record's current version. */
  #finish(row: IntendedRow, facts: FileFacts | undefined): boolean {
    const { index, pending, selection, nudge } = this.#options;
    if (facts === undefined) return false;
    const folder = parentOf(row.path);
    if (folder !== ROOT_KEY && !index.isDirectory(folder)) {
      // It is spelled otherwise since: what lies there now is found under its new name.
      if (row.uuid !== undefined) this.settle(row.uuid);
      nudge(row.path);
      return false;
    }
    // Since it was begun, its place may have left what is kept here.
    const placed = claimedRow(indexRow(row, facts), selection);
    index.put(placed);
    if (row.uuid === undefined) return false;
    if (this.#touched.has(row.uuid) || placed.uuid === undefined) {
      this.settle(row.uuid);
      return false;
    }
    pending.remove(row.uuid);
    return true;
  }

  /** What is left to do after everything that was tried. */
  #outcome(uuid: string, isShown: boolean): Outcome {
    if (isShown) return 'done';
    const left = this.#options.pending.get(uuid)?.kind;
    if (left === undefined || isEnded(left)) return 'done';
    return left === 'content' ? 'content' : 'blocked';
  }
}

/** What a record's file holds is known, unless it is an edit that was to be put right. */
function reasonToReplace(present: IndexRow | undefined): ArchiveReason {
  if (present?.found) return 'found_at_joining';
  return present?.kind === 'file' && present.sha256 === undefined ? 'not_permitted' : 'replaced';
}

function isFileOf(row: IndexRow | undefined, entry: FileEntry): row is IndexRow & { readonly kind: 'file' } {
  return row?.kind === 'file' && row.sha256 === entry.sha256;
}
