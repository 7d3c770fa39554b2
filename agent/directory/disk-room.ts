/**
 * How much more the share may put on its file system: a reserve stays free for everything else, so that no member can
 * fill the disk by announcing ever more. What does not fit waits, smaller contents may pass, and it goes on by itself
 * when there is room.
 */

import type { Clock, Timer } from '../base/clock.ts';
import { environmentError, type SkylarkError } from '../base/errors.ts';
import type { ShareRoot } from '../platform/files.ts';

export interface DiskRoomOptions {
  readonly root: Pick<ShareRoot, 'space'>;
  readonly clock: Clock;
  /** Bytes that stay free. Default: see `defaultReserve`. */
  readonly reserve?: bigint | undefined;
  /** Whether these contents are still to come. */
  readonly isWanted: (sha256: string) => boolean;
  /** Told of every refusal. */
  readonly onShort: (error: SkylarkError) => void;
  /** Something that was refused would fit now. */
  readonly onRoom: () => void;
  /** Nothing waits for room any more. */
  readonly onEnough: () => void;
}

export const NO_ROOM = 'files.no_room';

/** How long one look at the file system is good for, and how often it is looked at while something waits. */
const FRESH_MS = 500;
const CHECK_MS = 2_000;
/** Refusals that are remembered one by one. */
const MAX_REFUSED = 1_024;
/** What is no content of its own (a copy for the archive) is tried again in the meantime, or forgotten. */
const OTHER_MS = 150_000;
const LEAST_RESERVE = 67_108_864n;

interface Refused {
  readonly size: bigint;
  /** Monotonic milliseconds; undefined: as long as the contents are wanted. */
  readonly until: number | undefined;
}

/** 1 % of the file system, at least 64 MiB, but of a small one not more than a tenth. @param total its size, bytes. */
export function defaultReserve(total: bigint): bigint {
  const wanted = total / 100n > LEAST_RESERVE ? total / 100n : LEAST_RESERVE;
  return wanted < total / 10n ? wanted : total / 10n;
}

export class DiskRoom {
  readonly #options: DiskRoomOptions;
  #space: { readonly free: bigint; readonly total: bigint } | undefined;
  #lookedAt = Number.NEGATIVE_INFINITY;
  #looking: Promise<void> | undefined;
  /** Written since the last look. */
  #spent = 0n;
  /** Bytes that are still to be written of what is under way. */
  readonly #underWay = new Map<string, bigint>();
  /** Their sum. */
  #promised = 0n;
  readonly #refused = new Map<string, Refused>();
  /** The least that was refused and is not remembered for itself, bytes. */
  #leastOther: bigint | undefined;
  #isShort = false;
  #timer: Timer | undefined;
  #copies = 0;
  #isClosed = false;

  constructor(options: DiskRoomOptions) {
    this.#options = options;
  }

  /** Whether the last look is recent enough for `fits` and `begin`. */
  get isFresh(): boolean {
    return this.#options.clock.monotonic() - this.#lookedAt < FRESH_MS;
  }

