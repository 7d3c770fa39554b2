/**
 * Mirrors a device's files into a folder of a share. A file appears there whole and checked or not at all: every piece was
 * checked by the driver, then its size, then that it did not change on the device meanwhile, then, where the device can tell,
 * the checksum of what the device has stored. What the owner put or changed there is never overwritten.
 */

import type { Clock } from '../agent/base/clock.ts';
import { asError, errorCode, type SkylarkError } from '../agent/base/errors.ts';
import type { Logger } from '../agent/base/log.ts';
import { deviceError } from './device-error.ts';
import { collectListing, Falls, Vanished } from './device-listing.ts';
import { capability, type Device, type DeviceFile } from './drivers/driver.ts';
import type { MemoryChange, MirroredFile, MirrorMemory, SentFile } from './mirror-memory.ts';
import { pathOfName } from './names.ts';
import { type Place, Placement } from './placement.ts';
import { type Arrived, Reception } from './reception.ts';
import type { ShareFolder } from './share-folder.ts';

/** What becomes of the share's file when the device's is deleted: kept, or deleted too. */
export type MirrorMode = 'archive' | 'mirror';

export interface MirrorOptions {
  readonly folder: ShareFolder;
  readonly memory: MirrorMemory;
  /** Names the folder in the memory: another folder begins anew. */
  readonly memoryKey: string;
  readonly mode: MirrorMode;
  readonly clock: Clock;
  readonly log: Logger;
  /** Must not throw. */
  readonly onEvent: (event: MirrorEvent) => void;
}

export type MirrorEvent =
  | {
      readonly kind: 'file-arrived';
      readonly name: string;
      /** In the folder. */
      readonly path: string;
      readonly size: number;
      /** It took the place of an earlier version. */
      readonly replaced: boolean;
    }
  | { readonly kind: 'file-renamed'; readonly from: string; readonly path: string }
  | { readonly kind: 'file-removed'; readonly path: string };

export interface Problem {
  /** What it is about; empty: the device as a whole. As the device calls it. */
  readonly name: string;
  readonly error: SkylarkError | Error;
}

export interface MirrorProgress {
  readonly name: string;
  readonly offset: number;
  readonly size: number;
}

/**
 * A card was pulled out or failed: deletions are held back when more than half of the files are gone and so many, or all of
 * a few.
 */
const MASS_DELETION = { part: 20, whole: 3 };
const GONE_WITH_THE_DEVICE: ReadonlySet<string | undefined> = new Set(['device.lost', 'device.silent']);

export class Mirror {
  readonly #options: MirrorOptions;
  readonly #placement: Placement;
  readonly #reception: Reception;
  #deviceId: string | undefined;
  #mark: string | undefined;
  readonly #files = new Map<string, MirroredFile>();
  /** Path in the folder -> key. */
  readonly #owners = new Map<string, string>();
  readonly #sent = new Map<string, SentFile>();
  /** Keys of what is on the device, but not (yet) mirrored: still being written, or failed. */
  readonly #others = new Set<string>();
  readonly #falls = new Falls();
  #bytes = 0;

  constructor(options: MirrorOptions) {
    this.#options = options;
    this.#placement = new Placement(options.folder, options.clock);
    this.#reception = new Reception(options.folder);
  }

