/**
 * The only access to the files of a share. Every path is walked component by component from the share's root without
 * following symbolic links, so that nothing outside the share is read or changed, whatever anybody swaps in meanwhile;
 * only regular files and directories are ever opened, and no open blocks; what takes another file's place does so
 * atomically, after having reached the disk.
 *
 * Paths have one leading slash and are relative to the share's root ('/' is the root itself), in valid Unicode. Linux
 * only: relies on /proc/self/fd.
 */

import fs from 'node:fs';
import { type Clock, systemClock } from '../base/clock.ts';
import { environmentError, errorCode, type SkylarkError } from '../base/errors.ts';
import { type AttributeChange, applyAttributes } from './files-attributes.ts';
import {
  chmod,
  close,
  type FileFacts,
  fileError,
  fstat,
  type KnownFile,
  lstat,
  lstatSync,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_PATH,
  O_RDONLY,
  open,
} from './files-calls.ts';
import {
  checkName,
  Directories,
  DirectoryFlusher,
  type DirectoryHandle,
  nameOf,
  parentOf,
} from './files-directories.ts';
import { type ListedEntry, listDirectory } from './files-list.ts';
import { foldName } from './files-names.ts';
import { type OpenFile, ReadableFile } from './files-read.ts';
import { checkUnchanged, existsError, isThere, renameWithoutReplacing } from './files-rename.ts';
import { type SmallFile, SmallFileReader } from './files-small.ts';
import { Spelling } from './files-spelling.ts';
import { listTemporaries, openTemporary, type Temporary, type TemporaryOptions } from './files-temporary.ts';
import { type DirectoryWatch, watchDirectory } from './files-watch.ts';

export type { AttributeChange } from './files-attributes.ts';
export type { FileFacts, FileKind, KnownFile } from './files-calls.ts';
export { sameFacts } from './files-calls.ts';
export { nameOf, parentOf } from './files-directories.ts';
export type { ListedEntry } from './files-list.ts';
export { foldName, isOwnName, STATE_FOLDER, TEMPORARY_SUFFIX } from './files-names.ts';
export type { OpenFile } from './files-read.ts';
export type { Expected } from './files-rename.ts';
export type { SmallFile } from './files-small.ts';
export type { CommitOptions, Temporary, TemporaryOptions } from './files-temporary.ts';
export { temporaryPath } from './files-temporary.ts';
export type { DirectoryWatch, WatchListener } from './files-watch.ts';
export { onWatchOverflow } from './files-watch.ts';

export interface ShareRootOptions {
  readonly clock?: Clock;
}

/**
 * Opens the folder `path` (absolute; symbolic links on the way to it are the owner's choice and are followed).
 * @throws SkylarkError `share.root_missing`, `files.*`, `files.no_proc`.
 */
export async function openShareRoot(path: string, options: ShareRootOptions = {}): Promise<ShareRoot> {
  if (!fs.existsSync('/proc/self/fd'))
    throw environmentError('files.no_proc', '/proc is not mounted', { remedy: 'mount /proc' });
  const root = new ShareRoot(path, options.clock ?? systemClock);
  try {
    await root.check();
    return root;
  } catch (thrown) {
    root.close();
    throw thrown;
  }
}

export class ShareRoot {
  /** The folder, as the owner named it. */
  readonly path: string;
  readonly #directories: Directories;
  readonly #flusher = new DirectoryFlusher();
  readonly #spelling: Spelling;
  readonly #small = new SmallFileReader();

  constructor(path: string, clock: Clock) {
    this.path = path;
    this.#directories = new Directories(path, clock);
    this.#spelling = new Spelling(this.#directories);
  }

