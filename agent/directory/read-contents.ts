/**
 * Contents for somebody who wants to read them now: verified before the first byte is given, from the folder, from any
 * other copy that is here, or else from another member.
 */

import { toHex } from '../base/bytes.ts';
import { type Clock, sleep } from '../base/clock.ts';
import { EXIT, environmentError, errorCode, userError } from '../base/errors.ts';
import { printable } from '../base/printable.ts';
import { randomBytes } from '../crypto/random.ts';
import {
  type OpenFile,
  type ShareRoot,
  sameFacts,
  type Temporary,
  temporaryPath,
} from '../platform/files.ts';
import type { Archive, ArchivedFile } from './archive.ts';
import { judge, unreadable } from './archive-history.ts';
import type { ContentCache } from './cache.ts';
import type { Collected, Collector, Demand } from './demand.ts';
import type { DiskRoom } from './disk-room.ts';
import type { FileEntry } from './entry.ts';
import type { Hashing } from './hashing.ts';
import type { IndexRow, LocalIndex } from './local-index.ts';
import { desiredOf, type FileRecord } from './projection.ts';
import { hashTemporary } from './supply.ts';

/** Open for reading; verified. */
export interface Contents {
  readonly sha256: string;
  readonly size: bigint;
  /** Nanoseconds since 1970. */
  readonly mtime: bigint | undefined;
  /** `folder`: they lie in it; `archive`: in the archive, in the cache or under another name; `member`: they were fetched. */
  readonly from: 'folder' | 'archive' | 'member';
  /** Fills `target` from `position` as far as they go. @throws SkylarkError (environment) `files.*`, `file.changed`. */
  read(target: Uint8Array, position: bigint): Promise<number>;
  close(): Promise<void>;
}

export interface Asking {
  readonly signal: AbortSignal;
  /** Told of bytes that come from a member, and of how many there are. */
  readonly heard?: (bytes: number, size: bigint) => void;
}

export interface ContentReaderOptions {
  readonly records: {
    get(key: string): FileRecord | undefined;
    iterate(options: { readonly prefix?: string }): IterableIterator<FileRecord>;
  };
  readonly root: ShareRoot;
  readonly index: LocalIndex;
  readonly archive: Archive;
  readonly cache: ContentCache;
  readonly hashing: Hashing;
  readonly demand: Demand;
  readonly room: Pick<DiskRoom, 'during'>;
  readonly clock: Clock;
  /** Of the share: small files are hashed together, and end together. */
  readonly signal: AbortSignal;
}

/** Larger files are hashed alone, and can be given up alone. */
const HASHED_TOGETHER = 65_536n;
/** A file that changes while it comes is begun anew so often. */
const ATTEMPTS = 3;
/** What its owner did to a file is known so soon after, milliseconds. */
const NEWS_MS = 3_000;
const LOOK_MS = 100;

export class ContentReader {
  readonly #options: ContentReaderOptions;

  constructor(options: ContentReaderOptions) {
    this.#options = options;
  }

  /**
   * The current version of the file at a path of the share.
   * @throws SkylarkError (user) `file.unknown`, `file.is_folder`; (environment, exit code 75) `contents.nowhere`,
   *   `contents.held`, `file.changed`; `files.*`; the signal's reason.
   */
  open(path: string, asking: Asking): Promise<Contents> {
    return this.#open(path, asking, ATTEMPTS);
  }