  /** Files mirrored, and their bytes. */
  get totals(): { readonly files: number; readonly bytes: number } {
    return { files: this.#files.size, bytes: this.#bytes };
  }

  /** The file that is arriving. */
  get progress(): MirrorProgress | undefined {
    return this.#reception.progress;
  }

  /**
   * Brings the folder up to the device's present state.
   * @returns what could not be done; the next pass tries it again.
   * @throws SkylarkError `device.*` when the device is gone or can't be listed: open it anew, the next pass goes on where
   *   this one stopped; `share.*`; or the signal's reason.
   */
  async pass(device: Device, signal: AbortSignal): Promise<readonly Problem[]> {
    await this.#remember(device.facts.id);
    const listing = await this.#list(device, signal);
    const problems: Problem[] = [];
    const vanished = new Vanished([...listing.gone].flatMap((key) => this.#files.get(key) ?? []));
    for (const file of this.#falls.inOrder(listing.files, this.#reception.key)) {
      if (file.complete) {
        try {
          await this.#attempt(problems, file.name, signal, () =>
            this.#settle(device, file, vanished, signal),
          );
          this.#falls.forget(file.key);
        } catch (thrown) {
          this.#falls.note(file.key, this.#reception.progress?.offset ?? 0);
          throw thrown;
        }
      }
      if (this.#files.has(file.key)) this.#others.delete(file.key);
      else this.#others.add(file.key);
    }
    for (const key of listing.deleted) this.#others.delete(key);
    await this.#reception.abandon();
    await this.#bury([...vanished.files], problems, signal);
    for (const { key, name } of listing.files) {
      await this.#attempt(problems, name, signal, () => this.#improvePath(key));
    }
    if (problems.length === 0 && listing.mark !== this.#mark) {
      await this.#save([{ kind: 'mark', mark: listing.mark }]);
    }
    return problems;
  }

  /** Takes a file that the device offers on its own accord. @throws as `pass`. */
  async take(device: Device, file: DeviceFile, signal: AbortSignal): Promise<readonly Problem[]> {
    await this.#remember(device.facts.id);
    const problems: Problem[] = [];
    await this.#attempt(problems, file.name, signal, () =>
      this.#settle(device, file, new Vanished([]), signal),
    );
    return problems;
  }

  /** The device's file that lies at a path of the folder. */
  at(path: string): MirroredFile | undefined {
    const key = this.#owners.get(path);
    return key === undefined ? undefined : this.#files.get(key);
  }

  /** The owner's files that the device was given, by their paths. */
  get sent(): ReadonlyMap<string, SentFile> {
    return this.#sent;
  }

  /** The device was given a file, or has lost one, by our doing. */
  note(changes: readonly MemoryChange[]): Promise<void> {
    return this.#save(changes);
  }

  /** What has half arrived is kept for the next time. */
  async close(): Promise<void> {
    await this.#reception.close();
  }

  async #remember(deviceId: string): Promise<void> {
    if (this.#deviceId === deviceId) return;
    await this.#reception.abandon();
    const remembered = await this.#options.memory.load(this.#memoryId(deviceId));
    this.#deviceId = deviceId;
    this.#mark = remembered?.mark;
    this.#files.clear();
    this.#owners.clear();
    this.#others.clear();
    this.#falls.clear();
    this.#bytes = 0;
    this.#sent.clear();
    for (const file of remembered?.files ?? []) this.#put(file);
    for (const file of remembered?.sent ?? []) this.#sent.set(file.path, file);
  }

  #memoryId(deviceId: string): string {
    return `${deviceId} ${this.#options.memoryKey}`;
  }

  async #save(changes: readonly MemoryChange[]): Promise<void> {
    if (this.#deviceId === undefined) return;
    await this.#options.memory.save(this.#memoryId(this.#deviceId), changes);
    for (const change of changes) {
      if (change.kind === 'put') this.#put(change.file);
      else if (change.kind === 'forget') this.#forget(change.key);
      else if (change.kind === 'sent') this.#sent.set(change.file.path, change.file);
      else if (change.kind === 'unsent') this.#sent.delete(change.path);
      else this.#mark = change.mark;
    }
  }

  #put(file: MirroredFile): void {
    this.#forget(file.key);
    this.#files.set(file.key, file);
    this.#owners.set(file.path, file.key);
    this.#bytes += file.size;
  }

  #forget(key: string): void {
    const file = this.#files.get(key);
    if (file === undefined) return;
    this.#files.delete(key);
    if (this.#owners.get(file.path) === key) this.#owners.delete(file.path);
    this.#bytes -= file.size;
  }

