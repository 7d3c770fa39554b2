/**
 * A folder as a device: a USB stick or card that is mounted, storage that a device shares by USB, or a directory that another
 * program writes. Nothing outside of it is ever touched, and links are not followed. What is hidden is left out.
 */

import { utf8 } from '../../agent/base/bytes.ts';
import { type Clock, sleep, type Timer } from '../../agent/base/clock.ts';
import { asError, errorCode, type SkylarkError, userError } from '../../agent/base/errors.ts';
import {
  type FileFacts,
  type ListedEntry,
  openShareRoot,
  type ShareRoot,
} from '../../agent/platform/files.ts';
import {
  directoryIdentity,
  fileSystemId,
  type Mount,
  mountOf,
  readMounts,
} from '../../agent/platform/mounts.ts';
import { deviceError } from '../device-error.ts';
import { crc32c } from '../skylink/crc32c.ts';
import type {
  Capability,
  Connection,
  Device,
  DeviceFacts,
  DeviceFile,
  Digest,
  Driver,
  DriverOptions,
  FileToWrite,
  LineStatistics,
  ListItem,
} from './driver.ts';
import { asDevice } from './folder-errors.ts';
import { storeFile } from './folder-store.ts';
import { FolderWatch } from './folder-watch.ts';

export interface FolderDriverOptions {
  /** Milliseconds without a change after which a file counts as written. Default 2,500: FAT tells times to two seconds. */
  readonly quietMs?: number;
}

const QUIET_MS = 2_500;
/** A file that was changed so long ago is not being written any more. Nanoseconds. */
const SETTLED_NS = 60_000_000_000n;
/** A medium that is pulled out says nothing: it is looked for so often. Milliseconds. */
const LOOK_MS = 2_000;
const READ_PIECE = 65_536;
/** What is listed at most. */
const MAX_FILES = 1_000_000;
const DEEPEST = 32;
/** Folders that can't be read are told of once, and no more than these. */
const MAX_TOLD = 100;
const UNREADABLE: ReadonlySet<string | undefined> = new Set([
  'files.not_permitted',
  'files.absent',
  'files.symlink',
  'files.io',
  'files.corrupt',
]);
/** What systems put on every medium. */
const NOT_OF_THE_OWNER: ReadonlySet<string | undefined> = new Set([
  'lost+found',
  'System Volume Information',
  '$RECYCLE.BIN',
]);
/** FAT32 can't hold more. */
const LARGEST_ON_FAT = 0xffff_ffff;
/** FAT numbers its files anew whenever it is mounted. */
const STABLE_INODES: ReadonlySet<string> = new Set(['ext2', 'ext3', 'ext4', 'btrfs', 'xfs', 'f2fs', 'tmpfs']);
const FAT: ReadonlySet<string> = new Set(['vfat', 'msdos']);

export const folderDriver: Driver = createFolderDriver();

export function createFolderDriver({ quietMs = QUIET_MS }: FolderDriverOptions = {}): Driver {
  return {
    name: 'folder',
    async open(connection: Connection, options: DriverOptions) {
      if (connection.kind !== 'directory')
        throw userError('bridge.connection', 'the driver folder needs a folder', {
          remedy: 'write the source as dir:/media/NAME',
        });
      const { path } = connection;
      const mount = mountOf(path, await readMounts());
      const root = await asDevice(() => openShareRoot(path, { clock: options.clock }));
      try {
        const known = mount && (await fileSystemId(mount.source));
        // Two media of one size can't be told apart where nobody has noted what they are.
        const medium = known ?? `${mount?.point} ${(await root.space()).total}`;
        // Several folders of one medium are several devices.
        const inside = mount === undefined || mount.point === '/' ? path : path.slice(mount.point.length);
        const id = crc32c(utf8(`${medium} ${inside}`))
          .toString(16)
          .padStart(8, '0');
        return new FolderDevice(root, mount, `${known ?? 'folder'}-${id}`, { ...options, quietMs });
      } catch (thrown) {
        root.close();
        throw thrown;
      }
    },
  };
}

interface Entry {
  readonly path: string;
  readonly facts: FileFacts;
}

class FolderDevice implements Device {
  readonly facts: DeviceFacts;
  readonly capabilities: readonly Capability[];
  readonly lost: Promise<SkylarkError>;
  readonly #root: ShareRoot;
  readonly #clock: Clock;
  readonly #options: DriverOptions;
  readonly #quietMs: number;
  readonly #hasInodes: boolean;
  readonly #watch: FolderWatch;
  readonly #ended = new AbortController();
  #lose: (reason: SkylarkError) => void = () => undefined;
  #timer: Timer | undefined;
  /** One at a time. */
  #writing: Promise<unknown> = Promise.resolve();
  readonly #unreadable = new Set<string>();
  #bytesIn = 0;
  #bytesOut = 0;

