/** A share's folder in memory, as strict as the real one: for tests in which time is virtual. */

import { concatBytes } from '../../agent/base/bytes.ts';
import { environmentError } from '../../agent/base/errors.ts';
import type {
  MemoryChange,
  MirroredDevice,
  MirroredFile,
  MirrorMemory,
  SentFile,
} from '../../firmware-bridge/mirror-memory.ts';
import type { IncomingFile, PlacedFile, ShareFolder } from '../../firmware-bridge/share-folder.ts';

interface Placed extends PlacedFile {
  readonly bytes: Uint8Array;
}

export class MemoryFolder implements ShareFolder {
  readonly files = new Map<string, Placed>();
  /** Every content that was ever visible, by path: nothing partial may be among them. */
  readonly seen: { readonly path: string; readonly bytes: Uint8Array }[] = [];
  isSettled = true;
  /** Unfinished files that nobody has let go of. */
  open = 0;
  /** Fails the next step of that kind. */
  failNext: { readonly step: 'begin' | 'write' | 'commit'; readonly error: Error } | undefined;
  /** Unfinished files that were kept, by identity. */
  readonly #kept = new Map<string, Uint8Array>();
  #ticks = 0n;

  /** As a power cut may: what was kept is as long as it was, but not what was written. */
  spoil(): void {
    for (const bytes of this.#kept.values()) bytes.fill(0);
  }

  /** Another program's doing. */
  put(path: string, bytes: Uint8Array): void {
    this.#ticks += 1n;
    this.files.set(path, { kind: 'file', size: bytes.length, mtimeNs: this.#ticks, bytes });
  }

  bytes(path: string): Uint8Array | undefined {
    return this.files.get(path)?.bytes;
  }

  paths(): string[] {
    return [...this.files.keys()].sort();
  }

  async look(path: string): Promise<PlacedFile | undefined> {
    return this.files.get(path);
  }

  async *read(path: string): AsyncGenerator<Uint8Array, void> {
    const file = this.files.get(path);
    if (file === undefined) throw environmentError('files.absent', 'it is not there');
    yield file.bytes;
  }

  async begin(_size: number, identity?: string): Promise<IncomingFile> {
    this.#failIf('begin');
    this.open += 1;
    const parts: Uint8Array[] = [];
    let ended = false;
    const end = () => {
      if (!ended) this.open -= 1;
      ended = true;
    };
    const keep = () => {
      if (identity !== undefined && !ended) this.#kept.set(identity, concatBytes(...parts));
      end();
    };
    const kept = identity === undefined ? undefined : this.#kept.get(identity);
    this.#kept.clear();
    if (kept !== undefined) parts.push(kept);
    return {
      resumed: kept?.length ?? 0,
      stored: async function* () {
        if (kept !== undefined) yield kept;
      },
      keep: async () => keep(),
      write: async (bytes) => {
        this.#failIf('write');
        parts.push(bytes.slice());
      },
      commit: async (path, mtimeNs, seen) => {
        this.#failIf('commit');
        if (this.files.get(path) !== seen) throw environmentError('files.changed', 'something else is there');
        const bytes = concatBytes(...parts);
        const placed: Placed = { kind: 'file', size: bytes.length, mtimeNs, bytes };
        this.files.set(path, placed);
        this.seen.push({ path, bytes });
        end();
        return placed;
      },
      abort: async () => end(),
    };
  }

  async move(from: string, to: string, seen: PlacedFile): Promise<PlacedFile> {
    const file = this.files.get(from);
    if (file === undefined || file !== seen) throw environmentError('files.changed', 'it has changed');
    if (this.files.has(to)) throw environmentError('files.exists', 'something is there');
    this.files.delete(from);
    this.files.set(to, file);
    return file;
  }

  async *list(): AsyncGenerator<{ readonly path: string; readonly file: PlacedFile }, void> {
    for (const [path, file] of [...this.files]) yield { path, file };
  }

  async remove(path: string, seen: PlacedFile): Promise<void> {
    if (this.files.get(path) !== seen) throw environmentError('files.changed', 'it has changed');
    this.files.delete(path);
  }

  #failIf(step: 'begin' | 'write' | 'commit'): void {
    if (this.failNext?.step !== step) return;
    const { error } = this.failNext;
    this.failNext = undefined;
    throw error;
  }
}

interface Remembered {
  mark: string | undefined;
  readonly files: Map<string, MirroredFile>;
  readonly sent: Map<string, SentFile>;
}

export class TestMemory implements MirrorMemory {
  readonly devices = new Map<string, Remembered>();
  saves = 0;
  /** As a crash just before the save that this counts down to. */
  failAt = Number.POSITIVE_INFINITY;

  async load(id: string): Promise<MirroredDevice | undefined> {
    const device = this.devices.get(id);
    if (device === undefined) return undefined;
    return { mark: device.mark, files: [...device.files.values()], sent: [...device.sent.values()] };
  }

  async save(id: string, changes: readonly MemoryChange[]): Promise<void> {
    this.saves += 1;
    if (this.saves >= this.failAt) throw new Error('crashed before it was saved');
    const device = this.devices.get(id) ?? { mark: undefined, files: new Map(), sent: new Map() };
    this.devices.set(id, device);
    for (const change of changes) {
      if (change.kind === 'put') device.files.set(change.file.key, change.file);
      else if (change.kind === 'forget') device.files.delete(change.key);
      else if (change.kind === 'sent') device.sent.set(change.file.path, change.file);
      else if (change.kind === 'unsent') device.sent.delete(change.path);
      else device.mark = change.mark;
    }
  }
}
