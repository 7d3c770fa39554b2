/**
 * Comparing the disk with the index, directory by directory: what differs is marked in the index and examined later, so
 * that the whole list is known before the first file is read, nothing is held in memory that grows with the number of
 * files, and a crash forgets nothing. Where a directory can't be read, nothing below it counts as gone.
 */

import { describeError, errorCode } from '../base/errors.ts';
import { type FileFacts, type ListedEntry, parentOf, type ShareRoot } from '../platform/files.ts';
import type { IndexRow, LocalIndex } from './local-index.ts';
import { joinPath, nameRefusalOf } from './paths.ts';
import { outsideObstacle, type Selection } from './selection.ts';

export interface ScanOptions {
  readonly root: ShareRoot;
  readonly index: LocalIndex;
  /** What it does not want is not looked at, but for its being there. */
  readonly selection: Selection;
  readonly signal: AbortSignal;
  /** Only what is directly in the directory. */
  readonly isShallow?: boolean;
  /** What is new counts as having been there before we joined. */
  readonly isJoining: boolean;
  /** Called before a directory (local path) is listed, so that nothing that changes after the listing is missed. */
  readonly onDirectory: (path: string) => Promise<void>;
  /** Something can't be synced or looked at: `path.not_unicode`, `path.special`, `files.not_permitted`, ... */
  readonly onObstacle: (obstacle: Obstacle) => void;
  /** Called now and then with the number of entries looked at so far. */
  /** A directory was listed, or is gone; or could not be, with the code that says why. */
  readonly onListed?: (
    directory: { readonly path: string; readonly localPath: string },
    failure: string | undefined,
  ) => void;
  readonly onProgress?: (entries: number) => void;
}

export interface Obstacle {
  /** Local path, for people; names that are not UTF-8 are shown with replacement characters. */
  readonly path: string;
  readonly code: string;
  readonly message: string;
}

export interface ScanResult {
  readonly entries: number;
  /** New, or different from the index: marked `examine`. */
  readonly differing: number;
  /** No longer there: marked `gone`. */
  readonly gone: number;
}

/** Milliseconds of work after which others get their turn. */
const SLICE_MS = 8;

/** Differences that are noted in one transaction: each is a write to the disk. */
const FLUSH = 1_024;

interface Directory {
  readonly path: string;
  readonly localPath: string;
}

interface Difference {
  readonly path: string;
  readonly facts: FileFacts;
  readonly isKnown: boolean;
}

/**
 * Scans the directory `path` (a path of the share) and everything below it.
 * @throws the signal's reason; SkylarkError `share.*` if the root is not there: nothing is marked as gone then.
 */
export async function scanTree(path: string, options: ScanOptions): Promise<ScanResult> {
  const scan = new Scan(options);
  return scan.run(path);
}

class Scan {
  readonly #options: ScanOptions;
  #entries = 0;
  #differing = 0;
  #gone = 0;
  #sliceEnd = performance.now() + SLICE_MS;
  #differences: Difference[] = [];

  constructor(options: ScanOptions) {
    this.#options = options;
  }

  async run(path: string): Promise<ScanResult> {
    const { index, root } = this.#options;
    const localPath = index.localPath(path);
    const facts = await root.look(localPath);
    if (facts?.kind === 'directory') {
      if (path === '/') this.#compareRoot(facts);
      // Depth first, so that the list of directories to come stays short.
      const open: Directory[] = [{ path, localPath }];
      for (let next = open.pop(); next !== undefined; next = open.pop()) await this.#directory(next, open);
    }
    this.#flush();
    return { entries: this.#entries, differing: this.#differing, gone: this.#gone };
  }

  async #directory(directory: Directory, open: Directory[]): Promise<void> {
    const { root, index, signal, onDirectory, onObstacle, onListed, onProgress } = this.#options;
    let seen = 0;
    try {
      await onDirectory(directory.localPath);
      for await (const batch of root.list(directory.localPath)) {
        signal.throwIfAborted();
        seen += this.#compare(directory, batch, open);
        onProgress?.(this.#entries);
        await this.#breathe();
      }
    } catch (thrown) {
      signal.throwIfAborted();
      const code = errorCode(thrown);
      if (code?.startsWith('share.') || !code?.startsWith('files.')) throw thrown;
      // Gone while we came: its parent's listing was too early, and a watch or the next scan tells.
      const isGone = code === 'files.absent';
      if (isGone) this.#markUncertain(directory.path);
      else onObstacle({ path: directory.localPath, code, message: describeError(thrown) });
      onListed?.(directory, isGone ? undefined : code);
      return;
    }
    onListed?.(directory, undefined);
    // Names that the listing showed twice or that came meanwhile make this a hint, not a proof.
    if (seen < index.countChildren(directory.path) + this.#unwritten(directory.path))
      await this.#findGone(directory.path);
  }

  /** How many of the entries the index knows, or will when the differences are written. */
  #compare(directory: Directory, batch: readonly ListedEntry[], open: Directory[]): number {
    const { index, isShallow } = this.#options;
    const entries = new Map<string, FileFacts>();
    const start = directory.path === '/' ? 1 : directory.path.length + 1;
    let unseen = 0;
    for (const entry of batch) {
      this.#entries += 1;
      const path = this.#usablePath(directory, entry);
      if (path === undefined || entry.name === undefined) continue;
      if (entry.facts === undefined) {
        // It is there, whatever it is: not gone, not changed.
        if (index.byPath(path) !== undefined) unseen += 1;
        continue;
      }
      if (!this.#isSelected(path, entry.facts, joinPath(directory.localPath, entry.name))) {
        if (index.byPath(path) !== undefined) unseen += 1;
        continue;
      }
      entries.set(path.slice(start), entry.facts);
      if (entry.facts.kind === 'directory' && !isShallow)
        open.push({ path, localPath: joinPath(directory.localPath, entry.name) });
    }
    const { known, differing } = index.compare(directory.path, entries);
    let added = 0;
    for (const { name, isKnown } of differing) {
      const facts = entries.get(name);
      if (facts === undefined) continue;
      this.#differences.push({ path: joinPath(directory.path, name), facts, isKnown });
      if (!isKnown) added += 1;
    }
    if (this.#differences.length >= FLUSH) this.#flush();
    return known + added + unseen;
  }

  /** Undefined for what is no file or directory, or has no name that can be synced. */
  #usablePath(directory: Directory, entry: ListedEntry): string | undefined {
    const { index, onObstacle } = this.#options;
    if (entry.name === undefined) {
      const path = joinPath(directory.localPath, entry.shown);
      onObstacle({ path, code: 'path.not_unicode', message: 'its name is not UTF-8, so it is not synced' });
      return undefined;
    }
    const localPath = joinPath(directory.localPath, entry.name);
    if (entry.facts === undefined) {
      onObstacle({ path: localPath, code: entry.error.code, message: entry.error.message });
      return index.sharePath(directory.path, entry.name);
    }
    const obstacle = obstacleOf(entry.name, entry.facts);
    if (obstacle !== undefined) {
      onObstacle({ path: localPath, ...obstacle });
      return undefined;
    }
    return index.sharePath(directory.path, entry.name);
  }

  #isSelected(path: string, { kind }: FileFacts, localPath: string): boolean {
    if (kind !== 'file' && kind !== 'directory') return true;
    const standing = this.#options.selection.standing(path, kind);
    if (standing === 'outside') this.#options.onObstacle(outsideObstacle(localPath));
    return standing === 'wanted';
  }

