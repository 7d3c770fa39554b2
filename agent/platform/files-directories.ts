/**
 * Handles on the directories of a share, opened one component at a time from the share's root, so that no symbolic link
 * is ever followed, whatever is swapped in while we walk. A few stay open for a moment, since files come in clusters;
 * none stays open for long, since an open handle keeps a medium from being unmounted.
 */

import fs from 'node:fs';
import type { Clock, Timer } from '../base/clock.ts';
import { environmentError, internalError } from '../base/errors.ts';
import {
  close,
  fileError,
  fstat,
  fsyncIfPossible,
  isAbsent,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_RDONLY,
  open,
} from './files-calls.ts';

/** Most idle handles of one share. */
const MAX_IDLE = 48;
/** Milliseconds after which an unused handle is closed. */
const IDLE_MS = 2_000;
/** Most directories that are flushed to the disk at the same time. */
const SYNCS_AT_ONCE = 4;

/** An open directory; valid while it is leased. */
export interface DirectoryHandle {
  readonly path: string;
  readonly fd: number;
  readonly dev: bigint;
  readonly ino: bigint;
  /** `/proc/self/fd/N/`: a name behind it is resolved in exactly this directory. */
  readonly prefix: string;
}

interface CachedHandle extends DirectoryHandle {
  /** Where the kernel saw the directory when it was opened. Another place now: it, or a folder above it, was moved. */
  readonly place: string;
  leases: number;
  idleSince: number;
  stale: boolean;
}

/** The part before the last slash; '/' for what lies in the root. */
export function parentOf(path: string): string {
  const slash = path.lastIndexOf('/');
  return slash <= 0 ? '/' : path.slice(0, slash);
}

export function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

/** Refuses whatever is not one name in one directory. Callers have checked long before: this is the last door. */
export function checkName(name: string): void {
  if (name === '' || name === '.' || name === '..' || /[/\0]/.test(name) || !name.isWellFormed())
    throw internalError('files.name_unsafe', `${JSON.stringify(name)} is not the name of a file`);
}

export class Directories {
  readonly #rootPath: string;
  readonly #clock: Clock;
  readonly #open = new Map<string, CachedHandle>();
  #root: { readonly dev: bigint; readonly ino: bigint } | undefined;
  #sweeper: Timer | undefined;
  #closed = false;

  constructor(rootPath: string, clock: Clock) {
    this.#rootPath = rootPath;
    this.#clock = clock;
  }

  /** Runs `work` with the directory's handle. @throws SkylarkError `files.*`, `share.root_missing`, `share.root_replaced`. */
  async use<T>(path: string, work: (handle: DirectoryHandle) => Promise<T> | T): Promise<T> {
    const handle = await this.acquire(path);
    try {
      return await work(handle);
    } finally {
      this.release(handle);
    }
  }

