/**
 * Our own changes to the disk, in groups. What a group is about to do is written down first, in one durable
 * transaction; then it is done; then what the disk now shows enters the index, in a second one. After a crash in
 * between, `recovery.ts` finds out from the disk which of the noted changes had happened, so that none is ever taken
 * for a change of the owner's.
 */

import type { Clock } from '../base/clock.ts';
import { asError, errorCode } from '../base/errors.ts';
import type { Sqlite } from '../platform/sqlite.ts';
import type { Archive, ArchivedFile, ToArchive } from './archive.ts';
import { encodeIntents, type Intent } from './intents.ts';

/** A change to one file or directory. */
export interface DiskChange {
  /** Paths of the share that are touched: for the detector to look away. */
  readonly paths: readonly string[];
  readonly intent: Intent;
  /** What is to be kept, if anything: a place for it is reserved. */
  readonly archive?: ToArchive;
  /** Does it. If it throws, the disk is as before. */
  perform(archived: ArchivedFile | undefined): Promise<void>;
  /** Writes what the disk now shows; inside a transaction, and only if `perform` did not throw. */
  finish(): void;
}

export interface ChangesOptions {
  readonly sqlite: Sqlite;
  readonly club: string;
  readonly archive: Archive;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** The database refuses to take what was done: it is tried again until it does. */
  readonly onTrouble: (error: Error) => void;
  /** Makes the detector leave the paths alone until the returned function is called. */
  readonly hold: (paths: readonly string[]) => () => void;
}

/** Changes in one group. Each touches pages all over the indices; the more in one group, the fewer of them twice. */
const GROUP = 1_024;
/** Changes of a group that are carried out at the same time. */
const AT_ONCE = 32;
/** A second group starts beside a running one only if it is worth its own two transactions. */
const WORTH_A_GROUP = 64;
const GROUPS_AT_ONCE = 2;
/** So soon after a group, the next change is part of the same work. */
const BUSY_MS = 50;
const GATHER_MS = 10;
/** Milliseconds between two tries to write down what was done. */
const FINISH_MS = 1_000;

/** What keeps the database from taking something for a while. */
const PASSING: ReadonlySet<string | undefined> = new Set([
  'sqlite.disk_full',
  'sqlite.io',
  'sqlite.busy',
  'sqlite.no_access',
]);

export const INTENT_MIGRATIONS = [
  `
  CREATE TABLE directory_intent(
    id INTEGER PRIMARY KEY,
    club TEXT NOT NULL,
    intents TEXT NOT NULL
  ) STRICT;
  `,
];

interface Job {
  readonly change: DiskChange;
  readonly resolve: () => void;
  readonly reject: (reason: Error) => void;
  archived: ArchivedFile | undefined;
  failure: Error | undefined;
}

export class DiskChanges {
  readonly #options: ChangesOptions;
  readonly #waiting: Job[] = [];
  #running = 0;
  #scheduled = false;
  #endedAt = Number.NEGATIVE_INFINITY;
  #idleWaiters: (() => void)[] = [];

  constructor(options: ChangesOptions) {
    this.#options = options;
    options.sqlite.migrate('directory_intent', INTENT_MIGRATIONS);
  }

