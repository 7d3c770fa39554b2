/** `skylark history`, `restore` and `get` with real agents, as their users run them. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, readlink, rm, stat, symlink, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { agentsFor, joined, type TestAgent } from '../support/agents.ts';
import { eventually } from '../support/eventually.ts';

interface Version {
  readonly version: number;
  readonly path: string;
  readonly reason: string;
  readonly size: number;
  readonly sha256: string | null;
}

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');
const contents = (path: string) => readFile(path, 'utf8').catch(() => undefined);

async function history(agent: TestAgent, ...path: string[]): Promise<readonly Version[]> {
  const text = await agent.run('history', 'Music', ...path, '--json');
  return (JSON.parse(text) as { versions: Version[] }).versions;
}

async function refused(agent: TestAgent, exitCode: number, what: RegExp, ...args: string[]): Promise<void> {
  const result = await agent.command(...args);
  assert.match(result.stderr, what);
  assert.equal(result.exitCode, exitCode, result.stderr);
  assert.equal(result.stdout, '');
}

test('what was replaced and deleted elsewhere is found, and restored for everybody', async (t) => {
  const [a, b] = await agentsFor(t, { name: 'a' }, { name: 'b' });
  assert.ok(a && b);
  const [from, to] = await joined(a, b);
  await mkdir(join(from, '2026'));
  await writeFile(join(from, '2026/song'), 'first');
  await eventually('it arrives', async () => (await contents(join(to, '2026/song'))) === 'first');
  await writeFile(join(from, '2026/song'), 'second one');
  await eventually('it changes', async () => (await contents(join(to, '2026/song'))) === 'second one');
  await rm(join(from, '2026'), { recursive: true });
  await eventually('it goes', () => !existsSync(join(to, '2026')));

  const all = await history(b);
  assert.deepEqual(
    all.map(({ path, reason, size, sha256: hash }) => [path, reason, size, hash]),
    [
      ['/2026/song', 'deleted', 10, sha256('second one')],
      ['/2026/song', 'replaced', 5, sha256('first')],
    ],
  );
  assert.deepEqual(await history(b, '2026'), all);
  assert.deepEqual(await history(b, '/2026/song'), all);
  const table = await b.run('history', 'Music', '/2026/song');
  assert.match(table, /^VERSION {2}ARCHIVED +WHY +SIZE +MODIFIED +SHA-256 +PATH\n/);
  assert.match(
    table,
    new RegExp(
      `\n${all[1]?.version} +20.* replaced +5 bytes +20.* ${sha256('first').slice(0, 12)} +/2026/song\n`,
    ),
  );

  const [newest, oldest] = all;
  assert.ok(newest && oldest);
  assert.equal(
    await b.run('restore', 'Music', '2026/song'),
    `/2026/song is version ${newest.version} of /2026/song (10 bytes) again\n`,
  );
  assert.equal(await contents(join(to, '2026/song')), 'second one');
  await eventually(
    'it is back for everybody',
    async () => (await contents(join(from, '2026/song'))) === 'second one',
  );
  assert.equal(
    await b.run('restore', 'Music', '2026/song'),
    `/2026/song is version ${newest.version} of /2026/song (10 bytes) already\n`,
  );

  const restored = await b.run(
    'restore',
    'Music',
    '/2026/song',
    '--version',
    String(oldest.version),
    '--json',
  );
  const document = JSON.parse(restored) as { replaced: number };
  assert.deepEqual(document, {
    version: oldest.version,
    path: '/2026/song',
    size: 5,
    sha256: sha256('first'),
    changed: true,
    replaced: document.replaced,
    newer: false,
  });
  await eventually('the first is back', async () => (await contents(join(from, '2026/song'))) === 'first');
  const [saved] = await history(b);
  assert.deepEqual(
    [saved?.version, saved?.reason, saved?.sha256],
    [document.replaced, 'replaced', sha256('second one')],
  );

  // Another name in the folder is a change, too; a place outside of it is a new file, and nothing else.
  await b.run(
    'restore',
    'Music',
    '/2026/song',
    '--version',
    String(newest.version),
    '--to',
    join(to, 'new/copy'),
  );
  await eventually('the copy spreads', async () => (await contents(join(from, 'new/copy'))) === 'second one');
  const outside = join(b.folder('elsewhere'), 'song');
  await mkdir(b.folder('elsewhere'));
  await b.run(
    'restore',
    'Music',
    '/2026/song',
    '--version',
    String(newest.version),
    '--to',
    b.folder('elsewhere'),
  );
  assert.equal(await contents(outside), 'second one');
  await refused(
    b,
    73,
    /song is there already; choose another name/,
    'restore',
    'Music',
    '/2026/song',
    '--to',
    outside,
  );
  assert.deepEqual(await readdir(b.folder('elsewhere')), ['song']);
});

test('first mistakes with history and restore are told', async (t) => {
  const [a] = await agentsFor(t, { name: 'a' });
  assert.ok(a);
  const folder = a.folder('Music');
  await mkdir(join(folder, 'a folder'), { recursive: true });
  await writeFile(join(folder, 'song'), 'here');
  await a.run('share', folder, '--name', 'Music');
  await eventually('it is noted', async () => (await a.status()).shares[0]?.files === 1);

  await refused(a, 64, /there is no share Musik; did you mean Music\?/, 'history', 'Musik');
  await refused(
    a,
    64,
    /neither the share Music nor its archive has anything at \/nothing; /,
    'history',
    'Music',
    'nothing',
  );
  const { stdout, stderr, exitCode } = await a.command('history', 'Music', '/song');
  assert.deepEqual([stdout, stderr, exitCode], ['', 'nothing is kept of /song\n', 0]);
  assert.equal(await a.run('history', 'Music', '--json'), '{"versions":[]}\n');
  await refused(
    a,
    64,
    /the archive has no version of \/song; 'skylark history' lists/,
    'restore',
    'Music',
    '/song',
  );
  await refused(
    a,
    64,
    /7 is no version of \/song in the archive/,
    'restore',
    'Music',
    '/song',
    '--version',
    '7',
  );
  await refused(
    a,
    64,
    /--version is "first", but it must be a whole number/,
    'restore',
    'Music',
    '/song',
    '--version',
    'first',
  );
  await refused(a, 64, /there is no share Musik/, 'restore', 'Musik', '/song', '--to', '/tmp/x');
  await a.end();
  await refused(a, 69, /the daemon is not running; start it with 'skylark run'/, 'history', 'Music');
});

test('where a share is read-only, versions are restored outside of it only', async (t) => {
  const [a, b] = await agentsFor(t, { name: 'a' }, { name: 'b' });
  assert.ok(a && b);
  const [from, to] = await joined(a, b, { mode: 'read_only' });
  await writeFile(join(from, 'song'), 'first');
  await eventually('it arrives', async () => (await contents(join(to, 'song'))) === 'first');
  await unlink(join(from, 'song'));
  await eventually('it goes', () => !existsSync(join(to, 'song')));
  await refused(
    b,
    77,
    /the share is read-only here.*; restore it outside of the share, with --to/,
    'restore',
    'Music',
    'song',
  );
  await refused(b, 77, /read-only here/, 'restore', 'Music', 'song', '--to', join(to, 'other'));
  await b.run('restore', 'Music', 'song', '--to', b.folder('song'));
  assert.equal(await contents(b.folder('song')), 'first');
  assert.deepEqual(
    (await readdir(to)).filter((name) => name !== '.clearskies'),
    [],
  );
});

test('get writes what is here or with a member, and says what it can not', async (t) => {
  const [a, b] = await agentsFor(t, { name: 'a' }, { name: 'b' });
  assert.ok(a && b);
  const [from, to] = await joined(a, b);
  const large = Buffer.alloc(5_000_001, 'a large one ');
  await writeFile(join(from, 'large'), large);
  await mkdir(join(from, 'folder'));
  await eventually(
    'it arrives',
    async () => (await b.status()).shares[0]?.synced === true && existsSync(join(to, 'large')),
  );
  const out = b.folder('out');
  await mkdir(out);

  assert.equal(await b.run('get', 'Music', 'large', '-o', join(out, 'mine')), `${out}/mine: 5.0 MB\n`);
  assert.ok(large.equals(await readFile(join(out, 'mine'))));
  assert.equal((await stat(join(out, 'mine'))).mtimeMs, (await stat(join(to, 'large'))).mtimeMs);
  await b.run('get', 'Music', '/large', '--output', out);
  assert.ok(large.equals(await readFile(join(out, 'large'))));
  assert.ok(large.toString() === (await b.run('get', 'Music', 'large')));
  await refused(
    b,
    73,
    /mine is there already; choose another name/,
    'get',
    'Music',
    'large',
    '-o',
    join(out, 'mine'),
  );
  await refused(
    b,
    73,
    /there is no folder .*no\/such; make it first/,
    'get',
    'Music',
    'large',
    '-o',
    '/no/such/file',
  );
  await refused(b, 64, /\/folder is a folder; 'skylark ls'/, 'get', 'Music', 'folder');
  await refused(
    b,
    64,
    /there is no file \/larger in the share; 'skylark ls' lists/,
    'get',
    'Music',
    'larger',
  );
  await refused(b, 64, /there is no share Misic; did you mean Music/, 'get', 'Misic', 'large');

  // Something that is no file of the share keeps the place of this one.
  await symlink('/nowhere', join(to, 'later'));
  await writeFile(join(from, 'later'), large.subarray(1));
  await eventually('it is known', async () => (await b.run('ls', 'Music')).includes('not here  /later'));
  await b.run('get', 'Music', 'later', '-o', join(out, 'later'));
  assert.ok(large.subarray(1).equals(await readFile(join(out, 'later'))));
  assert.equal(await readlink(join(to, 'later')), '/nowhere');
  await a.end();
  await eventually('it is alone', async () => (await b.status()).peers.every(({ connected }) => !connected));
  await refused(
    b,
    75,
    /\/later is not here, and no member is connected; connect a device/,
    'get',
    'Music',
    'later',
  );

  // Whoever has read enough of it goes.
  const [program, argv] = b.argv(['get', 'Music', 'large', '--state', b.state]);
  const child = spawn(program, argv, { stdio: ['ignore', 'pipe', 'pipe'] });
  const complaints: Buffer[] = [];
  child.stderr.on('data', (piece: Buffer) => complaints.push(piece));
  child.stdout.once('data', () => child.stdout.destroy());
  assert.deepEqual(await once(child, 'close'), [0, null]);
  assert.equal(Buffer.concat(complaints).toString(), '');
  assert.deepEqual((await readdir(out)).sort(), ['large', 'later', 'mine']);
});
