/** Makes a folder show its record: made, renamed, and given its mode. What it holds has records of its own. */

import { type FileFacts, foldName, nameOf, parentOf, type ShareRoot } from '../platform/files.ts';
import type { DiskChanges } from './changes.ts';
import { type DirectoryEntry, ROOT_KEY } from './entry.ts';
import { type IntendedRow, intendedRow, localPathOf, pathsOf } from './intents.ts';
import type { IndexRow, LocalIndex } from './local-index.ts';
import { directoryMode, type FileRecord } from './projection.ts';
import type { Chain, Surroundings } from './surroundings.ts';

/**
 * `done`: the folder shows the record. `content`: its contents are not here. `blocked`: something on the disk is in the
 * way, which will go away or be explained: try again later.
 */
export type Outcome = 'done' | 'content' | 'blocked';

export interface FolderPlacerOptions {
  readonly index: LocalIndex;
  readonly root: ShareRoot;
  readonly changes: DiskChanges;
  readonly surroundings: Surroundings;
  /** Compares record and index anew. Inside a transaction. */
  readonly settle: (uuid: string) => void;
  /** Notes what the disk shows; true if that is the record's current version. Inside a transaction. */
  readonly finish: (row: IntendedRow, facts: FileFacts | undefined) => boolean;
  readonly outcome: (uuid: string, isShown: boolean) => Outcome;
}

export class FolderPlacer {
  readonly #options: FolderPlacerOptions;

  constructor(options: FolderPlacerOptions) {
    this.#options = options;
  }

  /**
   * @param row what the index has of the record
   * @throws SkylarkError (environment) `files.*`, `share.*`, if the disk refuses, or is not as the index says.
   */
  async place(
    record: FileRecord,
    path: string,
    entry: DirectoryEntry,
    row: IndexRow | undefined,
    chain: Chain,
  ): Promise<Outcome> {
    const { index, root, changes, surroundings, finish, outcome } = this.#options;
    if (row !== undefined && this.#isRespelling(row, path)) return this.#respell(record, path, entry, row);
    if (row !== undefined && row.path !== path) await surroundings.takeAway(row, 'replaced');
    const room = await surroundings.clearTheWay(path, record.uuid, 'directory', chain);
    if (room === undefined) return 'blocked';
    const intended = intendedRow(record, path, 'directory', undefined, 0n, room.present?.localName);
    let isShown = false;
    await surroundings.avoidingClashes(intended, async (chosen) => {
      const local = localPathOf(index, path, chosen.localName);
      let facts: FileFacts | undefined;
      await changes.submit({
        paths: pathsOf(chosen),
        intent: { op: 'place', row: chosen },
        perform: async () => {
          facts = path === ROOT_KEY ? await root.check() : await this.#make(path, local, entry);
        },
        finish: () => {
          isShown = finish(chosen, facts);
        },
      });
    });
    return outcome(record.uuid, isShown);
  }

  async #make(path: string, local: string, entry: DirectoryEntry): Promise<FileFacts> {
    const { index, root, surroundings } = this.#options;
    const facts = await root.makeDirectory(local, directoryMode(entry, undefined));
    if (index.byPath(path) === undefined) await surroundings.checkOwn(path, local, facts);
    return this.#withMode(local, entry, facts);
  }

  async #withMode(local: string, entry: DirectoryEntry, facts: FileFacts): Promise<FileFacts> {
    const mode = directoryMode(entry, facts);
    return (facts.mode & 0o777) === mode ? facts : this.#options.root.setAttributes(local, { mode }, facts);
  }

  /** Where both are one name to the file system, the folder would stand in its own way. */
  #isRespelling(row: IndexRow, path: string): boolean {
    const { index, root } = this.#options;
    return (
      root.ignoresCase &&
      row.kind === 'directory' &&
      row.path !== path &&
      parentOf(row.path) === parentOf(path) &&
      foldName(nameOf(row.path)) === foldName(nameOf(path)) &&
      row.localName === undefined &&
      index.byPath(path) === undefined
    );
  }

  async #respell(record: FileRecord, path: string, entry: DirectoryEntry, row: IndexRow): Promise<Outcome> {
    const { index, root, changes, settle, finish, outcome } = this.#options;
    const intended = intendedRow(record, path, 'directory', undefined, 0n, undefined);
    let isShown = false;
    let facts: FileFacts | undefined;
    await changes.submit({
      paths: [row.path, path],
      intent: { op: 'move', from: row.path, row: intended },
      perform: async () => {
        const there = await root.respell(index.localPath(row.path), nameOf(path));
        facts = await this.#withMode(localPathOf(index, path, undefined), entry, there);
      },
      finish: () => {
        index.rename(row.path, nameOf(path));
        isShown = finish(intended, facts);
        // Most of them have got their new names with it.
        for (const { uuid } of index.below(path)) if (uuid !== undefined) settle(uuid);
      },
    });
    return outcome(record.uuid, isShown);
  }
}