  /** @throws SkylarkError `share.*`, `files.*` if the folder is not there. */
  look(): Promise<void> {
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  /** Whether so many bytes of these contents may be fetched; if not, that is told, and remembered. */
  fits(sha256: string, size: bigint): boolean {
    return this.#underWay.has(sha256) || this.#mayTake(sha256, size, undefined);
  }

  /** As `fits`; if so, they count as taken until `end`. */
  begin(sha256: string, size: bigint): boolean {
    if (this.#underWay.has(sha256)) return true;
    if (!this.#mayTake(sha256, size, undefined)) return false;
    this.#promise(sha256, size);
    return true;
  }

  /** So many of the bytes under way were written. */
  wrote(sha256: string, bytes: number): void {
    const left = this.#underWay.get(sha256);
    if (left === undefined) return;
    const count = left < BigInt(bytes) ? left : BigInt(bytes);
    this.#underWay.set(sha256, left - count);
    this.#promised -= count;
    this.#spent += count;
  }

  /** They are in their place, or are not coming. Until the next look, the file system may not show which. */
  end(sha256: string): void {
    const left = this.#underWay.get(sha256) ?? 0n;
    this.#underWay.delete(sha256);
    this.#promised -= left;
    this.#spent += left;
  }

  /**
   * Runs work that writes `size` bytes.
   * @param sha256 of the contents that are to come so; undefined: not for the share's files
   * @throws SkylarkError (environment) `files.no_room`; what `work` throws.
   */
  async during<T>(sha256: string | undefined, size: bigint, work: () => Promise<T>): Promise<T> {
    if (!this.isFresh) await this.look();
    this.#copies += 1;
    const id = `copy ${this.#copies}`;
    const until = sha256 === undefined ? this.#options.clock.monotonic() + OTHER_MS : undefined;
    if (!this.#mayTake(sha256 ?? id, size, until)) throw this.#error();
    this.#promise(id, size);
    try {
      return await work();
    } finally {
      this.end(id);
    }
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
  }

  #promise(id: string, size: bigint): void {
    this.#underWay.set(id, size);
    this.#promised += size;
  }

  async #look(): Promise<void> {
    const before = this.#spent;
    this.#space = await this.#options.root.space();
    this.#spent -= before;
    this.#lookedAt = this.#options.clock.monotonic();
  }

  get #reserve(): bigint {
    return this.#options.reserve ?? defaultReserve(this.#space?.total ?? 0n);
  }

  #isRoomFor(size: bigint): boolean {
    // Some file systems don't say how large they are.
    if (this.#space === undefined || this.#space.total === 0n) return true;
    return size <= this.#space.free - this.#spent - this.#promised - this.#reserve;
  }

  #mayTake(id: string, size: bigint, until: number | undefined): boolean {
    if (size === 0n || this.#isRoomFor(size)) {
      this.#refused.delete(id);
      this.#checkEnough();
      return true;
    }
    if (this.#refused.size < MAX_REFUSED || this.#refused.has(id)) this.#refused.set(id, { size, until });
    else if (this.#leastOther === undefined || size < this.#leastOther) this.#leastOther = size;
    if (!this.#isShort) this.#options.onShort(this.#error());
    this.#isShort = true;
    this.#wait();
    return false;
  }

  #error(): SkylarkError {
    const megabytes = (this.#reserve + 999_999n) / 1_000_000n;
    return environmentError(NO_ROOM, `the disk is full but for the ${megabytes} MB that are kept free`, {
      remedy: 'make room on the disk',
    });
  }

  #wait(): void {
    if (this.#isClosed) return;
    this.#timer ??= this.#options.clock.after(CHECK_MS, () => {
      this.#timer = undefined;
      // Where the folder is not there, that is told elsewhere.
      void this.look()
        .catch(() => undefined)
        .then(() => this.#check());
    });
  }

  #check(): void {
    if (this.#isClosed) return;
    const now = this.#options.clock.monotonic();
    let isRoom = false;
    for (const [id, { size, until }] of this.#refused) {
      const isOver = until === undefined ? !this.#options.isWanted(id) : until <= now;
      if (isOver) this.#refused.delete(id);
      else if (this.#isRoomFor(size)) isRoom = true;
    }
    // Whether the others are still wanted is not known: when there is place for them here, they are to ask again.
    if (this.#leastOther !== undefined)
      isRoom ||= this.#isRoomFor(this.#leastOther) || this.#refused.size <= MAX_REFUSED / 2;
    this.#checkEnough();
    if (!this.#isWaiting) return;
    if (isRoom) {
      // What still does not fit is refused once more.
      this.#refused.clear();
      this.#leastOther = undefined;
      this.#options.onRoom();
    }
    this.#wait();
  }

  get #isWaiting(): boolean {
    return this.#refused.size > 0 || this.#leastOther !== undefined;
  }

  #checkEnough(): void {
    if (!this.#isShort || this.#isWaiting) return;
    this.#isShort = false;
    this.#options.onEnough();
  }
}
