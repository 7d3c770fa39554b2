/** What keeps records from becoming files, for status and for people. */

import { describeError, errorCode, SkylarkError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { Missing } from './absences.ts';
import { NO_ROOM } from './disk-room.ts';
import type { PendingStore } from './pending.ts';
import { type Problem, ProblemList } from './problems.ts';

/** Refusals of the disk that say something about one file; all others stop everything for a while. */
const OF_ONE_FILE: ReadonlySet<string | undefined> = new Set([
  'files.too_big',
  'files.name_too_long',
  'files.name_refused',
  'files.not_permitted',
  'files.cross_device',
  'files.corrupt',
  'files.failed',
  'files.archive_blocked',
  NO_ROOM,
]);

export function isOfOneFile(code: string | undefined): boolean {
  return OF_ONE_FILE.has(code);
}

export interface TroublesOptions {
  readonly ownChanges: { problem(): Problem | undefined };
  /** Files that the disk has damaged. */
  readonly damages: { problem(): Problem | undefined };
  readonly pending: PendingStore;
  /** Conflict copies whose contents no connected peer has. */
  readonly missing: () => Missing;
  /** Number of records that can't become files. */
  readonly countRefused: () => number;
  /** The key of a record. */
  readonly keyOf: (uuid: string) => string | undefined;
  readonly log: Logger;
}

const REFUSED = 'directory.refused';
const MISSING = 'directory.contents_missing';
const SHOWN_PATHS = 10;

export class Troubles {
  readonly #options: TroublesOptions;
  readonly #list = new ProblemList();
  readonly #codes = new Set<string>();
  readonly #reasons = new Set<string>();

  constructor(options: TroublesOptions) {
    this.#options = options;
  }

  /** The disk refused something. */
  add(error: Error): void {
    const code = errorCode(error) ?? 'files.unexpected';
    const remedy = error instanceof SkylarkError ? error.remedy : undefined;
    this.#codes.add(code);
    const problem: Problem = { code, message: error.message, remedy, stops: 'files', count: 0, paths: [] };
    if (this.#list.set(problem))
      this.#options.log.warn('files can not be put into their place', { code, why: describeError(error) });
  }

  /** It works again, but perhaps not for every file. */
  clear(): void {
    if (this.#codes.size === 0) return;
    const { pending } = this.#options;
    const isAllPlaced = !pending.has('content') && !pending.has('here') && !pending.has('removal');
    for (const code of this.#codes) {
      if (code === NO_ROOM || (isOfOneFile(code) && !isAllPlaced)) continue;
      this.#list.clear(code);
      this.#codes.delete(code);
    }
  }

  /** What was wrong is over. */
  over(code: string): void {
    if (this.#codes.delete(code)) this.#list.clear(code);
  }

  /** A peer's record can't become a file. Each reason is logged once. */
  refused(key: string, reason: string): void {
    if (this.#reasons.has(reason)) return;
    this.#reasons.add(reason);
    this.#options.log.warn('a record can not become a file', { key, reason });
  }

  /** @returns stops it. */
  listen(listener: () => void): () => void {
    return this.#list.listen(listener);
  }

  get current(): readonly Problem[] {
    const { ownChanges, damages } = this.#options;
    const others = [damages.problem(), this.#refusedRecords(), this.#missingContents(), ownChanges.problem()];
    return [...this.#list.current, ...others.filter((problem) => problem !== undefined)];
  }

  #missingContents(): Problem | undefined {
    const { missing, keyOf } = this.#options;
    const { files, uuids } = missing();
    if (files === 0) return undefined;
    return {
      code: MISSING,
      message: 'no connected member has the contents of these conflict copies',
      remedy: 'connect the device on which they were written; if they were deleted there, they are gone',
      stops: 'files',
      count: files,
      paths: uuids.map((uuid) => keyOf(uuid) ?? uuid),
    };
  }

  #refusedRecords(): Problem | undefined {
    const { pending, countRefused, keyOf } = this.#options;
    const count = countRefused();
    if (count === 0) return undefined;
    const rows = pending.first('refused', SHOWN_PATHS, { rank: -1, id: 0n });
    return {
      code: REFUSED,
      message: `records of other members can not become files here: ${rows[0]?.reason ?? 'unknown'}`,
      remedy: undefined,
      stops: 'files',
      count,
      paths: rows.map(({ uuid }) => keyOf(uuid) ?? uuid),
    };
  }
}
