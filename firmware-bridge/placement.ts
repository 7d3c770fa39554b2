/** Finding a file its place in the share's folder, next to what the owner and other devices keep there. */

import type { Clock } from '../agent/base/clock.ts';
import { errorCode } from '../agent/base/errors.ts';
import type { MirroredFile } from './mirror-memory.ts';
import { numberedPath, pathOfName } from './names.ts';
import type { Arrived } from './reception.ts';
import type { PlacedFile, ShareFolder } from './share-folder.ts';
import { crc32c } from './skylink/crc32c.ts';

type IsTaken = (path: string) => boolean;

export interface Place {
  readonly path: string;
  readonly mtimeNs: bigint;
  /** An earlier version of the same file made room for it. */
  readonly replaced: boolean;
  /** The very content lay there already. */
  readonly adopted: boolean;
}

/** Names tried before giving up: `song (1000).mid`. */
const MOST_NUMBERS = 1_000;
/** Somebody else is quicker; so often. */
const MOST_RACES = 10;

export class Placement {
  readonly #folder: ShareFolder;
  readonly #clock: Clock;

  constructor(folder: ShareFolder, clock: Clock) {
    this.#folder = folder;
    this.#clock = clock;
  }

  /** What is at the file's path, if it is still what the mirror placed there. */
  async stillThere(file: MirroredFile): Promise<PlacedFile | undefined> {
    const there = await this.#folder.look(file.path);
    const own = there?.kind === 'file' && there.size === file.size && there.mtimeNs === file.placedMtimeNs;
    return own ? there : undefined;
  }

  /**
   * Puts an arrived file into place: over its earlier version if that is untouched, else beside what is there.
   * @param isTaken whether the path belongs to another file of the device.
   * @throws `files.*`, `share.*`; then the arrived file can be placed again.
   */
  async place(arrived: Arrived, earlier: MirroredFile | undefined, isTaken: IsTaken): Promise<Place> {
    const mtimeNs = arrived.file.mtime ?? this.#clock.now();
    for (let races = 0; ; races++) {
      const over = earlier && (await this.stillThere(earlier));
      try {
        if (earlier !== undefined && over !== undefined) {
          const placed = await arrived.incoming.commit(earlier.path, mtimeNs, over);
          return { path: earlier.path, mtimeNs: placed.mtimeNs, replaced: true, adopted: false };
        }
        return await this.#placeBeside(arrived, mtimeNs, isTaken);
      } catch (thrown) {
        if (errorCode(thrown) !== 'files.changed' || races >= MOST_RACES) throw thrown;
      }
    }
  }

  /** The file as it is known from now on. Its path stays if the owner has changed, moved or deleted it. */
  async rename(file: MirroredFile, name: string, isTaken: IsTaken): Promise<MirroredFile> {
    const renamed = { ...file, name };
    const wanted = pathOfName(name);
    const there = await this.stillThere(file);
    if (wanted === file.path) return renamed;
    if (there === undefined) {
      // Moved already, before a crash could be remembered.
      const moved = { ...renamed, path: wanted };
      return !isTaken(wanted) && (await this.stillThere(moved)) !== undefined ? moved : renamed;
    }
    for (let number = 1; number <= MOST_NUMBERS; number++) {
      const path = numberedPath(wanted, number);
      // It may have had to take a number when it was placed, and that one is still the best.
      if (path === file.path) return renamed;
      if (isTaken(path) || (await this.#folder.look(path)) !== undefined) continue;
      try {
        const moved = await this.#folder.move(file.path, path, there);
        return { ...renamed, path, placedMtimeNs: moved.mtimeNs };
      } catch (thrown) {
        if (errorCode(thrown) === 'files.changed') return renamed;
        if (errorCode(thrown) !== 'files.exists') throw thrown;
      }
    }
    return renamed;
  }

  async #placeBeside(arrived: Arrived, mtimeNs: bigint, isTaken: IsTaken): Promise<Place> {
    const wanted = pathOfName(arrived.file.name);
    // Where a file of the owner's has the name of a folder that is needed, the folders become part of the name.
    const flat = `/${wanted.slice(1).replaceAll('/', '_')}`;
    try {
      return await this.#placeNumbered(arrived, mtimeNs, isTaken, wanted);
    } catch (thrown) {
      const code = errorCode(thrown);
      if (flat === wanted || (code !== 'files.exists' && code !== 'files.absent')) throw thrown;
      return await this.#placeNumbered(arrived, mtimeNs, isTaken, flat);
    }
  }

  async #placeNumbered(arrived: Arrived, mtimeNs: bigint, isTaken: IsTaken, wanted: string): Promise<Place> {
    for (let number = 1; ; number++) {
      const path = numberedPath(wanted, number);
      const there = await this.#folder.look(path);
      if (there !== undefined && !isTaken(path) && (await this.#isSame(path, there, arrived))) {
        // Placed before a crash could be remembered, or put there by the owner: the same bytes are enough.
        await arrived.incoming.abort();
        return { path, mtimeNs: there.mtimeNs, replaced: false, adopted: true };
      }
      if ((there !== undefined || isTaken(path)) && number < MOST_NUMBERS) continue;
      const placed = await arrived.incoming.commit(path, mtimeNs, undefined);
      return { path, mtimeNs: placed.mtimeNs, replaced: false, adopted: false };
    }
  }

  async #isSame(path: string, there: PlacedFile, arrived: Arrived): Promise<boolean> {
    if (there.kind !== 'file' || there.size !== arrived.file.size) return false;
    let digest = 0;
    let size = 0;
    for await (const piece of this.#folder.read(path)) {
      digest = crc32c(piece, digest);
      size += piece.length;
    }
    return size === arrived.file.size && digest === arrived.digest;
  }
}
