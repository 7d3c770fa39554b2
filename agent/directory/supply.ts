/** Verified contents on their way to their place in the share. */

import { toHex } from '../base/bytes.ts';
import { errorCode } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { sha256 as sha256Of } from '../crypto/hash.ts';
import {
  type CommitOptions,
  type FileFacts,
  type OpenFile,
  type ShareRoot,
  sameFacts,
  type Temporary,
  temporaryPath,
} from '../platform/files.ts';
import type { Archive } from './archive.ts';
import type { ContentCache } from './cache.ts';
import type { DiskRoom } from './disk-room.ts';
import type { Hashing } from './hashing.ts';
import type { LocalIndex } from './local-index.ts';

/** Contents whose SHA-256 was verified. May be committed once; until then, `discard` lets go of them. */
export interface Supply {
  /** @throws as `Temporary.commit`; it may be tried again then. */
  commit(path: string, options: CommitOptions): Promise<FileFacts>;
  discard(): Promise<void>;
}

/** Contents up to this size are handled in memory. */
export const SMALL_CONTENT = 65_536;

const UNREADABLE: ReadonlySet<string | undefined> = new Set(['files.io', 'files.corrupt']);

/** @param label tells it apart from all other temporaries of the share that exist. */
export function supplyOfBytes(root: ShareRoot, label: string, bytes: Uint8Array): Supply {
  return {
    async commit(path, options) {
      const temporary = await root.openTemporary(label, { resume: true });
      try {
        if (temporary.resumedSize > 0n) await temporary.resize(0n);
        await temporary.write(bytes, 0n);
        return await temporary.commit(path, options);
      } catch (thrown) {
        await temporary.discard();
        throw thrown;
      }
    },
    discard: () => Promise.resolve(),
  };
}

export function supplyOfTemporary(temporary: Temporary): Supply {
  return {
    commit: (path, options) => temporary.commit(path, options),
    discard: () => temporary.discard(),
  };
}

/** SHA-256 of what was written to a temporary so far. */
export async function hashTemporary(
  root: ShareRoot,
  hashing: Hashing,
  label: string,
  size: bigint,
  signal: AbortSignal,
): Promise<string | undefined> {
  const outcome = await hashing.hash(root, temporaryPath(label), size, signal);
  return outcome.state === 'hashed' ? outcome.sha256 : undefined;
}

export interface LocalContentsOptions {
  readonly root: ShareRoot;
  readonly index: LocalIndex;
  readonly archive: Archive;
  readonly cache: Pick<ContentCache, 'find' | 'forget'>;
  readonly hashing: Hashing;
  readonly log: Logger;
  readonly signal: AbortSignal;
  readonly room: Pick<DiskRoom, 'during'>;
  /** Whether another member has the contents of this file of ours: see possession.ts. */
  readonly isWithMember: (file: OpenFile, sha256: string) => Promise<boolean>;
}

/** Contents that lie somewhere in the share or its archive already. */
export class LocalContents {
  readonly #options: LocalContentsOptions;

  constructor(options: LocalContentsOptions) {
    this.#options = options;
  }

  /** Whether it is worth trying. */
  mayHave(sha256: string): boolean {
    const { index, archive, cache } = this.#options;
    if (index.bySha256(sha256, 1).length > 0 || cache.find(sha256) !== undefined) return true;
    return archive.bySha256(sha256).length > 0;
  }

  /**
   * A copy of the contents, verified; undefined if no file has them any more.
   * @param size as the record says; if that is wrong, the contents are right all the same
   * @param label as for a temporary
   * @throws `files.no_room`, `files.no_space` and what else hinders writing.
   */
  async copy(sha256: string, size: bigint, label: string): Promise<Supply | undefined> {
    if (size === 0n) return supplyOfBytes(this.#options.root, label, new Uint8Array(0));
    const { index, archive, root, isWithMember } = this.#options;
    for (const row of index.bySha256(sha256)) {
      // What was found at joining belongs to no record: this one must not bring it to light.
      const supply = await this.#from(
        index.localPath(row.path),
        sha256,
        label,
        async (file) =>
          sameFacts(file.facts, row) && (row.uuid !== undefined || (await isWithMember(file, sha256))),
      );
      if (supply !== undefined) return supply;
    }
    for (const archived of archive.bySha256(sha256)) {
      const supply = await this.#from(archived.path, sha256, label);
      if (supply !== undefined) return supply;
      // Removed by hand, or written to by a program that still had it open: as history it stays, as a source it is none.
      if ((await root.look(archived.path)) === undefined) archive.forget(archived);
    }
    return this.#cached(sha256, label);
  }

  async #cached(sha256: string, label: string): Promise<Supply | undefined> {
    const { cache } = this.#options;
    const path = cache.find(sha256);
    const supply = path === undefined ? undefined : await this.#from(path, sha256, label);
    // It is of no use to anybody as it is.
    if (path !== undefined && supply === undefined) await cache.forget(sha256);
    return supply;
  }

  async #from(
    path: string,
    sha256: string,
    label: string,
    isUsable: (file: OpenFile) => Promise<boolean> = async () => true,
  ): Promise<Supply | undefined> {
    let file: OpenFile;
    try {
      file = await this.#options.root.openFile(path);
    } catch (thrown) {
      this.#options.log.debug('a local copy could not be opened', { path, code: errorCode(thrown) });
      return undefined;
    }
    try {
      const { size } = file.facts;
      if (!(await isUsable(file))) return undefined;
      const copying = () =>
        size <= BigInt(SMALL_CONTENT)
          ? this.#small(file, sha256, Number(size), label)
          : this.#large(file, sha256, size, label);
      return await this.#options.room.during(sha256, size, copying);
    } catch (thrown) {
      // If it is not the source that the disk does not give back, the next try to write will tell.
      if (!UNREADABLE.has(errorCode(thrown))) throw thrown;
      this.#options.log.warn('a local copy could not be read', { path, code: errorCode(thrown) });
      return undefined;
    } finally {
      await file.close();
    }
  }

  async #small(file: OpenFile, sha256: string, size: number, label: string): Promise<Supply | undefined> {
    const bytes = new Uint8Array(size);
    const count = await file.read(bytes, 0n);
    if (count !== size || toHex(sha256Of(bytes)) !== sha256) return undefined;
    return supplyOfBytes(this.#options.root, label, bytes);
  }

  async #large(file: OpenFile, sha256: string, size: bigint, label: string): Promise<Supply | undefined> {
    const { root, hashing, signal } = this.#options;
    const temporary = await root.openTemporary(label, { resume: true });
    try {
      await temporary.copyFrom(file);
      if ((await hashTemporary(root, hashing, label, size, signal)) === sha256)
        return supplyOfTemporary(temporary);
      await temporary.discard();
      return undefined;
    } catch (thrown) {
      await temporary.discard();
      throw thrown;
    }
  }
}
