/** What can be wrong with the disk under a share, on real mounts: told in `status`, held, and over by itself when it is mended. */

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { agentsFor, joined, type TestAgent } from '../support/agents.ts';
import { eventually } from '../support/eventually.ts';
import { sameTree, treeOf } from '../support/folder-tree.ts';
import { peerTest } from '../support/peers.ts';

const MOUNTS = { programs: ['mount', 'umount'], root: true, timeout: 180_000 };

const mount = (...args: readonly string[]) => execFileSync('mount', args, { stdio: 'pipe' });
const pullOut = (path: string) => execFileSync('umount', ['-l', path], { stdio: 'pipe' });
/** A medium whose contents outlast being taken out: another folder, bound to the place. */
const putIn = (medium: string, path: string) => mount('--bind', medium, path);

const codes = async (agent: TestAgent) => (await agent.status()).problems.map(({ code }) => code);
const tells = (agent: TestAgent, code: string) =>
  eventually(`${agent.name} tells ${code}`, async () => (await codes(agent)).includes(code));
const isWell = (agent: TestAgent) =>
  eventually(`${agent.name} is well again`, async () => {
    const { problems, shares } = await agent.status();
    return problems.length === 0 && shares[0]?.synced === true;
  });

interface Setting {
  readonly desk: TestAgent;
  readonly piano: TestAgent;
  readonly left: string;
  /** Of the piano, where a medium is put in. */
  readonly right: string;
  readonly medium: string;
}

/** Two members with thirty files; the folder of one lies on a medium of its own. */
async function onMedium(t: TestContext): Promise<Setting> {
  let mounted: string | undefined;
  // Before the folders of the agents are removed.
  t.after(() => mounted !== undefined && spawnSync('umount', ['-l', mounted]));
  const [desk, piano] = await agentsFor(t, { name: 'desk' }, { name: 'piano' });
  assert.ok(desk && piano);
  const right = piano.folder('Music');
  const medium = piano.folder('medium');
  for (const folder of [right, medium]) await mkdir(folder);
  putIn(medium, right);
  mounted = right;
  const [left] = await joined(desk, piano);
  for (let i = 0; i < 30; i++) await writeFile(join(left, `song ${i}`), `song ${i}`);
  await eventually(
    'both have them',
    async () => (await sameTree(left, right)) && (await treeOf(left)).length === 30,
  );
  return { desk, piano, left, right, medium };
}

peerTest(
  'a medium that is taken out, another one in its place, and the right one again',
  MOUNTS,
  async (t) => {
    const { desk, piano, left, right, medium } = await onMedium(t);
    pullOut(right);
    await writeFile(join(left, 'while it is out'), 'new');
    await tells(piano, 'share.marker_missing');
    assert.deepEqual(await readdir(right), [], 'nothing is written to the empty mount point');
    assert.equal((await treeOf(left)).length, 31, 'nothing counts as deleted');

    // Somebody else's card, full of other things, and one of another share.
    const other = piano.folder('other');
    await mkdir(join(other, '.clearskies'), { recursive: true });
    await writeFile(join(other, 'photo'), 'not ours');
    await writeFile(join(other, '.clearskies/share'), `{"share":"${'0'.repeat(32)}"}`);
    putIn(other, right);
    await tells(piano, 'share.marker_foreign');
    // Also after a restart.
    await piano.restart();
    await tells(piano, 'share.marker_foreign');
    assert.deepEqual((await readdir(right)).sort(), ['.clearskies', 'photo']);
    assert.deepEqual(await readdir(join(right, '.clearskies')), ['share']);
    assert.ok(!(await readdir(left)).includes('photo'));

    pullOut(right);
    putIn(medium, right);
    await isWell(piano);
    await eventually('it has what was made meanwhile', () => sameTree(left, right));
    await writeFile(join(right, 'and goes on'), 'x');
    await eventually('it goes on', () => sameTree(left, right));
    assert.deepEqual(await codes(desk), []);
  },
);

peerTest('a folder that is gone, also at the start, and is back', MOUNTS, async (t) => {
  const { piano, left, right, medium } = await onMedium(t);
  pullOut(right);
  await rm(right, { recursive: true });
  await tells(piano, 'share.root_missing');
  await piano.restart();
  await tells(piano, 'share.root_missing');
  assert.equal((await treeOf(left)).length, 30);
  await mkdir(right);
  putIn(medium, right);
  await isWell(piano);
  await writeFile(join(left, 'later'), 'x');
  await eventually('it goes on', () => sameTree(left, right));
});

