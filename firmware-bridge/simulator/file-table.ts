/** A simulated device's own memory: files with IDs and generations, a change counter, remembered deletions. */

import { crc32c } from '../skylink/crc32c.ts';
import { type FileFacts, Refusal } from '../skylink/device.ts';
import type { MessageOf } from '../skylink/fields.ts';
import {
  FILE_FLAG,
  type WRITE_BEGIN,
  type WRITE_COMMIT,
  type WRITE_DATA,
  WRITE_FLAG,
} from '../skylink/messages.ts';

export interface StoredFile {
  readonly id: number;
  readonly generation: number;
  readonly name: string;
  /** Seconds since 1970. */
  readonly mtime: number;
  readonly bytes: Uint8Array;
  readonly open: boolean;
}

interface Entry extends StoredFile {
  /** The change counter at its last change of any kind. */
  readonly changed: number;
}

interface Transfer {
  readonly begin: MessageOf<typeof WRITE_BEGIN>;
  readonly bytes: Uint8Array;
  length: number;
}

/** Beyond this many bytes in all, the device is full. */
const CAPACITY = 64 * 1024 * 1024;

export class FileTable {
  readonly #files = new Map<number, Entry>();
  /** ID of a deleted file -> the change counter then. */
  readonly #deleted = new Map<number, number>();
  readonly #onChange: (counter: number) => void;
  #counter = 0;
  #nextId = 1;
  #transfer: Transfer | undefined;
  #committed: { readonly transfer: number; readonly id: number; readonly generation: number } | undefined;

  constructor(onChange: (counter: number) => void) {
    this.#onChange = onChange;
  }

  get counter(): number {
    return this.#counter;
  }

  get files(): readonly StoredFile[] {
    return [...this.#files.values()];
  }

  get(id: number): StoredFile | undefined {
    return this.#files.get(id);
  }

  /** A new file, or another content for one that is there: then its ID stays and its generation is new. */
  put(file: Omit<StoredFile, 'id' | 'generation'>, id: number = this.#nextId++): StoredFile {
    const changed = this.#counter + 1;
    const entry = { ...file, id, generation: changed, changed };
    this.#files.set(id, entry);
    this.#change();
    return entry;
  }

  /** The content stays, and so does the generation. */
  rename(id: number, name: string): void {
    const file = this.#files.get(id);
    if (file === undefined) throw new Refusal('notFound');
    this.#files.set(id, { ...file, name, changed: this.#counter + 1 });
    this.#change();
  }

  remove(id: number): void {
    if (!this.#files.delete(id)) throw new Refusal('notFound');
    this.#deleted.set(id, this.#counter + 1);
    this.#change();
  }

  /** The same files under other IDs, in another order, from a counter that begins anew. */
  renumber(): void {
    const files = this.files.toReversed();
    this.#files.clear();
    this.#deleted.clear();
    this.#counter = 0;
    this.#nextId = 1;
    for (const { name, mtime, bytes, open } of files) this.put({ name, mtime, bytes, open });
  }

  /** What a restart forgets. */
  forgetTransfers(): void {
    this.#transfer = undefined;
    this.#committed = undefined;
  }

  list(since: number): readonly FileFacts[] {
    const live = [...this.#files.values()].filter((file) => file.changed > since).map(factsOf);
    const gone = since === 0 ? [] : [...this.#deleted].filter(([, changed]) => changed > since);
    return [...live, ...gone.map(([id]) => tombstone(id))].sort((a, b) => a.id - b.id);
  }

  stat(id: number): FileFacts | undefined {
    const file = this.#files.get(id);
    return file && factsOf(file);
  }

  read(id: number, offset: number, length: number): Uint8Array {
    const file = this.#files.get(id);
    if (file === undefined) throw new Refusal('notFound');
    return file.bytes.subarray(offset, offset + length);
  }

  hash(id: number, offset: number, length: number): number {
    return crc32c(this.read(id, offset, length));
  }

  beginWrite(begin: MessageOf<typeof WRITE_BEGIN>): { readonly offset: number } {
    const present = this.#transfer;
    if (present?.begin.transfer === begin.transfer && present.begin.size === begin.size) {
      return { offset: present.length };
    }
    const used = this.files.reduce((sum, file) => sum + file.bytes.length, 0);
    if (used + begin.size > CAPACITY) throw new Refusal('full');
    if (this.#named(begin.name) && !(begin.flags & WRITE_FLAG.replace)) throw new Refusal('exists');
    this.#transfer = { begin, bytes: new Uint8Array(begin.size), length: 0 };
    return { offset: 0 };
  }

  writeData({ transfer, offset, data }: MessageOf<typeof WRITE_DATA>): number {
    const present = this.#transfer;
    if (present?.begin.transfer !== transfer) throw new Refusal('transfer');
    if (offset + data.length > present.bytes.length) throw new Refusal('range');
    if (offset === present.length) {
      present.bytes.set(data, offset);
      present.length += data.length;
    }
    return present.length;
  }

  commitWrite(commit: MessageOf<typeof WRITE_COMMIT>): { readonly id: number; readonly generation: number } {
    const { transfer, size, crc } = commit;
    // The answer was lost and the question came again.
    if (this.#committed?.transfer === transfer) {
      return { id: this.#committed.id, generation: this.#committed.generation };
    }
    const present = this.#transfer;
    if (present?.begin.transfer !== transfer) throw new Refusal('transfer');
    if (present.length !== size || crc32c(present.bytes) !== crc) {
      this.#transfer = undefined;
      throw new Refusal('transfer', 'the content is damaged');
    }
    const { name, mtime } = present.begin;
    const file = this.put({ name, mtime, bytes: present.bytes, open: false }, this.#named(name)?.id);
    this.#transfer = undefined;
    this.#committed = { transfer, id: file.id, generation: file.generation };
    return { id: file.id, generation: file.generation };
  }

  #named(name: string): StoredFile | undefined {
    return this.files.find((file) => file.name === name);
  }

  #change(): void {
    this.#counter += 1;
    this.#onChange(this.#counter);
  }
}

function factsOf(file: StoredFile): FileFacts {
  const { id, generation, mtime, name, bytes, open } = file;
  return { id, generation, size: bytes.length, mtime, flags: open ? FILE_FLAG.open : 0, name };
}

function tombstone(id: number): FileFacts {
  return { id, generation: 0, size: 0, mtime: 0, flags: FILE_FLAG.deleted, name: '' };
}
