/**
 * What the owners of two copies of a share did, and what must therefore be there: the oracle. Every content is written
 * once only, so that it can be recognised wherever it turns up; what an owner overwrites or deletes, he has looked at.
 */

import { createHash } from 'node:crypto';
import type { Random } from './random.ts';

export const ABSENT = 'absent';
/** While it is being written. */
export const TORN = 'torn';

interface Touch {
  readonly side: string;
  /** What the path holds since: a SHA-256, or `ABSENT`. */
  readonly result: string;
  readonly isDurable: boolean;
}

export class Ledger {
  /** SHA-256 of everything that was ever written: whatever else is found is partial or mixed up. */
  readonly #written = new Set<string>();
  /** Was on the disk for sure, and nobody who had seen it has replaced it. */
  readonly #owed = new Set<string>();
  readonly #touches = new Map<string, Touch[]>();
  /** Paths that were touched together, by a rename. */
  readonly #together = new Map<string, string>();
  #count = 0;

  /** New contents, up to `limit` bytes. */
  compose(random: Random, limit: number): Buffer {
    this.#count += 1;
    const bytes = Buffer.alloc(20 + random.below(limit), `content ${this.#count}; `);
    this.#written.add(sha256(bytes));
    return bytes;
  }

  /** Counts as written although nobody did: what a power cut made of a write that was not flushed. */
  admit(sum: string): void {
    this.#written.add(sum);
  }

  isWritten(sum: string): boolean {
    return this.#written.has(sum);
  }

  get owed(): ReadonlySet<string> {
    return this.#owed;
  }

  /** An owner has seen these contents and does away with them. */
  giveUp(sum: string): void {
    this.#owed.delete(sum);
  }

  touch(path: string, touch: Touch, together?: string): void {
    const touches = this.#touches.get(path) ?? [];
    touches.push(touch);
    this.#touches.set(path, touches);
    if (together !== undefined) this.#together.set(this.#group(path), this.#group(together));
    if (touch.isDurable && touch.result !== ABSENT && touch.result !== TORN) this.#owed.add(touch.result);
  }

  /** Paths of a side whose last change was not flushed: a power cut may leave anything there. */
  isUncertain(side: string, path: string): boolean {
    return this.#touches.get(path)?.some((each) => each.side === side && !each.isDurable) ?? false;
  }

  /**
   * What the paths must hold when both sides are in step again: a path that nobody touched, what it held; one that a single
   * side touched, what that side made of it, if it was flushed.
   */
  expectations(settled: ReadonlyMap<string, string>): Map<string, string> {
    const sides = new Map<string, Set<string>>();
    for (const [path, touches] of this.#touches)
      for (const { side } of touches) {
        const group = this.#group(path);
        sides.set(group, (sides.get(group) ?? new Set()).add(side));
      }
    const expected = new Map(settled);
    for (const [path, touches] of this.#touches) {
      expected.delete(path);
      const last = touches.at(-1);
      const isContested = (sides.get(this.#group(path))?.size ?? 0) > 1;
      if (last?.isDurable && !isContested) expected.set(path, last.result);
    }
    return expected;
  }

  /**
   * Of what both sides show, the part that stays where it is through a power cut: names that were changed or removed
   * without being flushed may come back, with what they held.
   */
  certain(shown: ReadonlyMap<string, string>): Map<string, string> {
    const loose = new Set<string>();
    for (const [path, touches] of this.#touches)
      if (touches.some(({ isDurable, result }) => !isDurable && result === ABSENT))
        loose.add(this.#group(path));
    return new Map([...shown].filter(([path]) => !loose.has(this.#group(path))));
  }

  /** The two are in step, with these files: what follows is another round. */
  settle(files: Iterable<string>): void {
    this.#touches.clear();
    this.#together.clear();
    // Both have it: no power cut of one may take it away.
    for (const sum of files) this.#owed.add(sum);
  }

  #group(path: string): string {
    let group = path;
    for (let next = this.#together.get(group); next !== undefined; next = this.#together.get(group)) {
      if (next === group) break;
      group = next;
    }
    return group;
  }
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
