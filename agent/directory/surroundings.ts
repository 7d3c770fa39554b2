/**
 * What has to happen around a path before something can be put there: folders on the way to it, whatever is in the way,
 * names that this file system takes for one; and what becomes of a folder when the last file leaves it.
 */

import { environmentError, errorCode } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { type FileFacts, foldName, nameOf, parentOf, type ShareRoot } from '../platform/files.ts';
import type { Archive, ArchiveReason, ToArchive } from './archive.ts';
import type { DiskChanges } from './changes.ts';
import { ROOT_KEY } from './entry.ts';
import { type IntendedRow, indexRow, localPathOf, pathsOf } from './intents.ts';
import type { IndexRow, LocalIndex } from './local-index.ts';
import { alternativeName, joinPath } from './paths.ts';
import { desiredOf, type FileRecord } from './projection.ts';

/** What the directory needs of the database. */
export interface Records {
  readonly writable: boolean;
  /** The live record of a key. */
  get(key: string): FileRecord | undefined;
  /** Whether it is still to be decided which of several live records keeps the key; only where we may decide. */
  isContested(key: string): boolean;
  getByUuid(uuid: string): FileRecord | undefined;
}

/** The way to a path is free, but for what stands there and may be replaced. */
export interface Room {
  readonly present: IndexRow | undefined;
}

/** Records that are being placed because another one waits for them. */
export type Chain = ReadonlySet<string>;

export interface SurroundingsOptions {
  readonly records: Records;
  readonly index: LocalIndex;
  readonly archive: Archive;
  readonly root: ShareRoot;
  readonly changes: DiskChanges;
  readonly log: Logger;
  /** Places the record, so that it is out of the way or makes the way. */
  readonly place: (uuid: string, chain: Chain) => Promise<void>;
  /** Compares record and index anew. Inside a transaction. */
  readonly settle: (uuid: string) => void;
  /** The owner changed something at this path of the share: somebody should look. */
  readonly nudge: (path: string) => void;
  /** By their records, a file and a folder have this path. */
  readonly onObstruction: (path: string) => void;
}

/** Names that are tried for what has a name that stands for something else on this file system. */
const MAX_ALTERNATIVES = 100;
/** Things in each other's way at one path, before we give up for now. */
const MAX_ROUNDS = 4;
/** Folders that are not tried again; more than these are, which costs a write each time. */
const MAX_STUCK = 1_024;
/** For folders that no record describes. */
const PLAIN_DIRECTORY_MODE = 0o755;

export class Surroundings {
  readonly #options: SurroundingsOptions;
  readonly #parents = new Map<string, Promise<void>>();
  /** Empty by the index, and not on the disk: something that is not known to us lies in them. */
  readonly #stuck = new Set<string>();

  constructor(options: SurroundingsOptions) {
    this.#options = options;
  }

  /** The folders on the way to `path`, and then room there; undefined if either can't be had. */
  async clearTheWay(
    path: string,
    uuid: string,
    kind: 'file' | 'directory',
    chain: Chain,
  ): Promise<Room | undefined> {
    return (await this.makeParents(path, chain)) ? this.makeRoom(path, uuid, kind, chain) : undefined;
  }

