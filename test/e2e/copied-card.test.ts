/** Cards that are copied, and cards that are put back: the same device twice, or as it was before. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { agentsFor, joined, type TestAgent } from '../support/agents.ts';
import { eventually } from '../support/eventually.ts';
import { sameTree, treeOf } from '../support/folder-tree.ts';
import { peerTest } from '../support/peers.ts';

const CARDS = { programs: ['unshare', 'mount'], root: true, timeout: 180_000 };

/** Exactly, as an image of a card has it: Node's own copy rounds the times. */
const copyTo = (from: string, to: string) => execFileSync('cp', ['-a', from, to]);

peerTest('a copied card: both go on, under two names, and nothing of either is lost', CARDS, async (t) => {
  const [home, piano, twin] = await agentsFor(t, { name: 'home' }, { name: 'piano' }, { name: 'twin' });
  assert.ok(home && piano && twin);
  const [left, right] = await joined(home, piano);
  await writeFile(join(left, 'first'), 'first');
  await eventually('both have it', () => sameTree(left, right));
  await Promise.all([piano.end(), twin.end()]);
  // The whole card, to another machine, where everything has the same path.
  const copy = twin.folder('Music');
  copyTo(right, copy);
  await rm(twin.state, { recursive: true });
  copyTo(piano.state, twin.state);
  await rm(join(twin.state, 'control'), { force: true });
  twin.through = ['unshare', '--mount', 'sh', '-c', `mount --bind '${copy}' '${right}' && exec "$@"`, 'sh'];

  // Both go on before anybody knows of the other.
  const lives: readonly [TestAgent, string][] = [
    [piano, right],
    [twin, copy],
  ];
  await home.end();
  for (const [agent, folder] of lives) {
    await agent.start();
    await writeFile(join(folder, `recorded by ${agent.name}`), agent.name);
    await writeFile(join(folder, 'both'), `both, by ${agent.name}`);
    await eventually('it is noted', async () => (await agent.status()).shares[0]?.files === 3);
    await agent.end();
  }
  await home.start();
  for (const [agent] of lives) await agent.start();
  const all = async () => (await sameTree(left, right)) && (await sameTree(left, copy));
  await eventually('all have the same', all, 120_000);
  await eventually('home has met two', async () => {
    const { peers } = await home.status();
    return new Set(peers.filter(({ connected }) => connected).map(({ id }) => id)).size === 2;
  });
  const later = lives.map(([agent, folder]) => writeFile(join(folder, `later by ${agent.name}`), 'later'));
  await Promise.all(later);
  await eventually('they go on', async () => (await all()) && (await readdir(left)).length >= 7, 120_000);
  const texts = (await treeOf(left)).filter((line) => /both/.test(line));
  assert.equal(texts.length, 2, `both versions of what both wrote: ${texts}`);
});

peerTest('a restored card: what it had recorded since comes back, and it goes on', CARDS, async (t) => {
  const [home, piano] = await agentsFor(t, { name: 'home' }, { name: 'piano' });
  assert.ok(home && piano);
  const [left, right] = await joined(home, piano);
  await writeFile(join(right, 'first'), 'first');
  await eventually('both have it', () => sameTree(left, right));
  const backup = piano.folder('backup');
  await piano.end();
  await mkdir(backup);
  copyTo(piano.state, join(backup, 'state'));
  copyTo(right, join(backup, 'Music'));
  await piano.start();
  await writeFile(join(right, 'second'), 'second');
  await writeFile(join(right, 'first'), 'edited');
  await eventually('both have that', () => sameTree(left, right));
  await piano.end();

  await rm(piano.state, { recursive: true });
  await rm(right, { recursive: true });
  copyTo(join(backup, 'state'), piano.state);
  copyTo(join(backup, 'Music'), right);
  await rm(join(piano.state, 'control'), { force: true });
  // Before it meets anybody, it records something.
  await writeFile(join(right, 'third'), 'third');
  await piano.start();
  await eventually(
    'all is there again, on both sides',
    async () => (await sameTree(left, right)) && (await treeOf(left)).length === 3,
    120_000,
  );
  assert.match((await treeOf(right)).join('\n'), /"\/first" 6 /, 'the edit came back');
  await writeFile(join(right, 'fourth'), 'fourth');
  await eventually('it goes on', async () => (await readdir(left)).includes('fourth'));
});