  /** Resolves when the change is made and known. @throws what `perform` or the database threw. */
  submit(change: DiskChange): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ change, resolve, reject, archived: undefined, failure: undefined });
      this.#schedule();
    });
  }

  /** Resolves when nothing is under way. */
  async idle(): Promise<void> {
    while (this.#running > 0 || this.#waiting.length > 0)
      await new Promise<void>((resolve) => this.#idleWaiters.push(resolve));
  }

  /**
   * The rest of this turn of the event loop may have more for the same group; and while one group follows the other, a
   * few milliseconds more make them larger, which spares the disk a lot.
   */
  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    const start = () => {
      this.#scheduled = false;
      this.#start();
    };
    const isBusy = this.#options.clock.monotonic() - this.#endedAt < BUSY_MS;
    if (isBusy && this.#waiting.length < WORTH_A_GROUP) this.#options.clock.after(GATHER_MS, start);
    else setImmediate(start);
  }

  #start(): void {
    while (
      this.#waiting.length > 0 &&
      (this.#running === 0 || (this.#running < GROUPS_AT_ONCE && this.#waiting.length >= WORTH_A_GROUP))
    ) {
      const group = this.#waiting.splice(0, GROUP);
      this.#running += 1;
      void this.#run(group).then(() => {
        this.#running -= 1;
        this.#endedAt = this.#options.clock.monotonic();
        if (this.#running === 0 && this.#waiting.length === 0)
          for (const wake of this.#idleWaiters.splice(0)) wake();
        if (this.#waiting.length > 0) this.#schedule();
      });
    }
  }

  /** Never rejects. */
  async #run(group: readonly Job[]): Promise<void> {
    const release = this.#options.hold(group.flatMap(({ change }) => change.paths));
    try {
      const id = this.#begin(group);
      await this.#perform(group);
      await this.#finishSometime(group, id);
    } catch (thrown) {
      // The database refused: what was done is found again by the recovery.
      for (const job of group) job.failure ??= asError(thrown);
    } finally {
      release();
    }
    for (const { failure, resolve, reject } of group) {
      if (failure === undefined) resolve();
      else reject(failure);
    }
  }

  #begin(group: readonly Job[]): bigint {
    const { sqlite, club, archive } = this.#options;
    return sqlite.transaction(() => {
      for (const job of group)
        if (job.change.archive !== undefined) job.archived = archive.reserve(job.change.archive);
      const intents = group.map(({ change, archived }) => ({
        intent: change.intent,
        archived: archived?.id,
      }));
      const row = sqlite
        .prepare<{ id: bigint }>('INSERT INTO directory_intent(club, intents) VALUES(?, ?) RETURNING id')
        .get(club, encodeIntents(intents));
      return row?.id ?? 0n;
    });
  }

  async #perform(group: readonly Job[]): Promise<void> {
    const todo = group.values();
    const work = async (): Promise<void> => {
      for (const job of todo) {
        try {
          await job.change.perform(job.archived);
        } catch (thrown) {
          job.failure = asError(thrown);
        }
      }
    };
    await Promise.all(Array.from({ length: Math.min(AT_ONCE, group.length) }, work));
  }

  /** Until then the detector looks away: what the disk shows and the index does not is nobody's change. */
  async #finishSometime(group: readonly Job[], id: bigint): Promise<void> {
    const { clock, signal, onTrouble } = this.#options;
    for (;;) {
      try {
        this.#finish(group, id);
        return;
      } catch (thrown) {
        if (signal.aborted || !errorCode(thrown)?.startsWith('sqlite.')) throw thrown;
        onTrouble(asError(thrown));
        // A broken disk, and what no disk can be blamed for, does not pass: the others must not suffer for one of them.
        if (!PASSING.has(errorCode(thrown))) return this.#finishEach(group, id);
      }
      await new Promise<void>((resolve) => {
        const timer = clock.after(FINISH_MS, () => {
          signal.removeEventListener('abort', over);
          resolve();
        });
        const over = () => {
          timer.cancel();
          resolve();
        };
        signal.addEventListener('abort', over, { once: true });
      });
    }
  }

  /** Those that can't be noted fail; what they did to the disk is found again as a change. */
  #finishEach(group: readonly Job[], id: bigint): void {
    for (const job of group) {
      try {
        this.#options.sqlite.transaction(() => this.#finishOne(job));
      } catch (thrown) {
        job.failure ??= asError(thrown);
      }
    }
    this.#finish([], id);
  }

  #finishOne({ change, failure, archived }: Job): void {
    if (failure === undefined) change.finish();
    else if (archived !== undefined) this.#options.archive.forget(archived);
  }

  #finish(group: readonly Job[], id: bigint): void {
    const { sqlite } = this.#options;
    sqlite.transaction(() => {
      for (const job of group) this.#finishOne(job);
      sqlite.prepare('DELETE FROM directory_intent WHERE id = ?').run(id);
    });
  }
}