  #flush(): void {
    const { index, isJoining } = this.#options;
    const differences = this.#differences;
    if (differences.length === 0) return;
    this.#differences = [];
    index.transaction(() => {
      for (const { path, facts, isKnown } of differences) {
        // It may have been noted since it was listed.
        if (isKnown || index.byPath(path) !== undefined) index.setMark(path, 'examine');
        else index.put(newRow(path, facts, isJoining), 'examine');
      }
    });
    this.#differing += differences.length;
  }

  /** New children of the directory that the index will count once they are written. */
  #unwritten(directory: string): number {
    let count = 0;
    for (let i = this.#differences.length - 1; i >= 0; i--) {
      const { path, isKnown } = this.#differences[i]!;
      if (parentOf(path) !== directory) break;
      if (!isKnown && path !== '/') count += 1;
    }
    return count;
  }

  #compareRoot(facts: FileFacts): void {
    const row = this.#options.index.byPath('/');
    if (row === undefined || row.ino !== facts.ino || row.mode !== (facts.mode & 0o777))
      this.#differences.push({ path: '/', facts, isKnown: row !== undefined });
  }

  /** Asks for every known child of the directory whether it is still there. */
  async #findGone(directory: string): Promise<void> {
    const { index, root, signal, selection } = this.#options;
    for (const row of index.children(directory)) {
      signal.throwIfAborted();
      let facts: FileFacts | undefined;
      try {
        facts = await root.lookExactly(index.localPath(row.path));
      } catch (thrown) {
        const code = errorCode(thrown);
        if (code?.startsWith('share.') || !code?.startsWith('files.')) throw thrown;
        continue;
      }
      await this.#breathe();
      if (facts !== undefined && (facts.kind === 'file' || facts.kind === 'directory')) {
        // A folder in the place of a file may be ignored where the file was not.
        const isReplaced =
          selection.isWanted(row.path, row.kind) && !selection.isWanted(row.path, facts.kind);
        if (!isReplaced) continue;
      }
      this.#gone += 1;
      if (row.kind === 'directory') index.markTree(row.path, 'gone');
      else index.setMark(row.path, 'gone');
    }
  }

  #markUncertain(path: string): void {
    if (this.#options.index.byPath(path) !== undefined) this.#options.index.setMark(path, 'examine');
  }

  async #breathe(): Promise<void> {
    if (performance.now() < this.#sliceEnd) return;
    await new Promise<void>((resolve) => setImmediate(resolve));
    this.#sliceEnd = performance.now() + SLICE_MS;
  }
}

/** Why something on the disk is not synced; undefined for files and directories with a usable name. */
export function obstacleOf(name: string, facts: FileFacts): Omit<Obstacle, 'path'> | undefined {
  if (facts.kind === 'symlink')
    return { code: 'path.symlink', message: 'it is a symbolic link, so it is not synced' };
  if (facts.kind === 'special')
    return { code: 'path.special', message: 'it is a device, pipe or socket, so it is not synced' };
  const refusal = nameRefusalOf(name);
  if (refusal === undefined) return undefined;
  return { code: `path.${refusal}`, message: 'other peers could not take its name, so it is not synced' };
}

/** What is on the disk and in no record yet. */
export function newRow(path: string, facts: FileFacts, found: boolean): IndexRow {
  return {
    path,
    kind: facts.kind === 'directory' ? 'directory' : 'file',
    ino: facts.ino,
    size: facts.kind === 'directory' ? 0n : facts.size,
    mtimeNs: facts.mtimeNs,
    ctimeNs: facts.ctimeNs,
    mode: facts.mode & 0o777,
    sha256: undefined,
    uuid: undefined,
    clock: undefined,
    found,
    localName: undefined,
  };
}
