/** Paths that we are changing ourselves at the moment: nobody should take that for a change of the owner's. */

import { parentOf } from '../platform/files.ts';

export class PathHolds {
  readonly #holds = new Map<string, number>();
  readonly #keptBack = new Set<string>();
  readonly #onRelease: (path: string) => void;

  /** @param onRelease called for every path that was kept back and is free now. */
  constructor(onRelease: (path: string) => void) {
    this.#onRelease = onRelease;
  }

  /** Whether any path is waiting for its release. */
  get isKeepingBack(): boolean {
    return this.#keptBack.size > 0;
  }

  /** A held directory holds everything below it. */
  isHeld(path: string): boolean {
    return isAtOrBelow(path, this.#holds);
  }

  /** If the path is held: true, and it is told when it is released. */
  keepBack(path: string): boolean {
    if (!this.isHeld(path)) return false;
    this.#keptBack.add(path);
    return true;
  }

  /** @returns releases them, once. */
  hold(paths: readonly string[]): () => void {
    for (const path of paths) this.#holds.set(path, (this.#holds.get(path) ?? 0) + 1);
    let isReleased = false;
    return () => {
      if (isReleased) return;
      isReleased = true;
      for (const path of paths) {
        const count = (this.#holds.get(path) ?? 1) - 1;
        if (count === 0) this.#holds.delete(path);
        else this.#holds.set(path, count);
      }
      if (this.#keptBack.size === 0) return;
      const released = new Set(paths);
      for (const path of [...this.#keptBack]) {
        if (!isAtOrBelow(path, released) || this.isHeld(path)) continue;
        this.#keptBack.delete(path);
        this.#onRelease(path);
      }
    };
  }
}

/** Asks for the path and each folder around it: with hundreds of paths, that is less than comparing it with each. */
function isAtOrBelow(path: string, paths: Pick<ReadonlySet<string>, 'has' | 'size'>): boolean {
  if (paths.size === 0) return false;
  for (let at = path; ; at = parentOf(at)) {
    if (paths.has(at)) return true;
    if (at === '/') return false;
  }
}
