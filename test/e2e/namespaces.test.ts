/** Agents on machines of their own (network namespaces): they find each other by broadcast, with nothing but a code. */

import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { agentsFor, joinedByBroadcast } from '../support/agents.ts';
import { eventually } from '../support/eventually.ts';
import { sameTree, treeOf } from '../support/folder-tree.ts';
import { NAMESPACES, openNetwork } from '../support/namespaces.ts';
import { peerTest } from '../support/peers.ts';

peerTest(
  'two find each other by broadcast, sync both ways, and again after the cable was out',
  { ...NAMESPACES, timeout: 240_000 },
  async (t) => {
    const network = openNetwork(t, { piano: ['home'], laptop: ['home'] });
    const [piano, laptop] = await agentsFor(
      t,
      { name: 'piano', namespace: network.namespace('piano') },
      { name: 'laptop', namespace: network.namespace('laptop') },
    );
    assert.ok(piano && laptop);
    const [left, right] = await joinedByBroadcast(piano, laptop);
    await writeFile(join(left, 'recorded'), Buffer.alloc(100_000, 1));
    await writeFile(join(right, 'composed'), Buffer.alloc(100_000, 2));
    const same = async () => (await sameTree(left, right)) && (await treeOf(left)).length > 1;
    await eventually('both have both', same);

    network.setCable('laptop', 'home', 'down');
    await writeFile(join(left, 'while away'), 'l');
    await mkdir(join(right, 'made while away'));
    await eventually('each has noticed its own', async () => (await piano.status()).shares[0]?.files === 3);
    network.setCable('laptop', 'home', 'up');
    await eventually(
      'both have everything again',
      async () => (await same()) && (await treeOf(right)).length === 4,
      120_000,
    );
  },
);

peerTest(
  'three machines in a chain of two networks converge, and the one between may restart',
  { ...NAMESPACES, timeout: 240_000 },
  async (t) => {
    const network = openNetwork(t, { attic: ['up'], stairs: ['up', 'down'], cellar: ['down'] });
    const [attic, stairs, cellar] = await agentsFor(
      t,
      { name: 'attic', namespace: network.namespace('attic') },
      { name: 'stairs', namespace: network.namespace('stairs') },
      { name: 'cellar', namespace: network.namespace('cellar') },
    );
    assert.ok(attic && stairs && cellar);
    const [top, middle] = await joinedByBroadcast(attic, stairs);
    const [, bottom] = await joinedByBroadcast(stairs, cellar);
    await writeFile(join(top, 'from the attic'), 'a');
    await writeFile(join(bottom, 'from the cellar'), 'c');
    const all = async () => (await sameTree(top, middle)) && (await sameTree(middle, bottom));
    await eventually('all have both', async () => (await all()) && (await treeOf(top)).length === 2);
    await stairs.restart('SIGKILL');
    await writeFile(join(top, 'later'), 'a');
    await eventually(
      'it goes on after a restart',
      async () => (await all()) && (await treeOf(bottom)).length === 3,
      120_000,
    );
  },
);
