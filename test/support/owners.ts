/**
 * Owners who do whatever they like in their folders, and what must still be found afterwards: everything that anybody
 * wrote, unless somebody who saw it replaced or deleted it.
 */

import assert from 'node:assert/strict';
import fs from 'node:fs';
import { dirname, join } from 'node:path';

export interface OwnedFolder {
  readonly name: string;
  readonly folder: string;
}

/** Mulberry32: small, and the same everywhere. Numbers from 0 to 1. */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** All contents below a folder, those in its archive included. */
export function contentsOf(folder: string): string[] {
  if (!fs.existsSync(folder)) return [];
  return fs
    .readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.name.endsWith('.!clearsky') && entry.name !== 'share')
    .map((entry) => fs.readFileSync(join(entry.parentPath, entry.name), 'utf8'));
}

export class Owners<Place extends OwnedFolder> {
  readonly #places: readonly Place[];
  readonly #paths: readonly string[];
  readonly #random: () => number;
  readonly #written = new Set<string>();
  /** What somebody saw and replaced or deleted. */
  readonly #dismissed = new Set<string>();
  /** What happened, for who has to understand a failure. */
  readonly story: string[] = [];
  #count = 0;

  /** @param paths that they use, without a leading slash; a file and a folder may have the same. */
  constructor(places: readonly Place[], paths: readonly string[], random: () => number) {
    this.#places = places;
    this.#paths = paths;
    this.#random = random;
  }

  /** One of them does something. */
  act(): void {
    const place = this.pick(this.#places);
    const path = this.pick(this.#paths);
    const chance = this.#random();
    if (chance < 0.53) this.#write(place, path);
    else if (chance < 0.73) this.#remove(place, path);
    else if (chance < 0.93) this.#rename(place, path, this.pick(this.#paths));
    else this.#folder(place, path);
  }

  pick<T>(items: readonly T[]): T {
    const item = items[Math.floor(this.#random() * items.length)];
    assert.ok(item !== undefined);
    return item;
  }

  tell({ name }: OwnedFolder, what: string): void {
    this.story.push(`${name}: ${what}`);
  }

  /** Nothing is lost that was written. */
  assertKept(): void {
    const kept = new Set(this.#places.flatMap(({ folder }) => contentsOf(folder)));
    for (const text of this.#written)
      assert.ok(kept.has(text) || this.#dismissed.has(text), `"${text}" is lost`);
  }

  #see(path: string): void {
    if (!fs.existsSync(path)) return;
    if (fs.statSync(path).isDirectory()) for (const text of contentsOf(path)) this.#dismissed.add(text);
    else this.#dismissed.add(fs.readFileSync(path, 'utf8'));
  }

  #try(place: Place, what: string, work: () => void): void {
    try {
      work();
      this.tell(place, what);
    } catch (thrown) {
      // A file where a folder should be, or nothing to rename: owners make mistakes.
      if (!/^E/.test((thrown as NodeJS.ErrnoException).code ?? '')) throw thrown;
    }
  }

  #write(place: Place, path: string): void {
    const text = `${this.#count++} by ${place.name}`;
    const target = join(place.folder, path);
    this.#try(place, `write ${path} ${text}`, () => {
      fs.mkdirSync(dirname(target), { recursive: true });
      // As careful programs do: what is replaced is seen exactly as it is.
      const draft = join(place.folder, '..', `draft-${place.name}`);
      fs.writeFileSync(draft, text);
      this.#see(target);
      fs.renameSync(draft, target);
      this.#written.add(text);
      this.#dismissed.delete(text);
    });
  }

  #remove(place: Place, path: string): void {
    const target = join(place.folder, path);
    this.#try(place, `remove ${path}`, () => {
      this.#see(target);
      fs.rmSync(target, { recursive: true });
    });
  }

  #rename(place: Place, from: string, to: string): void {
    const target = join(place.folder, to);
    this.#try(place, `rename ${from} to ${to}`, () => {
      fs.mkdirSync(dirname(target), { recursive: true });
      if (from !== to) this.#see(target);
      fs.renameSync(join(place.folder, from), target);
    });
  }

  #folder(place: Place, path: string): void {
    this.#try(place, `folder ${path}`, () => fs.mkdirSync(join(place.folder, path), { recursive: true }));
  }
}
