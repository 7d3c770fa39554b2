/**
 * The first synchronisation of a folder that was not empty (protocol: "nothing is erased"). Files that belong to a record
 * stay, files that are in the way go to the archive at once; what is left over when everything has arrived goes there at
 * the end.
 */

import type { Clock, Timer } from '../base/clock.ts';
import { asError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { IndexRow, LocalIndex } from './local-index.ts';
import type { Selection } from './selection.ts';

export interface JoiningOptions {
  readonly index: LocalIndex;
  /** What it does not want stays where it is. */
  readonly selection: Selection;
  /** Whether anything is still to be placed that can come. */
  readonly isPending: () => boolean;
  readonly clock: Clock;
  readonly log: Logger;
  /** Everything that was found in the folder has been read. */
  readonly isRead: () => boolean;
  /** Told when that has become true. */
  readonly onRead: () => void;
  /** A peer is connected, and records have come. */
  readonly isSupplied: () => boolean;
  readonly toArchive: (row: IndexRow) => Promise<void>;
  /** What is left over can't be archived; it is tried again. */
  readonly onTrouble: (error: Error) => void;
  readonly onEnd: () => void;
  /** Milliseconds without anything new, after which the first synchronisation is taken to be over. */
  readonly quiet?: number;
}

const SETTING = 'joining';
const CHECK_MS = 250;
const QUIET_MS = 10_000;

/** Whether the share's first synchronisation is still to be ended. */
export function isJoining(index: LocalIndex): boolean {
  return index.setting(SETTING) === 'yes';
}

/** To be called when a share is opened for the first time, before anything of the folder is looked at. */
export function beginJoining(index: LocalIndex): void {
  if (index.setting(SETTING) === undefined) index.setSetting(SETTING, 'yes');
}

export class Joining {
  readonly #options: JoiningOptions;
  #quietSince: number;
  #timer: Timer | undefined;
  #isRead = false;
  #isClosed = false;

  constructor(options: JoiningOptions) {
    this.#options = options;
    this.#quietSince = options.clock.monotonic();
    this.#wait();
  }

  /** Everything that was found is known by its contents. */
  get isRead(): boolean {
    return this.#isRead;
  }

  /** Something new came. */
  disturb(): void {
    this.#quietSince = this.#options.clock.monotonic();
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
  }

  #wait(): void {
    this.#timer = this.#options.clock.after(CHECK_MS, () => void this.#check());
  }

  /** Never rejects. */
  async #check(): Promise<void> {
    const { index, log, onEnd } = this.#options;
    try {
      if (!this.#isQuiet()) {
        this.#wait();
        return;
      }
      const count = await this.#clear();
      if (this.#isClosed) return;
      index.setSetting(SETTING, 'no');
      onEnd();
      log.info('the first synchronisation is complete', { archived: count });
    } catch (thrown) {
      if (this.#isClosed) return;
      log.debug('files that are not part of the share could not be archived', { error: asError(thrown) });
      this.#options.onTrouble(asError(thrown));
      this.disturb();
      this.#wait();
    }
  }

  #isQuiet(): boolean {
    const { clock, isSupplied, isRead, isPending, onRead, quiet = QUIET_MS } = this.#options;
    if (!this.#isRead && isRead()) {
      this.#isRead = true;
      onRead();
    }
    if (!this.#isRead || !isSupplied() || !isRead() || isPending()) this.disturb();
    return clock.monotonic() - this.#quietSince >= quiet;
  }

  /** Files first; folders go with their last file, empty ones by themselves. */
  async #clear(): Promise<number> {
    const { index, toArchive, selection } = this.#options;
    let count = 0;
    for (const kind of ['file', 'directory'] as const) {
      for (const row of index.found()) {
        if (this.#isClosed) return count;
        if (row.kind !== kind || row.path === '/' || !selection.isWanted(row.path, kind)) continue;
        // What was changed since is its owner's, and the detector's business.
        if (kind === 'directory' && index.countChildren(row.path) > 0) continue;
        await toArchive(row);
        count += 1;
      }
    }
    return count;
  }
}
