/** What a disk can't give back: with real agents, on a block device with bad sectors. */

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { agentsFor, type TestAgent } from '../support/agents.ts';
import { eventually } from '../support/eventually.ts';
import { FAILING_DISK, mountFailingDisk } from '../support/failing-disk.ts';
import { peerTest } from '../support/peers.ts';

const problems = async (agent: TestAgent) => (await agent.status()).problems.map(({ code }) => code);

peerTest(
  'a file on bad sectors is read from a member, repaired, and never spread',
  FAILING_DISK,
  async (t) => {
    const [a, b] = await agentsFor(t, { name: 'a' }, { name: 'b' });
    assert.ok(a && b);
    const disk = await mountFailingDisk(t);
    const [from, to] = [join(disk.path, 'Music'), b.folder('Music')];
    await mkdir(join(from, 'f'), { recursive: true });
    await a.run('share', from, '--name', 'Music');
    await b.run('join', await a.code('Music'), to, '--peer', a.listen);
    const song = `The beginning of ${'a melody that is nowhere else\n'.repeat(1_000)}`;
    for (const name of ['one', 'two', 'f/three']) await writeFile(join(from, name), `${name}: ${song}`);
    const arrived = () => ['one', 'two', 'f/three'].every((name) => existsSync(join(to, name)));
    await eventually('they arrive', arrived);
    await eventually('they are noted', async () => (await a.status()).shares[0]?.synced === true);
    assert.match(await a.run('verify', 'Music'), /^3 files read, .*; none damaged\n$/);

    await b.end();
    await a.end();
    disk.fail('two: The beginning');
    await a.start();
    const nowhere = await a.command('get', 'Music', 'two');
    assert.deepEqual([nowhere.exitCode === 0, nowhere.stdout], [false, '']);
    const found = await a.command('verify', 'Music');
    assert.equal(found.stdout.split(';')[1], ' 1 damaged, 0 repaired\n');
    assert.deepEqual(await problems(a), ['share.damaged']);

    await b.start();
    await eventually('they meet', async () => (await a.status()).peers.some(({ connected }) => connected));
    assert.equal(await a.run('get', 'Music', 'two'), `two: ${song}`, 'another has it');
    const repaired = await a.command('verify', 'Music');
    assert.equal(repaired.stdout.split(';')[1], ' 1 damaged, 1 repaired\n', repaired.stderr);
    assert.equal(await readFile(join(from, 'two'), 'utf8'), `two: ${song}`);
    assert.deepEqual(await problems(a), []);
    assert.equal(await readFile(join(to, 'two'), 'utf8'), `two: ${song}`);
    assert.equal(await b.run('history', 'Music', '--json'), '{"versions":[]}\n', 'nothing changed by it');
  },
);

peerTest(
  'what a disk could not give back for a while is whole again by itself when it can',
  FAILING_DISK,
  async (t) => {
    const [a] = await agentsFor(t, { name: 'a' });
    assert.ok(a);
    const disk = await mountFailingDisk(t);
    const from = join(disk.path, 'Music');
    await mkdir(join(from, 'f'), { recursive: true });
    await a.run('share', from, '--name', 'Music');
    for (const name of ['one', 'f/two']) await writeFile(join(from, name), `${name}: contents`.repeat(2_000));
    await eventually('they are noted', async () => (await a.status()).shares[0]?.files === 2);
    await eventually('they are noted', async () => (await a.status()).shares[0]?.synced === true);
    await a.end();
    disk.fail(': contents');
    await a.start();
    assert.equal((await a.command('verify', 'Music')).stdout.split(';')[1], ' 2 damaged, 0 repaired\n');
    assert.deepEqual(await problems(a), ['share.damaged']);
    await a.end();
    disk.heal();
    await a.start();
    await eventually('nothing is wrong any more', async () => (await problems(a)).length === 0);
    assert.equal((await a.command('get', 'Music', 'f/two')).exitCode, 0);
  },
);
