/** The folder of a share, through the anchored and atomic file access that all of the agent uses. */

import { utf8 } from '../agent/base/bytes.ts';
import { environmentError, errorCode, internalError } from '../agent/base/errors.ts';
import type { FileFacts, ShareRoot, Temporary } from '../agent/platform/files.ts';
import type { IncomingFile, ListedFile, PlacedFile, ShareFolder } from './share-folder.ts';
import { crc32c } from './skylink/crc32c.ts';

export interface FolderWriterOptions {
  readonly root: ShareRoot;
  /** Within the share, with one leading slash; `/` is the share itself. Made when the first file comes. */
  readonly folder: string;
  /** Tells this device's unfinished file from others in the share: letters, digits, dashes, at most 150. */
  readonly label: string;
  /** Permission bits of files. Default 0o644; folders get the matching x bits. */
  readonly mode?: number;
  /** See `ShareFolder`. Default: always. */
  readonly isSettled?: () => boolean;
}

const READ_PIECE = 65_536;
const MAX_LISTED = 100_000;
/** Left free for everything else on the disk. Bytes. */
const RESERVE = 16n * 1024n * 1024n;

export function openFolderWriter(options: FolderWriterOptions): ShareFolder {
  return new FolderWriter(options);
}

/** What was seen, with what is needed to notice any change since. */
class Seen implements PlacedFile {
  readonly facts: FileFacts;
  constructor(facts: FileFacts) {
    this.facts = facts;
  }
  get kind(): PlacedFile['kind'] {
    return this.facts.kind === 'file' ? 'file' : 'other';
  }
  get size(): number {
    return Number(this.facts.size);
  }
  get mtimeNs(): bigint {
    return this.facts.mtimeNs;
  }
}

class FolderWriter implements ShareFolder {
  readonly #root: ShareRoot;
  readonly #folder: string;
  readonly #label: string;
  readonly #mode: number;
  readonly #isSettled: () => boolean;
  #isTidy = false;

  constructor({ root, folder, label, mode = 0o644, isSettled = () => true }: FolderWriterOptions) {
    this.#root = root;
    this.#folder = folder === '/' ? '' : folder;
    this.#label = `bridge-${label}`;
    this.#mode = mode;
    this.#isSettled = isSettled;
  }

  get isSettled(): boolean {
    return this.#isSettled();
  }

  async look(path: string): Promise<PlacedFile | undefined> {
    const facts = await this.#root.look(this.#folder + path);
    return facts && new Seen(facts);
  }

