/** What keeps a share from being in step with its folder, for status and for people. */

import type { Obstacle } from './scan.ts';

export interface Problem {
  /** Stable: `share.root_missing`, `share.mass_deletion`, `path.not_unicode`, `files.not_permitted`, ... */
  readonly code: string;
  readonly message: string;
  readonly remedy: string | undefined;
  /** What does not happen while it lasts: nothing at all happens in the folder; deletions are held; one file is left out. */
  readonly stops: 'everything' | 'deletions' | 'files';
  /** How many files it is about; 0 if it is about the whole share. */
  readonly count: number;
  /** A few of them: local paths, as they came from the disk. */
  readonly paths: readonly string[];
}

export type ProblemListener = (problems: readonly Problem[]) => void;

const MAX_PATHS = 10;

/** The current problems. Those of single files are collected anew by every full scan. */
export class ProblemList {
  readonly #listeners = new Set<ProblemListener>();
  readonly #general = new Map<string, Problem>();
  #files = new Map<string, Map<string, Obstacle>>();
  #counts = new Map<string, number>();
  /** Kinds of obstacles that the last full scan met. */
  #earlier: ReadonlySet<string> = new Set();

  get current(): readonly Problem[] {
    const files = Array.from(this.#files, ([code, obstacles]): Problem => {
      const [first] = obstacles.values();
      return {
        code,
        message: first?.message ?? code,
        remedy: undefined,
        stops: 'files',
        count: this.#counts.get(code) ?? 0,
        paths: [...obstacles.keys()],
      };
    });
    return [...this.#general.values(), ...files];
  }

  /** @returns whether it is news. */
  set(problem: Problem): boolean {
    const known = this.#general.get(problem.code);
    this.#general.set(problem.code, problem);
    if (known?.count === problem.count && known.message === problem.message) return false;
    this.#tell();
    return known === undefined;
  }

  /** @returns whether there was one. */
  clear(code: string): boolean {
    if (!this.#general.delete(code)) return false;
    this.#tell();
    return true;
  }

  /** @returns whether this kind of obstacle is news: not met since the last full scan but one. */
  addObstacle(obstacle: Obstacle): boolean {
    const known = this.#files.get(obstacle.code);
    if (known?.has(obstacle.path)) return false;
    if (known === undefined) this.#files.set(obstacle.code, new Map([[obstacle.path, obstacle]]));
    else if (known.size < MAX_PATHS) known.set(obstacle.path, obstacle);
    this.#counts.set(obstacle.code, (this.#counts.get(obstacle.code) ?? 0) + 1);
    this.#tell();
    return known === undefined && !this.#earlier.has(obstacle.code);
  }

  /** The path can be synced now, or is gone. */
  removeObstacle(path: string): void {
    let isChanged = false;
    for (const [code, obstacles] of this.#files) {
      if (!obstacles.delete(path)) continue;
      isChanged = true;
      this.#counts.set(code, (this.#counts.get(code) ?? 1) - 1);
      if (this.#counts.get(code) === 0) this.#files.delete(code);
    }
    if (isChanged) this.#tell();
  }

  /** A full scan begins: what it does not meet again is over. */
  forgetObstacles(): void {
    this.#earlier = new Set(this.#files.keys());
    if (this.#files.size === 0) return;
    this.#files = new Map();
    this.#counts = new Map();
    this.#tell();
  }

  listen(listener: ProblemListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #tell(): void {
    if (this.#listeners.size === 0) return;
    const current = this.current;
    for (const listener of this.#listeners) listener(current);
  }
}

export const UNWATCHED = 'files.too_many_watches';

/** @param count folders that the system refuses to watch */
export function unwatched(count: number): Problem {
  return {
    code: UNWATCHED,
    message: 'the system can not watch all folders of the share: changes in the others are found later',
    remedy: 'raise fs.inotify.max_user_watches',
    stops: 'files',
    count,
    paths: [],
  };
}
