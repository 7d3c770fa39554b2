/** Agents with much between them: a long way, lost packets, a thin line, and a network that falls apart now and then. */

import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { agentsFor, joinedByBroadcast, type TestAgent } from '../support/agents.ts';
import { eventually } from '../support/eventually.ts';
import { sameTree, treeOf } from '../support/folder-tree.ts';
import { BAD_NETWORKS, openNetwork } from '../support/namespaces.ts';
import { Owners, randomOf } from '../support/owners.ts';
import { peerTest } from '../support/peers.ts';
import { openSlowRelay } from '../support/slow-relay.ts';

const IS_LONG = process.env.SKYLARK_LONG === '1';

test('half a second there and back: many files cost few round trips', async (t) => {
  const [a, b] = await agentsFor(t, { name: 'a' }, { name: 'b' });
  assert.ok(a && b);
  const relay = await openSlowRelay(t, a.listen, 250);
  const [left, right] = [a.folder('Music'), b.folder('Music')];
  await mkdir(left);
  for (let i = 0; i < 300; i++) await writeFile(join(left, `small ${i}`), `content ${i}`);
  await writeFile(join(left, 'large'), Buffer.alloc(4_000_000, 'large'));
  await a.run('share', left);
  await eventually('the writer knows its files', async () => (await a.status()).shares[0]?.files === 301);
  await b.run('join', await a.code('Music'), right, '--peer', relay.address);
  await eventually('all has arrived', () => sameTree(left, right));
  await writeFile(join(right, 'back'), 'the other way');
  await eventually('an edit gets back', () => sameTree(left, right));
  assert.ok(relay.carried > 4_000_000, 'it went through the relay');
});

peerTest('every tenth packet is lost, on a line of two megabits', BAD_NETWORKS, async (t) => {
  const network = openNetwork(t, { piano: ['home'], laptop: ['home'] });
  const [piano, laptop] = await agentsFor(
    t,
    { name: 'piano', namespace: network.namespace('piano') },
    { name: 'laptop', namespace: network.namespace('laptop') },
  );
  assert.ok(piano && laptop);
  for (const host of ['piano', 'laptop']) {
    network.setLoss(host, 10);
    network.setRate(host, 'home', 2_000);
  }
  const [left, right] = await joinedByBroadcast(piano, laptop);
  for (let i = 0; i < 20; i++) await writeFile(join(left, `song ${i}`), Buffer.alloc(10_000, `song ${i}`));
  await writeFile(join(right, 'composed'), Buffer.alloc(100_000, 2));
  await eventually(
    'both have everything',
    async () => (await sameTree(left, right)) && (await treeOf(left)).length === 21,
  );
});

/** A network that falls apart and heals, over and over, while the owners go on. */
async function fallApart(
  hosts: readonly string[],
  rounds: number,
  seed: number,
  network: ReturnType<typeof openNetwork>,
  agents: readonly TestAgent[],
): Promise<void> {
  const places = agents.map((agent) => ({ name: agent.name, folder: agent.folder('Music') }));
  const random = randomOf(seed);
  const owners = new Owners(places, ['a', 'b.mid', 'd/a', 'd/b', 'd/e/c', 'x/y', 'x'], random);
  const folders = places.map(({ folder }) => folder);
  const isSame = async () => {
    for (const folder of folders.slice(1)) if (!(await sameTree(folders[0] ?? '', folder))) return false;
    return true;
  };
  try {
    for (let round = 0; round < rounds; round++) {
      for (const host of hosts) network.setCable(host, 'home', random() < 0.3 ? 'down' : 'up');
      for (let i = 0; i < 5; i++) {
        owners.act();
        await wait(random() * 200);
      }
      if (random() < 0.3) await owners.pick(agents).restart(random() < 0.5 ? 'SIGKILL' : 'SIGTERM');
    }
    for (const host of hosts) network.setCable(host, 'home', 'up');
    await eventually('all have the same', isSame, 180_000);
    // An agent that was killed a moment ago may have more to tell than shows yet.
    await wait(3_000);
    await eventually('all still have the same', isSame, 180_000);
    owners.assertKept();
  } catch (thrown) {
    const differences = await differencesOf(agents);
    throw new Error(`seed ${seed}:\n${owners.story.join('\n')}\n${differences}`, { cause: thrown });
  }
}

/** What not all have, and what each of them knows of it, for whoever has to find out why. */
async function differencesOf(agents: readonly TestAgent[]): Promise<string> {
  const trees = await Promise.all(agents.map((agent) => treeOf(agent.folder('Music'))));
  const lines = new Set(trees.flat().filter((line) => !trees.every((tree) => tree.includes(line))));
  const paths = new Set(
    Array.from(lines, (line) => String(JSON.parse(/^"(?:[^"\\]|\\.)*"/.exec(line)?.[0] ?? '""'))),
  );
  const told: string[] = [];
  for (const [i, agent] of agents.entries()) {
    const status = await agent.command('status', '--json');
    told.push(
      `${agent.name}: ${[...lines].filter((line) => trees[i]?.includes(line)).join('; ')}`,
      status.stdout,
    );
    const database = new DatabaseSync(join(agent.state, 'records.db'), { readOnly: true });
    for (const path of paths) {
      const records = database
        .prepare(
          'SELECT hex(uuid) AS uuid, deleted, value, hex(seen) AS seen FROM database_record WHERE key = ?',
        )
        .all(path);
      const slash = path.lastIndexOf('/');
      const rows = database
        .prepare(
          'SELECT hex(uuid) AS uuid, ino, found, mark FROM directory_file WHERE parent = ? AND name = ?',
        )
        .all(path.slice(0, slash) || '/', path.slice(slash + 1));
      told.push(JSON.stringify({ path, records, rows }, (_, v) => (typeof v === 'bigint' ? `${v}` : v)));
    }
    const pending = database
      .prepare('SELECT hex(uuid) AS uuid, kind, reason FROM directory_pending LIMIT 20')
      .all();
    told.push(
      JSON.stringify({ pending }, (_, v) => (typeof v === 'bigint' ? `${v}` : v)),
      agent.log.slice(-3_000),
    );
    database.close();
  }
  return told.join('\n');
}

const PEERS = IS_LONG ? 10 : 4;
const ROUNDS = IS_LONG ? 120 : 6;
const SEED = Number(process.env.SKYLARK_SEED ?? 1);

peerTest(
  `${PEERS} members of a network that falls apart converge, and nothing is lost`,
  { ...BAD_NETWORKS, timeout: IS_LONG ? 3_600_000 : 240_000 },
  async (t) => {
    const hosts = Array.from({ length: PEERS }, (_, i) => `host${i}`);
    const network = openNetwork(t, Object.fromEntries(hosts.map((host) => [host, ['home']])));
    const agents = await agentsFor(t, ...hosts.map((name) => ({ name, namespace: network.namespace(name) })));
    const [first, ...others] = agents;
    assert.ok(first);
    for (const other of others) await joinedByBroadcast(first, other);
    await fallApart(hosts, ROUNDS, SEED, network, agents);
  },
);