  constructor(
    root: ShareRoot,
    mount: Mount | undefined,
    id: string,
    options: DriverOptions & { readonly quietMs: number },
  ) {
    this.#root = root;
    this.#clock = options.clock;
    this.#options = options;
    this.#quietMs = options.quietMs;
    this.#hasInodes = STABLE_INODES.has(mount?.type ?? '');
    this.facts = { id, model: mount?.type ?? 'folder', firmware: '' };
    const largest = FAT.has(mount?.type ?? '') ? LARGEST_ON_FAT : Number.MAX_SAFE_INTEGER;
    this.capabilities = [
      { kind: 'list', incremental: false },
      { kind: 'read', resume: true },
      { kind: 'write', largest, nameBytes: 255 },
      { kind: 'delete' },
    ];
    this.lost = new Promise((resolve) => {
      this.#lose = (reason) => {
        this.#ended.abort(reason);
        resolve(reason);
      };
    });
    this.#watch = new FolderWatch(root, options.clock, () => options.onEvent({ kind: 'files-changed' }));
    this.#lookLater();
  }

  get statistics(): LineStatistics {
    return { bytesIn: this.#bytesIn, bytesOut: this.#bytesOut, crcErrors: 0, retries: 0, rate: 0 };
  }

  async *list(_since: string | undefined, signal?: AbortSignal): AsyncGenerator<ListItem, void> {
    const { entries, isWhole } = await this.#work(signal, (both) => this.#walk(both));
    const fresh = entries.filter(({ facts }) => this.#mayBeInWork(facts));
    const changed = new Set<string>();
    const current = new Map(entries.map((entry) => [entry.path, entry.facts]));
    if (fresh.length > 0) {
      await this.#work(signal, async (both) => {
        await sleep(this.#clock, this.#quietMs, both);
        for (const { path, facts } of fresh) {
          const now = await this.#root.look(path);
          if (now?.kind !== 'file') current.delete(path);
          else current.set(path, now);
          if (now !== undefined && !isSame(now, facts)) changed.add(path);
        }
      });
      // Nobody tells when a file is finished.
      if (changed.size > 0) this.#options.onEvent({ kind: 'files-changed' });
    }
    let total = 0;
    for (const [path, facts] of current) {
      total += 1;
      yield { kind: 'file', file: this.#fileOf(path, facts, !changed.has(path)) };
    }
    yield { kind: 'end', whole: isWhole, total: isWhole ? total : undefined, mark: undefined };
  }

  stat(path: string, signal?: AbortSignal): Promise<DeviceFile | undefined> {
    return this.#work(signal, async () => {
      const facts = path.startsWith('/') ? await this.#root.look(path) : undefined;
      return facts?.kind === 'file' ? this.#fileOf(path, facts, true) : undefined;
    });
  }

  async *read(file: DeviceFile, offset: number, signal?: AbortSignal): AsyncGenerator<Uint8Array, void> {
    const path = file.key;
    const open = await this.#work(signal, () => this.#root.openFile(path));
    try {
      const check = () => {
        if (this.#versionOf(open.look()) !== file.version) throw changed(file);
      };
      check();
      for (let position = offset; position < file.size; ) {
        const piece = new Uint8Array(Math.min(READ_PIECE, file.size - position));
        const length = await this.#work(signal, () => open.read(piece, BigInt(position)));
        if (length === 0) throw changed(file);
        this.#bytesIn += length;
        position += length;
        if (position >= file.size) check();
        yield piece.subarray(0, length);
        signal?.throwIfAborted();
      }
    } finally {
      await open.close();
    }
  }

  digest(): Promise<Digest> {
    return Promise.reject(unsupported('tell checksums'));
  }

  write(file: FileToWrite, signal?: AbortSignal) {
    const writing = this.#writing.then(() =>
      this.#work(signal, async (both) => {
        const { path, facts } = await storeFile(this.#root, file, both, (bytes) => {
          this.#bytesOut += bytes;
        });
        return { key: path, version: this.#versionOf(facts) };
      }),
    );
    this.#writing = writing.catch(() => undefined);
    return writing;
  }

  delete(file: DeviceFile, signal?: AbortSignal): Promise<void> {
    return this.#work(signal, async () => {
      const path = file.key;
      const facts = await this.#root.look(path);
      if (facts === undefined) return;
      if (facts.kind !== 'file' || this.#versionOf(facts) !== file.version) throw changed(file);
      await this.#root.removeFile(path, facts);
    });
  }

  setClock(): Promise<bigint | undefined> {
    return Promise.reject(unsupported('set a clock'));
  }

  show(): Promise<void> {
    return Promise.reject(unsupported('show anything'));
  }

  async close(): Promise<void> {
    if (this.#ended.signal.aborted) return;
    this.#end(deviceError('device.lost', 'the folder was closed'));
  }

  #end(reason: SkylarkError): void {
    if (this.#ended.signal.aborted) return;
    this.#timer?.cancel();
    this.#watch.close();
    this.#lose(reason);
    this.#root.close();
  }

  /** Not through the root, which would be kept open by it: then the medium could never be unmounted. */
  #lookLater(before?: string): void {
    this.#timer = this.#clock.after(LOOK_MS, () => void this.#look(before));
  }

  async #look(before: string | undefined): Promise<void> {
    const now = await directoryIdentity(this.#root.path);
    if (this.#ended.signal.aborted) return;
    if (now !== undefined && (before === undefined || now === before)) this.#lookLater(now);
    else this.#end(deviceError('device.lost', `${this.#root.path} is gone, or another folder`));
  }

  /** Runs `work`, and says in the words of devices what went wrong. */
  async #work<T>(signal: AbortSignal | undefined, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const both = signal === undefined ? this.#ended.signal : AbortSignal.any([this.#ended.signal, signal]);
    both.throwIfAborted();
    try {
      return await asDevice(() => work(both));
    } catch (thrown) {
      both.throwIfAborted();
      if (errorCode(thrown) === 'device.lost') this.#end(thrown as SkylarkError);
      throw thrown;
    }
  }

  /** What can't be looked at may be there all the same: then the listing is not whole, and nothing counts as deleted. */
  async #walk(
    signal: AbortSignal,
  ): Promise<{ readonly entries: readonly Entry[]; readonly isWhole: boolean }> {
    const entries: Entry[] = [];
    let isWhole = true;
    const folders: { readonly path: string; readonly depth: number }[] = [{ path: '/', depth: 0 }];
    for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
      const { path, depth } = folder;
      await this.#watch.add(path);
      for await (const batch of this.#list(path)) {
        signal.throwIfAborted();
        if (batch === 'unreadable') {
          isWhole = false;
          continue;
        }
        for (const entry of batch) {
          const facts = 'facts' in entry ? entry.facts : undefined;
          if (entry.name?.startsWith('.') || NOT_OF_THE_OWNER.has(entry.name)) continue;
          if (entry.name === undefined || facts === undefined) {
            isWhole = false;
            continue;
          }
          const inner = path === '/' ? `/${entry.name}` : `${path}/${entry.name}`;
          if (facts.kind === 'file') entries.push({ path: inner, facts });
          else if (facts.kind === 'directory' && depth < DEEPEST)
            folders.push({ path: inner, depth: depth + 1 });
          else if (facts.kind === 'directory') isWhole = false;
        }
        if (entries.length > MAX_FILES)
          throw deviceError('device.stuck', `the folder has more than ${MAX_FILES} files`);
      }
    }
    return { entries, isWhole };
  }

  /** A folder below that can't be read keeps nothing else from being listed. */
  async *#list(path: string): AsyncGenerator<readonly ListedEntry[] | 'unreadable', void> {
    try {
      yield* this.#root.list(path);
    } catch (thrown) {
      if (path === '/' || !UNREADABLE.has(errorCode(thrown))) throw thrown;
      this.#tellUnreadable(path, asError(thrown));
      yield 'unreadable';
    }
  }

  #tellUnreadable(path: string, { message }: Error): void {
    if (this.#unreadable.has(path) || this.#unreadable.size >= MAX_TOLD) return;
    this.#unreadable.add(path);
    this.#options.onEvent({ kind: 'log', level: 'warn', text: message });
  }

  /** Changed a moment ago, or in the future by its clock. */
  #mayBeInWork({ mtimeNs }: FileFacts): boolean {
    return mtimeNs > this.#clock.now() - SETTLED_NS;
  }

  #fileOf(path: string, facts: FileFacts, complete: boolean): DeviceFile {
    return {
      key: path,
      version: this.#versionOf(facts),
      name: path.slice(1),
      size: Number(facts.size),
      mtime: facts.mtimeNs,
      complete,
    };
  }

  /** Where inodes last, a file that takes another's place is another, even with its time and size. */
  #versionOf({ size, mtimeNs, ino }: FileFacts): string {
    return `${size}-${mtimeNs}${this.#hasInodes ? `-${ino}` : ''}`;
  }
}

function isSame(a: FileFacts, b: FileFacts): boolean {
  return a.ino === b.ino && a.size === b.size && a.mtimeNs === b.mtimeNs;
}

function changed({ name }: DeviceFile): SkylarkError {
  return deviceError('device.changed', `${JSON.stringify(name)} is not what it was`);
}

function unsupported(what: string): SkylarkError {
  return deviceError('device.unsupported', `a folder can not ${what}`);
}
