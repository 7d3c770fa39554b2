/**
 * One member makes a file, another one a folder of the same name with something in it: both can't be on one disk. Where
 * records may be changed, the file's record is given another name, the same by every member, as for a conflict.
 */

import type { Clock, Timer } from '../base/clock.ts';
import { asError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { conflictKey, markOf } from './conflict.ts';
import { desiredOf, type FileRecord } from './projection.ts';

/** What is needed of the database. */
export interface RenamableRecords {
  readonly writable: boolean;
  get(key: string): FileRecord | undefined;
  iterate(options: { readonly prefix: string }): Iterable<FileRecord>;
  rename(uuid: string, key: string): unknown;
}

export interface ObstructionsOptions {
  readonly records: RenamableRecords;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Milliseconds without a change of any record: it may be half of something that is still on its way. */
const QUIET_MS = 1_500;
/** But a share in which something changes all the time can't put it off any longer than this. */
const LONGEST_WAIT_MS = 60_000;
/** Names that are dealt with at a time; others are met again. */
const MAX_PATHS = 256;

export class Obstructions {
  readonly #options: ObstructionsOptions;
  readonly #paths = new Set<string>();
  #changedAt: number;
  /** When the first of the names was noted. */
  #notedAt = 0;
  #timer: Timer | undefined;
  #isClosed = false;

  constructor(options: ObstructionsOptions) {
    this.#options = options;
    this.#changedAt = options.clock.monotonic();
  }

  /** A file's record stands at a path where a folder is needed. */
  note(path: string): void {
    if (!this.#options.records.writable || this.#isClosed || this.#paths.size >= MAX_PATHS) return;
    if (this.#paths.size === 0) this.#notedAt = this.#options.clock.monotonic();
    this.#paths.add(path);
    this.#wait(QUIET_MS);
  }

  /** Records have changed. */
  disturb(): void {
    this.#changedAt = this.#options.clock.monotonic();
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
  }

  #wait(ms: number): void {
    this.#timer ??= this.#options.clock.after(ms, () => {
      this.#timer = undefined;
      this.#resolve();
    });
  }

  #resolve(): void {
    const { clock, log } = this.#options;
    const now = clock.monotonic();
    const quiet = now - this.#changedAt;
    if (quiet < QUIET_MS && now - this.#notedAt < LONGEST_WAIT_MS) {
      this.#wait(QUIET_MS - quiet);
      return;
    }
    const paths = [...this.#paths];
    this.#paths.clear();
    for (const path of paths) {
      try {
        this.#resolveOne(path);
      } catch (thrown) {
        // It is met again when its neighbour is placed the next time.
        log.warn('a file that has the name of a folder could not be renamed', {
          path,
          error: asError(thrown),
        });
      }
    }
  }

  #resolveOne(path: string): void {
    const { records, log } = this.#options;
    const record = records.get(path);
    if (record === undefined || desiredOf(record).kind !== 'file' || !this.#isFolder(path)) return;
    const key = conflictKey(path, markOf(record.uuid));
    records.rename(record.uuid, key);
    log.info('a file had the name of a folder and got another one', { path, key });
  }

  /** Whether any live record is below the path. */
  #isFolder(path: string): boolean {
    for (const _ of this.#options.records.iterate({ prefix: `${path}/` })) return true;
    return false;
  }
}