  /** Makes the folders on the way to `path`, from the top. False if something else stands there. */
  async makeParents(path: string, chain: Chain): Promise<boolean> {
    const missing: string[] = [];
    for (let at = parentOf(path); at !== ROOT_KEY && !this.#isDirectory(at); at = parentOf(at))
      missing.push(at);
    for (const folder of missing.reverse()) {
      // A thousand files of a new folder arrive together.
      let making = this.#parents.get(folder);
      if (making === undefined) {
        making = this.#makeDirectory(folder, chain).finally(() => this.#parents.delete(folder));
        this.#parents.set(folder, making);
      }
      await making;
      if (!this.#isDirectory(folder)) return false;
    }
    return true;
  }

  /**
   * Sees to it that nothing of another record, or of another kind, is at `path`. A file or folder without a record that
   * was found there at joining may remain.
   * @param uuid the record that wants the place; undefined: none, a folder on the way to something
   * @returns what is there then; undefined if the way is not free.
   */
  async makeRoom(
    path: string,
    uuid: string | undefined,
    kind: 'file' | 'directory',
    chain: Chain,
  ): Promise<Room | undefined> {
    const { index, records, nudge, onObstruction } = this.#options;
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const present = index.byPath(path);
      // The root is there, whichever record describes it.
      if (present === undefined || path === ROOT_KEY) return { present };
      if (present.uuid === uuid || present.uuid === undefined) {
        if (present.kind === kind && (present.uuid !== undefined || present.found || kind === 'directory'))
          return { present };
        if (present.uuid === undefined && !present.found) {
          nudge(path);
          return undefined;
        }
        await this.takeAway(present, present.found ? 'found_at_joining' : 'replaced');
        if (kind === 'file' && index.countChildren(path) > 0) {
          onObstruction(path);
          return undefined;
        }
      } else if (round === 0 && !chain.has(present.uuid)) {
        await this.#options.place(present.uuid, chain);
      } else {
        if (records.get(path)?.uuid === present.uuid) return undefined;
        // They are in each other's way: its contents wait in the archive until there is room again.
        await this.takeAway(present, 'replaced');
      }
    }
    return undefined;
  }

  /** Removes what the index has at a path: a file into the archive, a folder if it is empty, and else its claim to it. */
  async takeAway(row: IndexRow, reason: ArchiveReason): Promise<void> {
    if (row.path === ROOT_KEY) return;
    if (row.kind === 'file') await this.#archiveFile(row, reason);
    else await this.#removeDirectory(row);
    await this.leave(parentOf(row.path));
  }

  /** Something left the folder: removes it if it is empty and belongs to no record. */
  async leave(folder: string): Promise<void> {
    const { index } = this.#options;
    const row = index.byPath(folder);
    if (folder === ROOT_KEY || row?.kind !== 'directory' || row.uuid !== undefined || !row.found) return;
    if (index.countChildren(folder) === 0) await this.takeAway(row, 'deleted');
  }

  /** Removes folders that belong to no record once their owner has taken the last file out of them. */
  async tidy(): Promise<void> {
    const { index } = this.#options;
    for (const path of index.emptyFound()) {
      if (this.#stuck.has(path)) continue;
      await this.leave(path);
      if (index.byPath(path) !== undefined && this.#stuck.size < MAX_STUCK) this.#stuck.add(path);
    }
  }

  /**
   * Runs `work` for the row, and, if its name turns out to stand for another file on this file system (no difference of
   * case, another normal form), again with a local name of its own.
   */
  async avoidingClashes(row: IntendedRow, work: (chosen: IntendedRow) => Promise<void>): Promise<void> {
    try {
      await work(row);
      return;
    } catch (thrown) {
      if (!isTaken(thrown) || row.localName !== undefined || !(await this.#isClash(row))) throw thrown;
    }
    const name = nameOf(row.path);
    for (let attempt = 2; attempt < MAX_ALTERNATIVES; attempt++) {
      const localName = alternativeName(name, attempt);
      if (this.#options.index.byPath(joinPath(parentOf(row.path), localName)) !== undefined) continue;
      try {
        await work({ ...row, localName });
        this.#options.log.info('a file has another name here, since its own stands for another file', {
          path: row.path,
          localName,
        });
        return;
      } catch (thrown) {
        if (!isTaken(thrown)) throw thrown;
      }
    }
    throw environmentError('files.exists', `no name is free for ${JSON.stringify(row.path)}`);
  }

  /** For folders, which are made without complaint where one is already. @throws `files.exists` on a clash. */
  async checkOwn(path: string, local: string, facts: FileFacts): Promise<void> {
    if (await this.#isAnother(path, local, facts))
      throw environmentError('files.exists', `${JSON.stringify(path)} is the same here as another name`);
  }

  async #isClash({ path, uuid }: IntendedRow): Promise<boolean> {
    const local = localPathOf(this.#options.index, path, undefined);
    const facts = await this.#options.root.look(local);
    return facts !== undefined && this.#isAnother(path, local, facts, uuid);
  }

  /** Whether what answers to the path is really another file or folder beside it, of another record. */
  async #isAnother(path: string, local: string, facts: FileFacts, uuid?: string): Promise<boolean> {
    const { index, root } = this.#options;
    const folder = parentOf(path);
    const isBeside = (row: IndexRow) =>
      row.path !== path &&
      parentOf(row.path) === folder &&
      row.kind === facts.kind &&
      (uuid === undefined || row.uuid !== uuid);
    // A file with a single name can't be at two paths, unless both names are one.
    if (facts.kind === 'directory' || facts.links === 1) {
      for (const row of index.byInode(facts.ino).filter(isBeside))
        if ((await root.look(index.localPath(row.path)))?.ino === facts.ino) return true;
    }
    // Elsewhere, two looks that differ only mean that a folder on the way was away for a moment.
    if (!root.ignoresCase) return false;
    // Inodes prove nothing on FAT, but there the folder shows only one spelling.
    if ((await root.lookExactly(local)) !== undefined) return false;
    // Gone in this very moment, and no other spelling of anything.
    if ((await root.look(local))?.ino !== facts.ino) return false;
    const own = uuid === undefined ? undefined : index.byUuid(uuid);
    return own === undefined || foldName(own.path) !== foldName(path);
  }

  async #makeDirectory(path: string, chain: Chain): Promise<void> {
    const { records, index, root, changes } = this.#options;
    const record = records.get(path);
    if (record !== undefined && desiredOf(record).kind === 'directory' && !chain.has(record.uuid)) {
      await this.#options.place(record.uuid, chain);
      return;
    }
    if (record !== undefined && desiredOf(record).kind === 'file') {
      this.#options.onObstruction(path);
      return;
    }
    if ((await this.makeRoom(path, undefined, 'directory', chain)) === undefined) return;
    if (this.#isDirectory(path)) return;
    const row: IntendedRow = {
      path,
      kind: 'directory',
      localName: undefined,
      uuid: undefined,
      clock: undefined,
      sha256: undefined,
      size: 0n,
    };
    await this.avoidingClashes(row, async (chosen) => {
      const local = localPathOf(index, path, chosen.localName);
      let facts: FileFacts | undefined;
      await changes.submit({
        paths: pathsOf(chosen),
        intent: { op: 'place', row: chosen },
        perform: async () => {
          facts = await root.makeDirectory(local, PLAIN_DIRECTORY_MODE);
          await this.checkOwn(path, local, facts);
        },
        finish: () => {
          if (facts !== undefined) index.put(indexRow(chosen, facts));
        },
      });
    });
  }

  async #archiveFile(row: IndexRow, reason: ArchiveReason): Promise<void> {
    const { index, archive, changes, root } = this.#options;
    const local = index.localPath(row.path);
    try {
      await changes.submit({
        paths: [row.path],
        intent: { op: 'remove', path: row.path },
        archive: toArchive(row, reason),
        perform: async (archived) => {
          if (archived !== undefined) await archive.move(local, archived, row);
        },
        finish: () => this.#forget(row),
      });
    } catch (thrown) {
      if (errorCode(thrown) !== 'files.absent' || (await root.look(local)) !== undefined) throw thrown;
      // Its owner was faster.
      index.transaction(() => this.#forget(row));
    }
  }

  async #removeDirectory(row: IndexRow): Promise<void> {
    const { index, changes, root } = this.#options;
    const local = index.localPath(row.path);
    if (index.countChildren(row.path) > 0) {
      this.#unclaim(row);
      return;
    }
    try {
      await changes.submit({
        paths: [row.path],
        intent: { op: 'remove', path: row.path },
        perform: () => root.removeDirectory(local),
        finish: () => this.#forget(row),
      });
    } catch (thrown) {
      const code = errorCode(thrown);
      if (code === 'files.absent') index.transaction(() => this.#forget(row));
      // What lies in it is not known to us, so it stays with everything in it.
      else if (code === 'files.not_empty') this.#unclaim(row);
      else throw thrown;
    }
  }

  #forget(row: IndexRow): void {
    this.#options.index.remove(row.path);
    if (row.uuid !== undefined) this.#options.settle(row.uuid);
  }

  /** The folder stays, but is no record's any more; with its last file it goes too. */
  #unclaim(row: IndexRow): void {
    const { index, settle } = this.#options;
    index.transaction(() => {
      index.put({ ...row, uuid: undefined, clock: undefined, found: true });
      if (row.uuid !== undefined) settle(row.uuid);
    });
  }

  #isDirectory(path: string): boolean {
    return this.#options.index.isDirectory(path);
  }
}

export function toArchive(row: IndexRow, reason: ArchiveReason): ToArchive {
  const { path, sha256, size, mtimeNs, mode } = row;
  return { key: path, sha256, size, mtime: mtimeNs, mode, reason };
}

function isTaken(thrown: unknown): boolean {
  const code = errorCode(thrown);
  return code === 'files.changed' || code === 'files.exists';
}
