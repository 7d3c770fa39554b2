/**
 * In which order contents to come are looked at, without ever holding all of them: what has just arrived first, so that
 * an edit does not wait behind a million files; then everything, beginning at a random place, so that peers which start
 * together fetch different things and can serve each other ("Files should be asked for in a random order", directory.md).
 */

import type { PendingRow, PendingStore } from './pending.ts';

/** Newly arrived rows that go first; of a flood, the rest waits for the walk. */
const FRESH = 64;

type Rows = Pick<PendingStore, 'contentsAfter' | 'newestContent'>;

/** One walk over all rows, from a random place to the end and from the beginning to that place. */
interface Walk {
  readonly start: bigint;
  at: bigint;
  isBehindStart: boolean;
}

export class Backlog {
  readonly #rows: Rows;
  readonly #random: () => number;
  #walk: Walk | undefined;
  /** Rows up to here have been there when they were last asked for. */
  #known = 0n;
  #mustRestart = false;

  /** @param random 0 to 1. */
  constructor(rows: Rows, random: () => number = Math.random) {
    this.#rows = rows;
    this.#random = random;
    this.restart();
  }

  /** Everything is to be looked at again, after the walk that is under way. */
  restart(): void {
    if (this.#walk === undefined) this.#begin();
    else this.#mustRestart = true;
  }

  /** Rows to look at next, at most `limit`; none when everything has been looked at. A row may come again. */
  next(limit: number): PendingRow[] {
    const fresh = this.#rows.contentsAfter(this.#known, Math.min(limit, FRESH));
    const last = fresh.at(-1);
    if (last !== undefined) {
      const isFlood = fresh.length === FRESH;
      this.#known = isFlood ? this.#rows.newestContent() : last.id;
      if (isFlood) this.restart();
    }
    const rows = [...fresh];
    while (rows.length < limit && this.#walk !== undefined)
      rows.push(...this.#advance(this.#walk, limit - rows.length));
    return rows;
  }

  #advance(walk: Walk, limit: number): PendingRow[] {
    const rows = this.#rows.contentsAfter(walk.at, limit);
    const last = rows.at(-1);
    if (last !== undefined) walk.at = last.id;
    const isAtEnd = rows.length < limit;
    if (!walk.isBehindStart) {
      if (isAtEnd) {
        walk.isBehindStart = true;
        walk.at = 0n;
        if (walk.start === 0n) this.#end();
      }
      return rows;
    }
    const inside = rows.filter(({ id }) => id <= walk.start);
    if (isAtEnd || inside.length < rows.length) this.#end();
    return inside;
  }

  #begin(): void {
    const newest = this.#rows.newestContent();
    const start = BigInt(Math.floor(Number(newest) * this.#random()));
    this.#walk = { start, at: start, isBehindStart: false };
    this.#known = newest;
    this.#mustRestart = false;
  }

  #end(): void {
    this.#walk = undefined;
    if (this.#mustRestart) this.#begin();
  }
}