  async *list(): AsyncGenerator<ListedFile, void> {
    const folders = [''];
    let count = 0;
    for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
      try {
        for await (const batch of this.#root.list(this.#folder + folder || '/')) {
          for (const entry of batch) {
            if (entry.name === undefined || !('facts' in entry) || entry.facts === undefined) continue;
            const path = `${folder}/${entry.name}`;
            if (entry.facts.kind === 'directory') folders.push(path);
            else if (entry.facts.kind === 'file' && count++ < MAX_LISTED)
              yield { path, file: new Seen(entry.facts) };
          }
        }
      } catch (thrown) {
        // Nothing was put there yet, or it was taken away meanwhile; or a folder is closed to us.
        if (errorCode(thrown) !== 'files.absent' && errorCode(thrown) !== 'files.not_permitted') throw thrown;
      }
    }
  }

  async *read(path: string): AsyncGenerator<Uint8Array, void> {
    const file = await this.#root.openFile(this.#folder + path);
    try {
      for (let position = 0n; ; ) {
        const piece = new Uint8Array(READ_PIECE);
        const length = await file.read(piece, position);
        if (length === 0) return;
        yield piece.subarray(0, length);
        position += BigInt(length);
      }
    } finally {
      await file.close();
    }
  }

  async begin(size: number, identity?: string): Promise<IncomingFile> {
    if ((await this.#root.freeSpace()) < BigInt(size) + RESERVE) {
      throw environmentError('files.no_space', `there is no room for a file of ${size} bytes`, {
        remedy: 'free some space',
      });
    }
    const mark = identity === undefined ? '' : `-${crc32c(utf8(identity)).toString(16)}-${size}`;
    const label = this.#label + mark;
    await this.#tidy(label);
    const temporary = await this.#root.openTemporary(label, { resume: true });
    let resumed = identity === undefined ? 0n : temporary.resumedSize;
    if (resumed > BigInt(size)) resumed = 0n;
    try {
      await temporary.resize(resumed);
    } catch (thrown) {
      await temporary.discard();
      throw thrown;
    }
    return new Incoming(temporary, resumed, (path, mtimeNs, seen) =>
      this.#commit(temporary, path, mtimeNs, seen),
    );
  }

  /** What was left of anything else is of no use any more, so that it never piles up. */
  async #tidy(label: string): Promise<void> {
    if (this.#isTidy) return;
    for (const other of await this.#root.listTemporaries()) {
      const isOwn = other === this.#label || other.startsWith(`${this.#label}-`);
      if (isOwn && other !== label) await (await this.#root.openTemporary(other, { resume: true })).discard();
    }
    this.#isTidy = true;
  }

  async move(from: string, to: string, seen: PlacedFile): Promise<PlacedFile> {
    await this.#makeParents(to);
    return new Seen(await this.#root.move(this.#folder + from, this.#folder + to, factsOf(seen)));
  }

  async remove(path: string, seen: PlacedFile): Promise<void> {
    await this.#root.removeFile(this.#folder + path, factsOf(seen));
  }

  async #commit(
    temporary: Temporary,
    path: string,
    mtimeNs: bigint,
    seen: PlacedFile | undefined,
  ): Promise<PlacedFile> {
    await this.#makeParents(path);
    const expected = seen === undefined ? 'absent' : factsOf(seen);
    const facts = await temporary.commit(this.#folder + path, { mode: this.#mode, mtimeNs, expected });
    return new Seen(facts);
  }

  async #makeParents(path: string): Promise<void> {
    const components = (this.#folder + path).split('/').slice(1, -1);
    let parent = '';
    for (const component of components) {
      parent += `/${component}`;
      await this.#root.makeDirectory(parent, this.#mode | ((this.#mode & 0o444) >> 2));
    }
  }
}

class Incoming implements IncomingFile {
  readonly #temporary: Temporary;
  readonly commit: IncomingFile['commit'];
  readonly resumed: number;
  #length: bigint;

  constructor(temporary: Temporary, resumed: bigint, commit: IncomingFile['commit']) {
    this.#temporary = temporary;
    this.commit = commit;
    this.resumed = Number(resumed);
    this.#length = resumed;
  }

  async *stored(): AsyncGenerator<Uint8Array, void> {
    const end = BigInt(this.resumed);
    for (let position = 0n; position < end; ) {
      const left = Number(end - position);
      const piece = new Uint8Array(Math.min(READ_PIECE, left));
      const length = await this.#temporary.read(piece, position);
      if (length === 0) throw environmentError('files.changed', 'an unfinished file has become shorter');
      yield piece.subarray(0, length);
      position += BigInt(length);
    }
  }

  async write(bytes: Uint8Array): Promise<void> {
    await this.#temporary.write(bytes, this.#length);
    this.#length += BigInt(bytes.length);
  }

  async abort(): Promise<void> {
    try {
      await this.#temporary.discard();
    } catch {
      // What can't be removed is used up by the next file.
    }
  }

  async keep(): Promise<void> {
    try {
      await this.#temporary.close();
    } catch {
      // Then it is as a crash would leave it.
    }
  }
}

function factsOf(seen: PlacedFile): FileFacts {
  if (seen instanceof Seen) return seen.facts;
  throw internalError('bridge.seen_elsewhere', 'a file was not seen by this folder');
}
