/** What the mirror needs of the folder of a share that it fills. Paths have one leading slash and begin at that folder. */

export interface PlacedFile {
  /** `other`: a folder, a link: nothing that the mirror made. */
  readonly kind: 'file' | 'other';
  readonly size: number;
  /** Nanoseconds since 1970. */
  readonly mtimeNs: bigint;
}

export interface ListedFile {
  readonly path: string;
  readonly file: PlacedFile;
}

export interface ShareFolder {
  /** What is at the path; undefined if nothing is. */
  look(path: string): Promise<PlacedFile | undefined>;
  /**
   * All that was done in the folder is known, and nothing of it is held back: what is not there now was deleted by its
   * owner, and is not merely missing.
   */
  readonly isSettled: boolean;
  /** Regular files in the folder and below, 100,000 at most; not ours, not links. @throws `files.*`, `share.*`. */
  list(): AsyncIterable<ListedFile>;
  /** The content of a file. */
  read(path: string): AsyncIterable<Uint8Array>;
  /**
   * Begins a file of `size` bytes that nobody sees before it is committed. One at a time.
   * @param identity tells this content from any other: what was kept of it, or left by a crash, is there already. Nothing
   *   but a checksum of the whole proves that it is right.
   * @throws `files.no_space` when that can't fit.
   */
  begin(size: number, identity?: string): Promise<IncomingFile>;
  /** Renames a file that is still as it was seen; replaces nothing. What it is afterwards. @throws `files.changed`, `files.exists`. */
  move(from: string, to: string, seen: PlacedFile): Promise<PlacedFile>;
  /** Removes a file that is still as it was seen. @throws `files.changed`. */
  remove(path: string, seen: PlacedFile): Promise<void>;
}

export interface IncomingFile {
  /** Bytes that were there when it was begun; writing goes on behind them. */
  readonly resumed: number;
  /** These bytes. */
  stored(): AsyncIterable<Uint8Array>;
  write(bytes: Uint8Array): Promise<void>;
  /**
   * Puts it in place, whole and durable. `seen` is what it may replace; undefined: nothing may be there. It is used up
   * only when this resolves. @throws `files.changed` when something else is there.
   */
  commit(path: string, mtimeNs: bigint, seen: PlacedFile | undefined): Promise<PlacedFile>;
  /** Forgets it. Never rejects. */
  abort(): Promise<void>;
  /** Lets go of it, for a later `begin` with the same identity. Never rejects. */
  keep(): Promise<void>;
}
