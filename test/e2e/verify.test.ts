/** `skylark verify` with real agents, on a disk that changes bytes by itself. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { agentsFor, type TestAgent } from '../support/agents.ts';
import { eventually } from '../support/eventually.ts';
import { peerTest } from '../support/peers.ts';
import { mountRottingDisk, ROTTING_DISK } from '../support/rotting-disk.ts';

const contents = (path: string) => readFile(path, 'utf8').catch(() => undefined);
const problems = async (agent: TestAgent) => (await agent.status()).problems.map(({ code }) => code);

peerTest('what the disk has damaged is found, told, never spread, and repaired', ROTTING_DISK, async (t) => {
  const disk = mountRottingDisk(t);
  const [a, b] = await agentsFor(t, { name: 'a' }, { name: 'b' });
  assert.ok(a && b);
  const [from, to] = [join(disk.path, 'Music'), b.folder('Music')];
  await a.run('share', from, '--name', 'Music');
  await b.run('join', await a.code('Music'), to, '--peer', a.listen);
  const song = 'a melody that is nowhere else on this disk\n'.repeat(100);
  await writeFile(join(from, 'song'), `The beginning of ${song}`);
  await writeFile(join(from, 'other'), 'another one');
  await eventually('they arrive', () => existsSync(join(to, 'song')) && existsSync(join(to, 'other')));
  await eventually('they are noted', async () => (await a.status()).shares[0]?.synced === true);
  assert.match(await a.run('verify', 'Music'), /^2 files read, 4\.3 kB; none damaged\n$/);

  await b.end();
  await a.end();
  disk.rot('The beginning of a melody');
  await a.start();
  const found = await a.command('verify', 'Music');
  assert.deepEqual(
    [found.exitCode, found.stdout],
    [1, '2 files read, 4.3 kB; 1 damaged, 0 repaired\n'],
    found.stderr,
  );
  assert.match(found.stderr, /^\/song is damaged by the disk, and no copy of it was found\n/);
  assert.match(found.stderr, /\nskylark verify: 1 file of the share is not as it should be; /);
  assert.deepEqual(await problems(a), ['share.damaged']);
  assert.match(await a.run('status'), /the disk has damaged a file, .*\n {2}\/song\n/);
  assert.match((await contents(join(from, 'song'))) ?? '', /^Dhe beginning/);
  const refused = await a.command('get', 'Music', 'song');
  assert.deepEqual([refused.exitCode, refused.stdout], [75, '']);

  await b.start();
  await eventually('they meet', async () => (await a.status()).peers.some(({ connected }) => connected));
  const repaired = JSON.parse(await a.run('verify', 'Music', '--json')) as Record<string, unknown>;
  const { files, damaged, repaired: right, missing, found: named } = repaired;
  assert.deepEqual(
    { files, damaged, right, missing, named },
    { files: 2, damaged: 1, right: 1, missing: 0, named: [{ path: '/song', outcome: 'repaired' }] },
  );
  assert.equal(await contents(join(from, 'song')), `The beginning of ${song}`);
  assert.deepEqual(await problems(a), []);
  const { versions } = JSON.parse(await a.run('history', 'Music', 'song', '--json')) as {
    versions: { version: number; reason: string }[];
  };
  assert.deepEqual(
    versions.map(({ reason }) => reason),
    ['damaged'],
  );
  const onlyDamaged = await a.command('restore', 'Music', 'song');
  assert.match(
    onlyDamaged.stderr,
    /the archive has only what the disk had damaged; choose one with --version/,
  );
  assert.equal(await contents(join(to, 'song')), `The beginning of ${song}`);
  assert.equal(await b.run('history', 'Music', '--json'), '{"versions":[]}\n');
});

test('first mistakes with verify are told, and Ctrl-C ends it', async (t) => {
  const [a] = await agentsFor(t, { name: 'a', settings: { 'log.level': 'debug' } });
  assert.ok(a);
  const folder = a.folder('Music');
  await mkdir(folder);
  // Takes a second or two to be read, and no room.
  await writeFile(join(folder, 'large'), '');
  await truncate(join(folder, 'large'), 2 ** 30);
  await a.run('share', folder, '--name', 'Music');
  await eventually('it is noted', async () => (await a.status()).shares[0]?.synced === true);
  assert.match((await a.command('verify')).stderr, /SHARE is missing/);
  assert.match((await a.command('verify', 'Musik')).stderr, /there is no share Musik; did you mean Music\?/);
  await a.run('pause', 'Music');
  const paused = await a.command('verify', 'Music');
  assert.match(paused.stderr, /the share Music is paused; 'skylark resume' it first/);
  assert.equal(paused.exitCode, 75);
  await a.run('resume', 'Music');

  const begun = () => a.log.split('.io.skylark.verify').length;
  const before = begun();
  const [program, argv] = a.argv(['verify', 'Music', '--state', a.state]);
  const child = spawn(program, argv, { stdio: ['ignore', 'pipe', 'pipe'] });
  const ended = once(child, 'exit');
  await eventually('it runs', () => begun() > before);
  child.kill('SIGINT');
  assert.deepEqual(await ended, [130, null]);
  await eventually('it has ended', async () => (await a.command('verify', 'Music')).exitCode === 0);
  assert.equal((await a.command('stop')).exitCode, 0);
});