  /**
   * Whether the folder is there and still the one that was opened. Every other call checks the same before it does
   * anything, unless it did so moments ago.
   * @throws SkylarkError `share.root_missing`, `share.root_replaced`, `files.*`.
   */
  check(): Promise<FileFacts> {
    return this.#directories.use('/', async (handle) => {
      try {
        return await fstat(handle.fd);
      } catch (thrown) {
        throw fileError('look at the folder', this.path, thrown);
      }
    });
  }

  /** After `share.root_replaced`, when something else has proved that this is the right folder: takes it for the root. */
  acceptReplacement(): void {
    this.#directories.forgetRoot();
  }

  /** What is at `path`, not following links; undefined if nothing is. @throws `files.*`, `share.*`. */
  async look(path: string): Promise<FileFacts | undefined> {
    if (path === '/') return this.check();
    try {
      return await this.#inParent(path, 'look at', (target) => lstat(target));
    } catch (thrown) {
      if (isAbsentError(thrown)) return undefined;
      throw thrown;
    }
  }

  /**
   * As `look`, but where case makes no difference (see `learnSpelling`), undefined unless the directory shows exactly this
   * name.
   */
  async lookExactly(path: string): Promise<FileFacts | undefined> {
    const facts = await this.look(path);
    if (facts === undefined || path === '/' || !this.#spelling.ignoresCase) return facts;
    try {
      return (await this.#spelling.isExact(path)) ? facts : undefined;
    } catch (thrown) {
      throw fileError('look at', path, thrown);
    }
  }

  /** Whether names may stand for files that no directory shows under them, as far as `learnSpelling` has found out. */
  get ignoresCase(): boolean {
    return this.#spelling.ignoresCase;
  }

  /** Finds out whether the file system ignores case; once the share has its state folder. */
  async learnSpelling(): Promise<void> {
    try {
      await this.#spelling.learn();
    } catch (thrown) {
      throw fileError('look at', '/', thrown);
    }
  }

  /**
   * Opens a regular file.
   * @throws `files.absent`, `files.symlink`, `files.not_a_file` (directory, FIFO, device, socket), other `files.*`.
   */
  async openFile(path: string): Promise<OpenFile> {
    return this.#inParent(path, 'open', async (target) => {
      // First a handle that only names the inode: opening a FIFO or a device for reading would already disturb it.
      const named = await open(target, O_PATH | O_NOFOLLOW);
      try {
        const { kind } = await fstat(named);
        if (kind === 'symlink') throw notAFile('files.symlink', path, 'a symbolic link');
        if (kind !== 'file')
          throw notAFile('files.not_a_file', path, kind === 'directory' ? 'a folder' : 'no regular file');
        const fd = await open(`/proc/self/fd/${named}`, O_RDONLY | O_NONBLOCK);
        return new ReadableFile(path, fd, await fstat(fd));
      } finally {
        await close(named);
      }
    });
  }

  /** Reads a regular file of at most `limit` bytes whole. @throws `files.too_big`, `files.changed`, as `openFile`. */
  readSmall(path: string, limit: number): Promise<SmallFile> {
    return this.#inParent(path, 'read', (target) => this.#small.read(target, path, limit));
  }

  /**
   * What is directly in a directory, in batches and in no order, without our own state folder and temporary files. A
   * directory that is changed meanwhile may show a name twice or miss a new one.
   * @throws `files.absent`, `files.not_permitted`, other `files.*`, `share.*`.
   */
  async *list(path: string): AsyncGenerator<readonly ListedEntry[], void, void> {
    const handle = await this.#directories.acquire(path);
    try {
      yield* listDirectory(handle);
    } catch (thrown) {
      throw fileError('list the folder', path, thrown);
    } finally {
      this.#directories.release(handle);
    }
  }

  /**
   * Tells of changes directly in a directory.
   * @throws `files.too_many_watches` when the system has no more to give, other `files.*`.
   */
  watch(path: string, listener: (name: string | undefined) => void): Promise<DirectoryWatch> {
    return this.#directories.use(path, (handle) => watchDirectory(handle, listener));
  }

  /**
   * A new file under a hidden name, to be filled and then committed to its place. `label` tells temporaries apart and
   * finds one again after a restart: letters, digits, dashes, at most 200.
   * @throws `files.exists` unless `resume` is set, `files.no_space`, other `files.*`.
   */
  openTemporary(label: string, options: TemporaryOptions): Promise<Temporary> {
    return openTemporary(this.#directories, this.#flusher, label, options);
  }

  /** Labels of the temporaries that exist: to be resumed, or discarded after opening them with `resume`. */
  listTemporaries(): Promise<string[]> {
    return listTemporaries(this.#directories);
  }

  /** Creates a directory; if there is one already, that is fine too. @throws `files.exists` if something else is there. */
  async makeDirectory(path: string, mode: number): Promise<FileFacts> {
    return this.#changeIn(path, 'make the folder', async (target) => {
      try {
        fs.mkdirSync(target, 0o700);
      } catch (thrown) {
        if ((thrown as NodeJS.ErrnoException).code !== 'EEXIST') throw thrown;
        const there = await lstat(target);
        if (there.kind !== 'directory') throw thrown;
        return there;
      }
      // mkdir's own mode is cut by the umask.
      await this.#throughHandle(target, (named) => chmod(named, mode & 0o777));
      return await lstat(target);
    });
  }

  /** Removes an empty directory. @throws `files.not_empty`, `files.absent`, other `files.*`. */
  async removeDirectory(path: string): Promise<void> {
    await this.#changeIn(path, 'remove the folder', (target) => fs.rmdirSync(target));
  }

  /** Removes a file that is still as `expected`. @throws `files.changed`, `files.absent`, other `files.*`. */
  async removeFile(path: string, expected: KnownFile): Promise<void> {
    await this.#changeIn(path, 'remove', (target) => {
      checkUnchanged(path, lstatSync(target), expected);
      fs.unlinkSync(target);
    });
  }

  /**
   * Renames a file or directory within the share. Nothing is ever replaced. Repeats an interrupted move without harm.
   * The facts afterwards (renaming changes the time of the inode).
   * @throws `files.exists`, `files.absent`, `files.changed` (if `expected` is given), other `files.*`.
   */
  async move(from: string, to: string, expected?: KnownFile): Promise<FileFacts> {
    const source = await this.#directories.acquire(parentOf(from));
    try {
      return await this.#changeIn(to, 'move something to', async (target) => {
        checkName(nameOf(from));
        const origin = source.prefix + nameOf(from);
        const facts = lstatSync(origin);
        if (expected !== undefined) checkUnchanged(from, facts, expected);
        if (facts.kind === 'directory') {
          // rename(2) would silently take the place of an empty directory.
          if (isThere(target)) throw existsError(to);
          fs.renameSync(origin, target);
        } else renameWithoutReplacing(origin, target, facts);
        const moved = lstatSync(target);
        this.#spelling.forget();
        await this.#flusher.flush(source);
        return moved;
      });
    } catch (thrown) {
      throw fileError('move', from, thrown);
    } finally {
      this.#directories.release(source);
    }
  }

  /**
   * Gives a directory another spelling of its own name, where that makes no difference to the file system: in one step,
   * since its owner may look at any time. The facts afterwards.
   * @throws `files.exists` if `name` stands for something else, `files.absent`, other `files.*`.
   */
  async respell(path: string, name: string): Promise<FileFacts> {
    const to = path.slice(0, -nameOf(path).length) + name;
    if (!this.ignoresCase || foldName(nameOf(path)) !== foldName(name) || (await this.lookExactly(to)))
      throw existsError(to);
    return this.#changeIn(path, 'rename', (origin) => {
      checkName(name);
      const target = origin.slice(0, -nameOf(path).length) + name;
      fs.renameSync(origin, target);
      this.#spelling.forget();
      return lstatSync(target);
    });
  }

  /**
   * Gives the file at `from` the second name `to`, so that its contents outlive the first.
   * @throws `files.exists`, `files.changed`, `files.not_permitted` where the file system has no hard links.
   */
  async link(from: string, to: string, expected: KnownFile): Promise<FileFacts> {
    return this.#inParent(from, 'link', (origin) =>
      this.#changeIn(to, 'make the link', (target) => {
        checkUnchanged(from, lstatSync(origin), expected);
        fs.linkSync(origin, target);
        return lstatSync(target);
      }),
    );
  }

  /** Sets mode and time of a file or directory that is still as `expected`. The facts afterwards. */
  async setAttributes(path: string, change: AttributeChange, expected: KnownFile): Promise<FileFacts> {
    const apply = (named: string) => applyAttributes(named, path, change, expected);
    if (path === '/')
      return this.#directories
        .use('/', (handle) => apply(`/proc/self/fd/${handle.fd}`))
        .catch((thrown) => {
          throw fileError('set the attributes of', path, thrown);
        });
    return this.#inParent(path, 'set the attributes of', (target) => this.#throughHandle(target, apply));
  }

  /** Bytes that an ordinary user may still write to the share's file system. */
  async freeSpace(): Promise<bigint> {
    return (await this.space()).free;
  }

  /** As `freeSpace`, and the size of the file system; both 0 where it does not say. @throws `files.*`, `share.*`. */
  async space(): Promise<{ readonly free: bigint; readonly total: bigint }> {
    return this.#directories.use('/', async (handle) => {
      const path = `/proc/self/fd/${handle.fd}`;
      const { bavail, bsize, blocks } = await fs.promises.statfs(path, { bigint: true });
      return { free: bavail * bsize, total: blocks * bsize };
    });
  }

  /** Descriptor of the root for a worker thread's own anchored walk, for as long as `work` runs. */
  withRootDescriptor<T>(work: (descriptor: number) => Promise<T>): Promise<T> {
    return this.#directories.use('/', (handle) => work(handle.fd));
  }

  /** Lets go of all handles. What is still running ends with its own handle. */
  close(): void {
    this.#directories.close();
  }

  async #inParent<T>(path: string, what: string, work: (target: string) => Promise<T> | T): Promise<T> {
    const name = nameOf(path);
    checkName(name);
    const handle = await this.#directories.acquire(parentOf(path));
    try {
      return await work(handle.prefix + name);
    } catch (thrown) {
      throw fileError(what, path, thrown);
    } finally {
      this.#directories.release(handle);
    }
  }

  /** As `#inParent`; resolves when the change in the parent directory survives a power cut. */
  async #changeIn<T>(path: string, what: string, work: (target: string) => Promise<T> | T): Promise<T> {
    const name = nameOf(path);
    checkName(name);
    const handle: DirectoryHandle = await this.#directories.acquire(parentOf(path));
    try {
      const result = await work(handle.prefix + name);
      await this.#flusher.flush(handle);
      return result;
    } catch (thrown) {
      throw fileError(what, path, thrown);
    } finally {
      this.#directories.release(handle);
    }
  }

  /** Runs `work` on a name that stands for exactly the inode that is now at `target`, which is no symbolic link. */
  async #throughHandle<T>(target: string, work: (named: string) => Promise<T>): Promise<T> {
    const fd = await open(target, O_PATH | O_NOFOLLOW);
    try {
      const { kind } = await fstat(fd);
      if (kind !== 'file' && kind !== 'directory')
        throw notAFile('files.not_a_file', target, 'no regular file');
      return await work(`/proc/self/fd/${fd}`);
    } finally {
      await close(fd);
    }
  }
}

function notAFile(code: string, path: string, what: string): SkylarkError {
  return environmentError(code, `${JSON.stringify(path)} is ${what}`);
}

function isAbsentError(thrown: unknown): boolean {
  return errorCode(thrown) === 'files.absent';
}
