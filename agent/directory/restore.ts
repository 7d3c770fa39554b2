/**
 * Puts a version from the archive back into the folder, as its owner would: a new change, which spreads. What is at the
 * path is archived first; the copy is verified before it takes its place in one step. After a crash there is the old file
 * or the new one, and the detector finds whichever it is.
 */

import { toHex } from '../base/bytes.ts';
import { EXIT, environmentError, errorCode, userError } from '../base/errors.ts';
import { printable } from '../base/printable.ts';
import { randomBytes } from '../crypto/random.ts';
import { type FileFacts, parentOf, type ShareRoot, sameFacts, type Temporary } from '../platform/files.ts';
import type { Archive, ArchivedFile, ArchiveReason } from './archive.ts';
import { judge, unreadable } from './archive-history.ts';
import type { DiskChanges } from './changes.ts';
import type { Damages } from './damages.ts';
import type { DiskRoom } from './disk-room.ts';
import type { Hashing } from './hashing.ts';
import type { LocalIndex } from './local-index.ts';
import { refusalOf } from './paths.ts';
import type { Selection } from './selection.ts';
import { hashTemporary } from './supply.ts';

export interface RestorerOptions {
  readonly writable: boolean;
  readonly root: ShareRoot;
  readonly index: LocalIndex;
  readonly selection: Pick<Selection, 'isWanted'>;
  readonly archive: Archive;
  readonly changes: DiskChanges;
  readonly damages: Damages;
  readonly hashing: Hashing;
  readonly room: Pick<DiskRoom, 'during'>;
  readonly signal: AbortSignal;
  /** False while nothing may be written to the folder. */
  readonly mayPlace: () => boolean;
  /** Somebody should look at this path of the share. */
  readonly nudge: (path: string) => void;
}

export interface Restored {
  /** In the share. */
  readonly path: string;
  readonly sha256: string;
  readonly size: bigint;
  /** False: this very version was there already. */
  readonly isChanged: boolean;
  /** Number of what was there before, in the archive. */
  readonly replaced: bigint | undefined;
  /** The version had been written to after it was archived. */
  readonly isNewer: boolean;
}

/** For folders that are gone with their files. */
const DIRECTORY_MODE = 0o755;

interface Present {
  readonly facts: FileFacts;
  /** Undefined: it can't be read. */
  readonly sha256: string | undefined;
}

export class Restorer {
  readonly #options: RestorerOptions;

  constructor(options: RestorerOptions) {
    this.#options = options;
  }

