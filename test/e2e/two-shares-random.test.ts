/**
 * Three members whose owners do whatever they like, while connections come and go and agents are restarted. In the end
 * all folders are the same, and everything that anybody wrote is in them or in an archive, unless somebody who saw it
 * replaced or deleted it.
 */

import assert from 'node:assert/strict';
import fs from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { type Connection, connect, eventually, type Member, withClub } from '../directory/members.ts';
import { sameTree, treeOf } from '../support/folder-tree.ts';

const STEPS = 40;
const PATHS = ['a', 'b.mid', 'd/a', 'd/b', 'd/e/c', 'x/y', 'x'];

/** Mulberry32: small, and the same everywhere. */
function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** All contents below a folder. */
function contentsOf(folder: string): string[] {
  if (!fs.existsSync(folder)) return [];
  return fs
    .readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.name.endsWith('.!clearsky') && entry.name !== 'share')
    .map((entry) => fs.readFileSync(join(entry.parentPath, entry.name), 'utf8'));
}

class Owners {
  readonly #members: readonly Member[];
  readonly #random: () => number;
  readonly #connections = new Map<string, Connection>();
  readonly written = new Set<string>();
  /** What somebody saw and replaced or deleted. */
  readonly dismissed = new Set<string>();
  readonly story: string[] = [];
  #count = 0;

  constructor(members: readonly Member[], random: () => number) {
    this.#members = members;
    this.#random = random;
  }

  async step(): Promise<void> {
    const member = this.#pick(this.#members);
    const path = this.#pick(PATHS);
    const chance = this.#random();
    if (chance < 0.4) this.#write(member, path);
    else if (chance < 0.55) this.#remove(member, path);
    else if (chance < 0.7) this.#rename(member, path, this.#pick(PATHS));
    else if (chance < 0.75) this.#folder(member, path);
    else if (chance < 0.93) await this.#toggle(member, this.#pick(this.#members));
    else await this.#restart(member);
    if (this.#random() < 0.5) await wait(this.#random() * 150);
  }

  async connectAll(): Promise<void> {
    for (const connection of this.#connections.values()) await connection.cut();
    const [a, b, c] = this.#members;
    assert.ok(a && b && c);
    connect(a, b);
    connect(b, c);
  }

  #pick<T>(items: readonly T[]): T {
    const item = items[Math.floor(this.#random() * items.length)];
    assert.ok(item !== undefined);
    return item;
  }

  #tell(member: Member, what: string): void {
    this.story.push(`${member.name}: ${what}`);
  }

  #see(path: string): void {
    if (!fs.existsSync(path)) return;
    if (fs.statSync(path).isDirectory()) for (const text of contentsOf(path)) this.dismissed.add(text);
    else this.dismissed.add(fs.readFileSync(path, 'utf8'));
  }

  #try(member: Member, what: string, work: () => void): void {
    try {
      work();
      this.#tell(member, what);
    } catch (thrown) {
      // A file where a folder should be, or nothing to rename: owners make mistakes.
      if (!/^E/.test((thrown as NodeJS.ErrnoException).code ?? '')) throw thrown;
    }
  }

  #write(member: Member, path: string): void {
    const text = `${this.#count++} by ${member.name}`;
    this.#try(member, `write ${path} ${text}`, () => {
      fs.mkdirSync(dirname(member.at(path)), { recursive: true });
      // As careful programs do: what is replaced is seen exactly as it is.
      fs.writeFileSync(join(member.folder, '..', 'draft'), text);
      this.#see(member.at(path));
      fs.renameSync(join(member.folder, '..', 'draft'), member.at(path));
      this.written.add(text);
      this.dismissed.delete(text);
    });
  }

  #remove(member: Member, path: string): void {
    this.#try(member, `remove ${path}`, () => {
      this.#see(member.at(path));
      fs.rmSync(member.at(path), { recursive: true });
    });
  }

  #rename(member: Member, from: string, to: string): void {
    this.#try(member, `rename ${from} to ${to}`, () => {
      fs.mkdirSync(dirname(member.at(to)), { recursive: true });
      if (from !== to) this.#see(member.at(to));
      fs.renameSync(member.at(from), member.at(to));
    });
  }

  #folder(member: Member, path: string): void {
    this.#try(member, `folder ${path}`, () => fs.mkdirSync(member.at(path), { recursive: true }));
  }

  async #toggle(a: Member, b: Member): Promise<void> {
    if (a === b) return;
    const key = [a.name, b.name].sort().join();
    const known = this.#connections.get(key);
    this.#connections.delete(key);
    if (known === undefined) this.#connections.set(key, connect(a, b));
    else await known.cut();
    this.#tell(a, `${known === undefined ? 'meets' : 'leaves'} ${b.name}`);
  }

  async #restart(member: Member): Promise<void> {
    for (const [key, connection] of this.#connections) {
      if (!key.includes(member.name)) continue;
      await connection.cut();
      this.#connections.delete(key);
    }
    await member.close();
    await member.open();
    this.#tell(member, 'restarts');
  }
}