peerTest('a medium that becomes read-only, and writable again', MOUNTS, async (t) => {
  const { desk, piano, left, right } = await onMedium(t);
  mount('-o', 'remount,bind,ro', right);
  await writeFile(join(left, 'song 1'), 'edited');
  await writeFile(join(left, 'new'), 'new');
  await rm(join(left, 'song 2'));
  await tells(piano, 'files.read_only');
  assert.equal(await readFile(join(right, 'song 1'), 'utf8'), 'song 1');
  const { shares } = await piano.status();
  assert.equal(shares[0]?.synced, false);
  // Also from the start, where it is still given to others.
  await piano.restart();
  await tells(piano, 'files.read_only');
  await rm(join(left, 'song 3'));
  assert.match(await desk.run('status'), /piano: connected/);
  mount('-o', 'remount,bind,rw', right);
  await isWell(piano);
  await eventually('all is done', () => sameTree(left, right));
});

peerTest(
  'a medium that loses its marker, until its owner says that it is the right one',
  MOUNTS,
  async (t) => {
    const { piano, left, right } = await onMedium(t);
    await rm(join(right, '.clearskies'), { recursive: true });
    await tells(piano, 'share.marker_missing');
    await writeFile(join(right, 'held'), 'held');
    await writeFile(join(left, 'later'), 'later');
    await piano.run('resume', 'Music');
    await isWell(piano);
    await eventually(
      'both have all',
      async () => (await sameTree(left, right)) && (await treeOf(left)).length === 32,
    );
  },
);

const USER_NAMESPACES = { programs: ['unshare', 'nsenter'], root: true, timeout: 240_000 };
const LIMIT = '/proc/sys/user/max_inotify_watches';

peerTest('a system that has too few watches, until it has more', USER_NAMESPACES, async (t) => {
  const settings = { 'directory.rescan_period': '10s' };
  const [desk, piano] = await agentsFor(t, { name: 'desk' }, { name: 'piano', settings });
  assert.ok(desk && piano);
  await piano.end();
  piano.through = [
    'unshare',
    '--user',
    '--map-root-user',
    'sh',
    '-c',
    `echo 20 >${LIMIT} && exec "$@"`,
    'sh',
  ];
  await piano.start();
  const right = piano.folder('Music');
  for (let i = 0; i < 40; i++) await mkdir(join(right, `folder ${i}`), { recursive: true });
  await piano.run('share', right, '--name', 'Music');
  await tells(piano, 'files.too_many_watches');
  const { problems } = await piano.status();
  assert.match(problems[0]?.remedy ?? '', /fs\.inotify\.max_user_watches/);
  const left = desk.folder('Music');
  await desk.run('join', await piano.code('Music'), left, '--peer', piano.listen);
  for (let i = 0; i < 40; i++) await writeFile(join(right, `folder ${i}`, 'song'), `song ${i}`);
  await eventually('changes are found all the same', () => sameTree(left, right), 120_000);

  const inside = ['--user', '--target', String(piano.pid), 'sh', '-c', `echo 1000 >${LIMIT}`];
  execFileSync('nsenter', inside, { stdio: 'pipe' });
  await eventually('it is over', async () => (await codes(piano)).length === 0, 120_000);
  await writeFile(join(right, 'folder 39', 'new'), 'new');
  await eventually('all is watched', () => sameTree(left, right));
});

peerTest('another file system over the folder of the marker, with a copy of it', MOUNTS, async (t) => {
  const { piano, left, right } = await onMedium(t);
  const own = join(right, '.clearskies');
  const copy = piano.folder('copy');
  execFileSync('cp', ['-a', own, copy]);
  mount('-t', 'tmpfs', 'none', own);
  await tells(piano, 'share.marker_missing');
  execFileSync('cp', [join(copy, 'share'), join(own, 'share')]);
  await tells(piano, 'share.marker_other_device');
  await writeFile(join(left, 'later'), 'x');
  assert.deepEqual(await readdir(own), ['share']);
  pullOut(own);
  await isWell(piano);
  await eventually('it goes on', () => sameTree(left, right));
});