  /**
   * @param to path of the share
   * @throws SkylarkError (user) `share.read_only` (exit code 77), `restore.in_the_way`, `restore.bad_path`,
   *   `restore.not_kept`; (environment)
   *   `archive.damaged`, `archive.gone`, `restore.changed` (exit code 75), `share.held`, `files.*`.
   */
  async restore(version: ArchivedFile, to: string): Promise<Restored> {
    this.#check(to);
    const { root, archive } = this.#options;
    const temporary = await root.openTemporary(`restore-${toHex(randomBytes(8))}`, {});
    let isUsed = false;
    try {
      const copied = await this.#copy(version, temporary);
      const local = await this.#way(to);
      const present = await this.#present(to, local);
      const facts = { path: to, sha256: copied.sha256, size: copied.size, isNewer: copied.isNewer };
      if (present?.sha256 === copied.sha256) return { ...facts, isChanged: false, replaced: undefined };
      const replaced = await this.#place(
        to,
        local,
        present,
        { mode: version.mode, mtime: copied.mtime },
        temporary,
      );
      isUsed = true;
      void archive.prune();
      return { ...facts, isChanged: true, replaced };
    } finally {
      if (!isUsed) await temporary.discard();
    }
  }

  #check(to: string): void {
    const { writable, mayPlace } = this.#options;
    if (!writable) {
      throw userError(
        'share.read_only',
        'the share is read-only here: what is restored in it would not spread',
        {
          remedy: 'restore it outside of the share, with --to',
          exitCode: EXIT.notPermitted,
        },
      );
    }
    const refusal = refusalOf(to);
    if (refusal !== undefined || to === '/')
      throw userError('restore.bad_path', `${printable(to, 500)} can't be a file of a share`);
    if (!this.#options.selection.isWanted(to, 'file')) {
      throw userError('restore.not_kept', `${printable(to, 500)} is not kept here: it would not spread`, {
        remedy: 'restore it to another path, or outside of the share, with --to',
      });
    }
    if (mayPlace()) return;
    throw environmentError('share.held', 'nothing can be written to the folder now', {
      remedy: "'skylark status' says why",
      exitCode: EXIT.tryAgain,
    });
  }

  /** Fills the temporary file, and verifies what is in it then. */
  async #copy(version: ArchivedFile, temporary: Temporary) {
    const { root, hashing, signal, room } = this.#options;
    const source = await root.openFile(version.path).catch((thrown: unknown) => {
      throw unreadable(version, thrown);
    });
    try {
      const { size } = source.facts;
      await room.during(undefined, size, () => temporary.copyFrom(source));
      const sha256 = await hashTemporary(root, hashing, temporary.label, size, signal);
      const isNewer = judge(version, source.facts, sha256);
      return { sha256: sha256 ?? '', size, mtime: isNewer ? source.facts.mtimeNs : version.mtime, isNewer };
    } finally {
      await source.close();
    }
  }

  /** Where the path lies on the disk, with the folders that lead to it. */
  async #way(to: string): Promise<string> {
    const { root, index } = this.#options;
    const missing: string[] = [];
    for (let folder = parentOf(to); folder !== '/'; folder = parentOf(folder)) {
      const facts = await root.lookExactly(index.localPath(folder));
      if (facts?.kind === 'directory') break;
      if (facts !== undefined) throw inTheWay(folder, 'no folder');
      missing.push(folder);
    }
    for (const folder of missing.reverse()) {
      await root.makeDirectory(index.localPath(folder), DIRECTORY_MODE).catch((thrown: unknown) => {
        throw errorCode(thrown) === 'files.exists' ? inTheWay(folder, 'no folder') : thrown;
      });
      this.#options.nudge(folder);
    }
    return index.localPath(to);
  }

  async #present(to: string, local: string): Promise<Present | undefined> {
    const { root, index, hashing, signal, damages } = this.#options;
    const facts = await root.look(local);
    if (facts === undefined) return undefined;
    if (facts.kind === 'directory') throw inTheWay(to, 'a folder');
    if (facts.kind !== 'file') throw inTheWay(to, 'no regular file');
    if ((await root.lookExactly(local)) === undefined)
      throw inTheWay(to, 'a file whose name is the same here');
    const row = index.byPath(to);
    if (row?.sha256 !== undefined && sameFacts(row, facts))
      return { facts, sha256: damages.has(row) ? damages.foundIn(row) : row.sha256 };
    const outcome = await hashing.hash(root, local, facts.size, signal);
    if (outcome.state === 'changed') throw changed(to);
    return outcome.state === 'hashed' ? outcome : { facts, sha256: undefined };
  }

  /** @returns the number in the archive of what was there. */
  async #place(
    to: string,
    local: string,
    present: Present | undefined,
    { mode, mtime }: { readonly mode: number; readonly mtime: bigint },
    temporary: Temporary,
  ): Promise<bigint | undefined> {
    const { changes, archive, nudge, index } = this.#options;
    const row = index.byPath(to);
    const reason = row?.found && row.uuid === undefined ? 'found_at_joining' : 'replaced';
    let replaced: bigint | undefined;
    try {
      await changes.submit({
        paths: [to],
        intent: { op: 'restore', path: to },
        ...(present === undefined ? {} : { archive: toKeep(to, present, reason) }),
        perform: async (archived) => {
          const kept = present && archived ? await archive.keep(local, archived, present.facts) : undefined;
          try {
            await temporary.commit(local, { mode: mode | 0o400, mtimeNs: mtime, expected: kept ?? 'absent' });
          } catch (thrown) {
            if (archived !== undefined) await archive.discard(archived);
            throw thrown;
          }
          replaced = archived?.id;
        },
        // The index still says what was there before: for the detector this is a change like any other.
        finish: () => undefined,
      });
    } catch (thrown) {
      const code = errorCode(thrown);
      if (code === 'files.changed' || code === 'files.absent') throw changed(to);
      throw thrown;
    } finally {
      nudge(to);
    }
    return replaced;
  }
}

function toKeep(key: string, { facts, sha256 }: Present, reason: ArchiveReason) {
  const { size, mtimeNs: mtime, mode } = facts;
  return { key, sha256, size, mtime, mode: mode & 0o777, reason };
}

function inTheWay(path: string, what: string) {
  return userError('restore.in_the_way', `at ${printable(path, 500)} is ${what}`, {
    remedy: 'choose another path with --to, or move it away',
    exitCode: EXIT.cannotCreate,
  });
}

function changed(path: string) {
  return environmentError('restore.changed', `${printable(path, 500)} was changed at this very moment`, {
    remedy: 'try again',
    exitCode: EXIT.tryAgain,
  });
}