  async acquire(path: string): Promise<DirectoryHandle> {
    const cached = this.#open.get(path);
    if (cached !== undefined) {
      if (isWhereItWas(cached)) return this.#lease(cached);
      this.#drop(cached);
    }
    const handle = path === '/' ? await this.#openRoot() : await this.#openBelow(path);
    // Somebody else may have opened the same directory in the meantime; the later handle is as good.
    const rival = this.#open.get(path);
    if (rival !== undefined) this.#drop(rival);
    if (this.#closed) handle.stale = true;
    else this.#open.set(path, handle);
    return this.#lease(handle);
  }

  release(handle: DirectoryHandle): void {
    const cached = handle as CachedHandle;
    cached.leases -= 1;
    if (cached.leases > 0) return;
    if (cached.stale) {
      closeQuietly(cached.fd);
      return;
    }
    cached.idleSince = this.#clock.monotonic();
    if (this.#open.size > MAX_IDLE) this.#evict();
    this.#sweeper ??= this.#clock.after(IDLE_MS, () => this.#sweep());
  }

  /** Takes whatever directory is at the root's path from now on for the root. */
  forgetRoot(): void {
    for (const handle of [...this.#open.values()]) this.#drop(handle);
    this.#root = undefined;
  }

  close(): void {
    this.#closed = true;
    this.#sweeper?.cancel();
    this.forgetRoot();
  }

  async #openRoot(): Promise<CachedHandle> {
    let fd: number;
    try {
      fd = await open(this.#rootPath, O_RDONLY | O_DIRECTORY);
    } catch (thrown) {
      if (!isAbsent(thrown)) throw fileError('open the folder', this.#rootPath, thrown);
      throw environmentError(
        'share.root_missing',
        `the folder ${JSON.stringify(this.#rootPath)} is missing`,
        {
          cause: thrown,
          remedy: 'put it back, or mount the medium that it is on',
        },
      );
    }
    const handle = await this.#handle('/', fd, this.#rootPath);
    this.#root ??= { dev: handle.dev, ino: handle.ino };
    if (handle.dev === this.#root.dev && handle.ino === this.#root.ino) return handle;
    closeQuietly(fd);
    throw environmentError(
      'share.root_replaced',
      `another folder than before is at ${JSON.stringify(this.#rootPath)}`,
      { remedy: 'put the original folder back, or mount the medium that it is on' },
    );
  }

  async #openBelow(path: string): Promise<CachedHandle> {
    const name = nameOf(path);
    checkName(name);
    const parent = await this.acquire(parentOf(path));
    try {
      const fd = await open(parent.prefix + name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
      return await this.#handle(path, fd, path);
    } catch (thrown) {
      throw fileError('open the folder', path, thrown);
    } finally {
      this.release(parent);
    }
  }

  async #handle(path: string, fd: number, shown: string): Promise<CachedHandle> {
    try {
      const { dev, ino } = await fstat(fd);
      const place = fs.readlinkSync(`/proc/self/fd/${fd}`);
      const prefix = `/proc/self/fd/${fd}/`;
      return { path, fd, dev, ino, prefix, place, leases: 0, idleSince: 0, stale: false };
    } catch (thrown) {
      closeQuietly(fd);
      throw fileError('look at the folder', shown, thrown);
    }
  }

  #lease(handle: CachedHandle): CachedHandle {
    handle.leases += 1;
    return handle;
  }

  #drop(handle: CachedHandle): void {
    if (this.#open.get(handle.path) === handle) this.#open.delete(handle.path);
    if (handle.stale) return;
    handle.stale = true;
    if (handle.leases === 0) closeQuietly(handle.fd);
  }

  #evict(): void {
    let oldest: CachedHandle | undefined;
    for (const handle of this.#open.values())
      if (handle.leases === 0 && (oldest === undefined || handle.idleSince < oldest.idleSince))
        oldest = handle;
    if (oldest !== undefined) this.#drop(oldest);
  }

  #sweep(): void {
    this.#sweeper = undefined;
    const before = this.#clock.monotonic() - IDLE_MS;
    for (const handle of [...this.#open.values()])
      if (handle.leases === 0 && handle.idleSince <= before) this.#drop(handle);
    if (this.#open.size > 0 && !this.#closed) this.#sweeper = this.#clock.after(IDLE_MS, () => this.#sweep());
  }
}

function isWhereItWas(handle: CachedHandle): boolean {
  try {
    return fs.readlinkSync(`/proc/self/fd/${handle.fd}`) === handle.place;
  } catch {
    return false;
  }
}

function closeQuietly(fd: number): void {
  // A directory handle that was only read has nothing to lose.
  close(fd).catch(() => undefined);
}

/**
 * Makes changed directories durable. Whoever changes something while a flush runs is served by the next one, so that a
 * thousand files in one folder cost a few flushes instead of a thousand.
 */
export class DirectoryFlusher {
  readonly #waiting = new Map<DirectoryHandle, Waiter[]>();
  #running = false;

  /**
   * Resolves when every change made in the directory before the call survives a power cut. The caller keeps its lease
   * until then: a path could lead elsewhere by now.
   */
  flush(handle: DirectoryHandle): Promise<void> {
    return new Promise((resolve, reject) => {
      const waiters = this.#waiting.get(handle);
      if (waiters === undefined) this.#waiting.set(handle, [{ resolve, reject }]);
      else waiters.push({ resolve, reject });
      void this.#run();
    });
  }

  async #run(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    // The rest of this turn may have more for the same directories.
    await new Promise<void>((resolve) => setImmediate(resolve));
    while (this.#waiting.size > 0) {
      const round = [...this.#waiting];
      this.#waiting.clear();
      const worker = async (): Promise<void> => {
        for (let next = round.pop(); next !== undefined; next = round.pop()) await flushOne(next[0], next[1]);
      };
      await Promise.all(Array.from({ length: SYNCS_AT_ONCE }, worker));
    }
    this.#running = false;
  }
}

interface Waiter {
  readonly resolve: () => void;
  readonly reject: (reason: Error) => void;
}

async function flushOne(handle: DirectoryHandle, waiters: readonly Waiter[]): Promise<void> {
  try {
    await fsyncIfPossible(handle.fd);
    for (const waiter of waiters) waiter.resolve();
  } catch (thrown) {
    const reason = fileError('flush the folder', handle.path, thrown);
    for (const waiter of waiters) waiter.reject(reason);
  }
}