  /** What changed, or everything if that does not add up. */
  async #list(device: Device, signal: AbortSignal) {
    if (this.#mark !== undefined) {
      const changed = await collectListing(device, this.#mark, signal);
      const known = new Set([...this.#files.keys(), ...this.#others]);
      for (const file of changed.files) known.add(file.key);
      for (const key of changed.deleted) known.delete(key);
      if (changed.whole || changed.total === undefined || changed.total === known.size) {
        return { ...changed, gone: changed.whole ? this.#unlisted(changed.files) : changed.deleted };
      }
    }
    const all = await collectListing(device, undefined, signal);
    this.#others.clear();
    // What was not listed may be there all the same.
    return { ...all, gone: all.whole ? this.#unlisted(all.files) : all.deleted };
  }

  #unlisted(files: readonly DeviceFile[]): ReadonlySet<string> {
    const gone = new Set(this.#files.keys());
    for (const file of files) gone.delete(file.key);
    return gone;
  }

  /** One file's failure must not keep the others; the device's or the share's own does. */
  async #attempt(
    problems: Problem[],
    name: string,
    signal: AbortSignal,
    work: () => Promise<void>,
  ): Promise<void> {
    try {
      await work();
    } catch (thrown) {
      const code = errorCode(thrown);
      if (signal.aborted || GONE_WITH_THE_DEVICE.has(code) || code?.startsWith('share.')) throw thrown;
      problems.push({ name, error: asError(thrown) });
    }
  }

  /** Makes the share's file what the device's file is. */
  async #settle(device: Device, listed: DeviceFile, vanished: Vanished, signal: AbortSignal): Promise<void> {
    const known = this.#files.get(listed.key) ?? vanished.same(listed);
    if (known !== undefined && (await this.#isUnchanged(device, known, listed, signal))) {
      const renamed = known.name === listed.name ? known : await this.#rename(known, listed.name);
      await this.#replace(known, { ...renamed, key: listed.key, version: listed.version }, vanished);
      return;
    }
    const arrived = await this.#reception.receive(device, listed, signal);
    if (arrived === undefined) return;
    const { file, digest } = arrived;
    if (known !== undefined && known.size === file.size && known.digest === digest) {
      await this.#reception.abandon();
      const renamed = known.name === file.name ? known : await this.#rename(known, file.name);
      await this.#replace(known, { ...renamed, key: file.key, version: file.version }, vanished);
      return;
    }
    const earlier = known && known.name !== file.name ? await this.#rename(known, file.name) : known;
    const placed = await this.#place(arrived, earlier);
    const { key, version, name, size } = file;
    const { path, mtimeNs: placedMtimeNs, replaced } = placed;
    await this.#replace(known, { key, version, name, size, digest, path, placedMtimeNs }, vanished);
    if (!placed.adopted) this.#options.onEvent({ kind: 'file-arrived', name, path, size, replaced });
  }

  async #place(arrived: Arrived, earlier: MirroredFile | undefined): Promise<Place> {
    try {
      const placed = await this.#placement.place(arrived, earlier, this.#isTakenByOthers(earlier));
      this.#reception.done();
      return placed;
    } catch (thrown) {
      // Whatever was wrong with it (somebody may have removed the unfinished file), the next try begins anew.
      await this.#reception.abandon();
      throw thrown;
    }
  }

  async #isUnchanged(
    device: Device,
    known: MirroredFile,
    listed: DeviceFile,
    signal: AbortSignal,
  ): Promise<boolean> {
    if (known.size !== listed.size) return false;
    if (known.key === listed.key && known.version === listed.version) return true;
    if (capability(device, 'digest') === undefined) return false;
    try {
      return (await device.digest(listed, signal)) === known.digest;
    } catch (thrown) {
      // It is not even what was listed any more: reading it finds out what it is now.
      if (errorCode(thrown) === 'device.changed' || errorCode(thrown) === 'device.not_found') return false;
      throw thrown;
    }
  }

  async #replace(known: MirroredFile | undefined, file: MirroredFile, vanished: Vanished): Promise<void> {
    const changes: MemoryChange[] = [{ kind: 'put', file }];
    if (known !== undefined && known.key !== file.key) {
      changes.unshift({ kind: 'forget', key: known.key });
      vanished.files.delete(known);
    }
    if (known !== undefined && sameMirrored(known, file)) return;
    await this.#save(changes);
  }

  #isTakenByOthers(known: MirroredFile | undefined): (path: string) => boolean {
    return (path) => {
      const owner = this.#owners.get(path);
      return owner !== undefined && owner !== known?.key;
    };
  }

  /** The share's file follows its name on the device, unless the owner has done something else with it. */
  async #rename(known: MirroredFile, name: string): Promise<MirroredFile> {
    const moved = await this.#placement.rename(known, name, this.#isTakenByOthers(known));
    if (moved.path !== known.path) {
      this.#options.onEvent({ kind: 'file-renamed', from: known.path, path: moved.path });
      await this.#save([{ kind: 'put', file: moved }]);
    }
    return moved;
  }

  /** A file that could not have its name's path, because another was still there, gets it when it is free. */
  async #improvePath(key: string): Promise<void> {
    const file = this.#files.get(key);
    if (file !== undefined && file.path !== pathOfName(file.name)) await this.#rename(file, file.name);
  }

  /** What is gone from the device. */
  async #bury(vanished: readonly MirroredFile[], problems: Problem[], signal: AbortSignal): Promise<void> {
    const { mode } = this.#options;
    const { length } = vanished;
    const all = this.#files.size;
    const most =
      (length >= MASS_DELETION.part && 2 * length > all) || (length >= MASS_DELETION.whole && length === all);
    const held = mode === 'mirror' && most;
    let heldBack = 0;
    for (const file of vanished) {
      signal.throwIfAborted();
      await this.#attempt(problems, file.name, signal, async () => {
        if (mode === 'mirror') {
          const there = await this.#placement.stillThere(file);
          if (there !== undefined && held) {
            heldBack += 1;
            return;
          }
          if (there !== undefined) {
            await this.#options.folder.remove(file.path, there);
            this.#options.onEvent({ kind: 'file-removed', path: file.path });
          }
        }
        const kept = await this.#placement.stillThere(file);
        const { path, size, placedMtimeNs: mtimeNs } = file;
        // What was deleted there is not to be sent there again.
        const sent = kept === undefined ? [] : [{ kind: 'sent', file: { path, size, mtimeNs } } as const];
        await this.#save([{ kind: 'forget', key: file.key }, ...sent]);
      });
    }
    if (heldBack === 0) return;
    const error = deviceError('device.mass_deletion', `${heldBack} files are gone from the device at once`, {
      remedy: 'put its memory back, or delete the files in the share, or set the mode to archive',
    });
    problems.push({ name: '', error });
  }
}

function sameMirrored(a: MirroredFile, b: MirroredFile): boolean {
  return (
    a.key === b.key &&
    a.version === b.version &&
    a.name === b.name &&
    a.path === b.path &&
    a.placedMtimeNs === b.placedMtimeNs &&
    a.size === b.size &&
    a.digest === b.digest
  );
}
