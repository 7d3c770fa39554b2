/** A disk in memory for state files, which can fail and lose power at any step. */

import assert from 'node:assert/strict';
import type { StateDisk } from '../../agent/platform/state-disk.ts';

/**
 * A file system as a power cut leaves it: what was flushed is there; of the names changed since the folder was last
 * flushed, any part may be.
 */
export class FragileDisk implements StateDisk {
  readonly #durable = new Map<string, Uint8Array>();
  #pending: ((names: Map<string, Uint8Array>) => void)[] = [];
  steps = 0;
  /** The step at which the current goes away, or at which the disk says `failure`. */
  cutAt = Number.POSITIVE_INFINITY;
  failure: (Error & { code?: string }) | undefined;

  get #names(): Map<string, Uint8Array> {
    const names = new Map(this.#durable);
    for (const change of this.#pending) change(names);
    return names;
  }

  #step(): void {
    this.steps += 1;
    if (this.failure !== undefined && this.steps === this.cutAt) throw this.failure;
    if (this.failure === undefined && this.steps >= this.cutAt) throw new Error('power cut');
  }

  /** The power comes back: `survives` says of each unflushed change whether it reached the medium. */
  restart(survives: (index: number) => boolean): void {
    this.#pending
      .filter((_, index) => survives(index))
      .forEach((change) => {
        change(this.#durable);
      });
    this.#pending = [];
    this.steps = 0;
    this.cutAt = Number.POSITIVE_INFINITY;
    this.failure = undefined;
  }

  /** As if the card had been copied. */
  copyFrom(other: FragileDisk): void {
    for (const [name, bytes] of other.#names) this.#durable.set(name, bytes);
  }

  async makeFolder(): Promise<void> {
    this.#step();
  }
  async read(path: string): Promise<Uint8Array | undefined> {
    this.#step();
    return this.#names.get(path);
  }
  async create(path: string, bytes: Uint8Array): Promise<void> {
    this.#step();
    assert.ok(!this.#names.has(path), 'EEXIST');
    this.#pending.push((names) => names.set(path, bytes));
  }
  async rename(from: string, to: string): Promise<void> {
    this.#step();
    assert.ok(this.#names.has(from), 'ENOENT');
    this.#pending.push((names) => {
      const bytes = names.get(from);
      if (bytes === undefined) return;
      names.delete(from);
      names.set(to, bytes);
    });
  }
  async remove(path: string): Promise<void> {
    this.#step();
    this.#pending.push((names) => names.delete(path));
  }
  async flushFolder(): Promise<void> {
    this.#step();
    for (const change of this.#pending) change(this.#durable);
    this.#pending = [];
  }
}
