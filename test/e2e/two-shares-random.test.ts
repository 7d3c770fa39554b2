/**
 * Three members whose owners do whatever they like, while connections come and go and agents are restarted. In the end
 * all folders are the same, and everything that anybody wrote is in them or in an archive, unless somebody who saw it
 * replaced or deleted it.
 */

import assert from 'node:assert/strict';
import { dirname } from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { type Connection, connect, type Member, withClub } from '../directory/members.ts';
import { eventually } from '../support/eventually.ts';
import { sameTree, treeOf } from '../support/folder-tree.ts';
import { Owners, randomOf } from '../support/owners.ts';

const STEPS = 40;
const PATHS = ['a', 'b.mid', 'd/a', 'd/b', 'd/e/c', 'x/y', 'x'];

/** What connects the members, and what happens to it and to them. */
class Accidents {
  readonly #members: readonly Member[];
  readonly #owners: Owners<Member>;
  readonly #connections = new Map<string, Connection>();

  constructor(members: readonly Member[], owners: Owners<Member>) {
    this.#members = members;
    this.#owners = owners;
  }

  async connectAll(): Promise<void> {
    for (const connection of this.#connections.values()) await connection.cut();
    const [a, b, c] = this.#members;
    assert.ok(a && b && c);
    connect(a, b);
    connect(b, c);
  }

  async toggle(): Promise<void> {
    const [a, b] = [this.#owners.pick(this.#members), this.#owners.pick(this.#members)];
    if (a === b) return;
    const key = [a.name, b.name].sort().join();
    const known = this.#connections.get(key);
    this.#connections.delete(key);
    if (known === undefined) this.#connections.set(key, connect(a, b));
    else await known.cut();
    this.#owners.tell(a, `${known === undefined ? 'meets' : 'leaves'} ${b.name}`);
  }

  async restart(): Promise<void> {
    const member = this.#owners.pick(this.#members);
    for (const [key, connection] of this.#connections) {
      if (!key.includes(member.name)) continue;
      await connection.cut();
      this.#connections.delete(key);
    }
    await member.close();
    await member.open();
    this.#owners.tell(member, 'restarts');
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
    const random = randomOf(seed);
    const owners = new Owners(members, PATHS, random);
    const accidents = new Accidents(members, owners);
    try {
      for (let i = 0; i < STEPS; i++) {
        const chance = random();
        if (chance < 0.75) owners.act();
        else if (chance < 0.93) await accidents.toggle();
        else await accidents.restart();
        if (random() < 0.5) await wait(random() * 150);
      }
      for (const member of members) await member.share.rescan();
      await accidents.connectAll();
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
      owners.assertKept();
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