  async #open(path: string, asking: Asking, attempts: number): Promise<Contents> {
    const { uuid, entry } = this.#fileAt(path);
    const { index } = this.#options;
    const row = index.byUuid(uuid);
    let failure: unknown;
    if (row?.kind === 'file' && row.sha256 === entry.sha256) {
      const here = await this.#verified(index.localPath(row.path), asking, 'folder').catch((thrown) => {
        if (asking.signal.aborted || !errorCode(thrown)?.startsWith('files.')) throw thrown;
        failure = thrown;
        return undefined;
      });
      // While its owner writes to it, what is in the folder is newer than what is known.
      if (here !== undefined && (here.sha256 === entry.sha256 || !sameFacts(here.file.facts, row)))
        return here.contents;
      await here?.contents.close();
    }
    const known = await this.#elsewhere(entry, row, asking);
    if (known !== undefined) return known;
    return this.#fetched(path, entry, asking, attempts).catch((thrown: unknown) => {
      throw errorCode(thrown) === 'contents.nowhere' ? (failure ?? thrown) : thrown;
    });
  }

  /** @throws SkylarkError (environment) `archive.damaged`, `archive.gone`, `files.*`; the signal's reason. */
  async openArchived(version: ArchivedFile, asking: Asking): Promise<Contents> {
    const opened = await this.#verified(version.path, asking, 'archive', (thrown) => {
      throw unreadable(version, thrown);
    });
    if (opened === undefined) throw changed(version.key);
    try {
      judge(version, opened.file.facts, opened.sha256);
      return { ...opened.contents, mtime: opened.file.facts.mtimeNs };
    } catch (thrown) {
      await opened.contents.close();
      throw thrown;
    }
  }

  /** For files above the size that are hashed in batches, the asker's own signal; else the share's. */
  hashSignal(size: bigint, signal: AbortSignal): AbortSignal {
    return size > HASHED_TOGETHER ? AbortSignal.any([signal, this.#options.signal]) : this.#options.signal;
  }

  /**
   * Fetches contents from the members that are connected into a temporary file, which is the caller's then.
   * @returns why they did not come
   * @throws SkylarkError (environment) `files.*`; the signal's reason.
   */
  async fetch(
    { sha256, size }: { readonly sha256: string; readonly size: bigint },
    { signal, heard }: Asking,
  ): Promise<{ readonly temporary: Temporary } | Exclude<Collected, 'collected'>> {
    const { root, hashing, demand, room } = this.#options;
    const label = `demand-${toHex(randomBytes(8))}`;
    const temporary = await root.openTemporary(label, {});
    const collector: Collector = {
      sha256,
      size,
      write: (bytes, position) => temporary.write(bytes, position),
      verify: async () =>
        (await hashTemporary(root, hashing, label, size, this.hashSignal(size, signal))) === sha256,
      ...(heard === undefined ? {} : { heard: (bytes: number) => heard(bytes, size) }),
    };
    try {
      const either = AbortSignal.any([signal, this.#options.signal]);
      const outcome = await room.during(undefined, size, () => demand.collect(collector, either));
      if (outcome === 'collected') return { temporary };
      await temporary.discard();
      return outcome;
    } catch (thrown) {
      await temporary.discard();
      throw thrown;
    }
  }

  #fileAt(path: string): { readonly uuid: string; readonly entry: FileEntry } {
    const { records } = this.#options;
    const record = records.get(path);
    const desired = record && desiredOf(record);
    if (record !== undefined && desired?.kind === 'file') return { uuid: record.uuid, entry: desired.entry };
    const shown = printable(path, 500);
    const isFolder =
      path === '/' || desired?.kind === 'directory' || !records.iterate({ prefix: `${path}/` }).next().done;
    if (isFolder)
      throw userError('file.is_folder', `${shown} is a folder`, {
        remedy: "'skylark ls' lists what is in it",
      });
    throw userError('file.unknown', `there is no file ${shown} in the share`, {
      remedy: "'skylark ls' lists what there is; 'skylark history' lists what there was",
    });
  }

  /** A copy under another name, or in the archive. */
  async #elsewhere(
    { sha256, size }: FileEntry,
    own: IndexRow | undefined,
    asking: Asking,
  ): Promise<Contents | undefined> {
    const { index, archive, cache } = this.#options;
    if (size === 0n) return empty(sha256);
    const cached = cache.find(sha256);
    const paths = [
      ...(cached === undefined ? [] : [cached]),
      ...index
        .bySha256(sha256)
        .filter((row) => row.path !== own?.path)
        .map((row) => index.localPath(row.path)),
      ...archive.bySha256(sha256).map(({ path }) => path),
    ];
    for (const path of paths) {
      const opened = await this.#verified(path, asking, 'archive').catch((thrown: unknown) => {
        if (asking.signal.aborted || !errorCode(thrown)?.startsWith('files.')) throw thrown;
        return undefined;
      });
      if (opened?.sha256 === sha256) {
        if (path === cached) cache.used(sha256);
        return opened.contents;
      }
      await opened?.contents.close();
      if (path === cached) await cache.forget(sha256);
    }
    return undefined;
  }

  async #fetched(path: string, entry: FileEntry, asking: Asking, attempts: number): Promise<Contents> {
    const { root, cache, demand } = this.#options;
    const fetched = await this.fetch(entry, asking);
    if (fetched === 'absent' && attempts > 1 && (await this.#hasChanged(path, entry, asking.signal)))
      return this.#open(path, asking, attempts - 1);
    if (fetched === 'held') {
      const why = demand.holdReason ?? 'contents had to wait';
      throw environmentError('contents.held', `${printable(path, 500)} is not here, and ${why}`, {
        remedy: "'skylark status' says what can be done",
        exitCode: EXIT.tryAgain,
      });
    }
    if (typeof fetched === 'string') {
      const who = fetched === 'nobody' ? 'no member is connected' : 'no member that is connected has it';
      throw environmentError('contents.nowhere', `${printable(path, 500)} is not here, and ${who}`, {
        remedy: 'connect a device that has it, and try again',
        exitCode: EXIT.tryAgain,
      });
    }
    const { temporary } = fetched;
    const kept = await cache.keep(entry, temporary);
    const discard = () => (kept === undefined ? temporary.discard() : Promise.resolve());
    let file: OpenFile;
    try {
      file = await root.openFile(kept ?? temporaryPath(temporary.label));
    } catch (thrown) {
      await discard();
      throw thrown;
    }
    const contents = contentsOf(file, entry.sha256, 'member');
    return {
      ...contents,
      mtime: entry.mtime,
      close: async () => {
        await contents.close();
        await discard();
      },
    };
  }

  /** Whether its owner has changed it, so that nobody has any more what was asked for. */
  async #hasChanged(path: string, { sha256 }: FileEntry, signal: AbortSignal): Promise<boolean> {
    const { records, clock } = this.#options;
    const either = AbortSignal.any([signal, this.#options.signal]);
    for (let waited = 0; ; waited += LOOK_MS) {
      const record = records.get(path);
      const desired = record && desiredOf(record);
      if (desired?.kind !== 'file' || desired.entry.sha256 !== sha256) return true;
      if (waited >= NEWS_MS) return false;
      await sleep(clock, LOOK_MS, either);
    }
  }

  /** The file at a local path and what is in it; undefined if there is none, or it is being written to. */
  async #verified(
    localPath: string,
    { signal }: Asking,
    from: Contents['from'],
    onError?: (thrown: unknown) => never,
  ): Promise<{ readonly file: OpenFile; readonly sha256: string; readonly contents: Contents } | undefined> {
    const { root, hashing } = this.#options;
    let file: OpenFile;
    try {
      file = await root.openFile(localPath);
    } catch (thrown) {
      if (onError !== undefined) return onError(thrown);
      if (errorCode(thrown) === 'files.absent') return undefined;
      throw thrown;
    }
    try {
      const { size } = file.facts;
      const outcome = await hashing.hash(root, localPath, size, this.hashSignal(size, signal));
      signal.throwIfAborted();
      if (outcome.state === 'failed') throw environmentError(outcome.code, outcome.message);
      if (outcome.state === 'hashed' && sameFacts(outcome.facts, file.facts))
        return { file, sha256: outcome.sha256, contents: contentsOf(file, outcome.sha256, from) };
    } catch (thrown) {
      await file.close();
      throw thrown;
    }
    await file.close();
    if (from === 'folder') throw changed(localPath);
    return undefined;
  }
}

function contentsOf(file: OpenFile, sha256: string, from: Contents['from']): Contents {
  const { size, mtimeNs } = file.facts;
  return {
    sha256,
    size,
    mtime: mtimeNs,
    from,
    async read(target, position) {
      const count = await file.read(target, position);
      const now = file.look();
      // Another name for it (or one less) is no change of what is in it.
      if (now.size !== size || now.mtimeNs !== mtimeNs) throw changed(file.path);
      return count;
    },
    close: () => file.close(),
  };
}

function empty(sha256: string): Contents {
  const nothing = { sha256, size: 0n, mtime: undefined, from: 'folder' } as const;
  return { ...nothing, read: async () => 0, close: async () => {} };
}

function changed(path: string) {
  return environmentError('file.changed', `${printable(path, 500)} is being written to`, {
    remedy: 'try again when it is quiet',
    exitCode: EXIT.tryAgain,
  });
}