function missingFrom({ database, share }: Member): string[] {
  const keys = Array.from(database.iterate({ prefix: '/' }), ({ key }) => key);
  return keys.filter((key) => [...share.ls(dirname(key))].some((file) => file.path === key && !file.isHere));
}

/** What the member knows, for whoever has to find out why it differs from the others. */
function knowledgeOf({ name, database, sqlite }: Member): string {
  const records = Array.from(
    database.iterate({ includeDeleted: true }),
    ({ uuid, key, deleted }) => `${uuid} ${key}${deleted ? ' deleted' : ''}`,
  );
  const rows = sqlite
    .prepare<{ text: string }>(
      `SELECT parent || '/' || name || ' ' || directory || ' ' || coalesce(lower(hex(uuid)), '-') || ' found ' || found
         || ' mark ' || mark AS text FROM directory_file ORDER BY text`,
    )
    .all();
  return [`${name}:`, ...records, '--', ...rows.map(({ text }) => text)].join('\n');
}

/**
 * In step, but for conflict copies whose contents nobody has: when their only owner deleted them before anybody else had
 * them, a copy may already have been promised.
 */
function isInStep(member: Member): boolean {
  const { isSynced, pendingFiles } = member.share.status();
  if (isSynced) return true;
  const missing = missingFrom(member);
  return missing.length === pendingFiles && missing.every((key) => key.includes('.CONFLICT.'));
}

async function play(seed: number): Promise<void> {
  await withClub(async (club) => {
    const options = { share: { debounce: { quiet: 10 } } };
    const members: Member[] = [];
    for (const name of ['a', 'b', 'c']) members.push(await club.member(name, options));
    const owners = new Owners(members, randomOf(seed));
    try {
      for (let i = 0; i < STEPS; i++) await owners.step();
      for (const member of members) await member.share.rescan();
      await owners.connectAll();
      const [a, b, c] = members;
      assert.ok(a && b && c);
      await eventually(
        'all are in step',
        async () =>
          members.every((member) => isInStep(member)) &&
          (await sameTree(a.folder, b.folder)) &&
          (await sameTree(b.folder, c.folder)),
        30_000,
      );
      const kept = new Set(members.flatMap(({ folder }) => contentsOf(folder)));
      for (const text of owners.written)
        assert.ok(kept.has(text) || owners.dismissed.has(text), `"${text}" is lost`);
    } catch (thrown) {
      const trees = await Promise.all(members.map(async ({ folder }) => (await treeOf(folder)).join('\n')));
      owners.story.push(
        ...members.flatMap((member) => missingFrom(member).map((key) => `${member.name} lacks ${key}`)),
      );
      const states = members.map(({ share }) =>
        JSON.stringify(share.status(), (_, v) => (typeof v === 'bigint' ? `${v}` : v)),
      );
      const parts = [owners.story.join('\n'), trees.join('\n--\n'), ...states, ...members.map(knowledgeOf)];
      throw new Error(`seed ${seed}:\n${parts.join('\n')}`, { cause: thrown });
    }
  });
}

describe('three members, their owners and accidents', () => {
  const from = Number(process.env.SKYLARK_SEED ?? 1);
  const count = Number(process.env.SKYLARK_SEEDS ?? (process.env.SKYLARK_LONG === '1' ? 200 : 4));
  for (let seed = from; seed < from + count; seed++)
    it(`converge and lose nothing (seed ${seed})`, () => play(seed));
});
