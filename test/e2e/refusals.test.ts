/** What a daemon refuses to share or to list, and that the refusal leaves nothing behind. */

import assert from 'node:assert/strict';
import { mkdir, readdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, it, test } from 'node:test';
import { agentsFor, type TestAgent } from '../support/agents.ts';
import { eventually } from '../support/eventually.ts';

test('the folder with the keys is never shared: not itself, nor one in it, nor one around it', async (t) => {
  const [agent] = await agentsFor(t, { name: 'a' });
  assert.ok(agent);
  await symlink(agent.state, agent.folder('link'));
  for (const path of [
    agent.state,
    join(agent.state, 'inner'),
    dirname(agent.state),
    agent.folder('link'),
    join(agent.folder('link'), 'inner'),
  ]) {
    const { exitCode, stderr } = await agent.command('share', path);
    assert.equal(exitCode, 64, path);
    assert.match(stderr, /^skylark share: .* overlaps with .*\/state, where the keys of this device are; /);
  }
  assert.deepEqual((await agent.status()).shares, []);
});

test('what is a share already, and codes that are not there, are named as such', async (t) => {
  const [agent] = await agentsFor(t, { name: 'a' });
  assert.ok(agent);
  await agent.run('share', agent.folder('Music'));
  const again = await agent.command('share', agent.folder('Music'));
  assert.equal(again.exitCode, 64);
  assert.match(again.stderr, /^skylark share: .*\/Music is the share Music already; /);
  const revoked = await agent.command('code', '--revoke', 'bob');
  assert.equal(revoked.exitCode, 64);
  assert.match(revoked.stderr, /^skylark code: there is no such access code or user name on this device; /);
  const misplaced = await agent.command('--json', 'status');
  assert.equal(misplaced.exitCode, 64);
  assert.match(misplaced.stderr, /^skylark --json: --json is no command; options follow the command/);
});

test('a folder that is refused because it is in a share is not made', async (t) => {
  const [agent] = await agentsFor(t, { name: 'a' });
  assert.ok(agent);
  await agent.run('share', agent.folder('Music'));
  const { exitCode } = await agent.command('share', join(agent.folder('Music'), 'inner'));
  assert.equal(exitCode, 64);
  assert.ok(!(await readdir(agent.folder('Music'))).includes('inner'));
});

test('listing tells an empty folder from one that is not there', async (t) => {
  const [agent] = await agentsFor(t, { name: 'a' });
  assert.ok(agent);
  const music = agent.folder('Music');
  await mkdir(join(music, 'empty'), { recursive: true });
  await mkdir(join(music, 'full'));
  await writeFile(join(music, 'full/a.mid'), 'MThd');
  await agent.run('share', music, '--name', 'Music');

  await eventually('the folder is listed', async () => (await agent.run('ls', 'Music')).includes('/empty/'));
  assert.equal(await agent.run('ls', 'Music', 'empty/'), '');
  assert.match(await agent.run('ls', 'Music', 'full/'), /\/full\/a\.mid\n$/);
  assert.match(await agent.run('ls', 'Music', 'full/a.mid', '--recursive'), /\/full\/a\.mid\n$/);
  const missing = await agent.command('ls', 'Music', 'nope');
  assert.deepEqual([missing.exitCode, missing.stdout], [64, '']);
  assert.match(missing.stderr, /^skylark ls: there is nothing at \/nope in the share Music; /);
});

describe('a join that fails', () => {
  /** Nobody is there: it is given up after these seconds. */
  async function joinInVain(agent: TestAgent, code: string, folder: string, seconds = 1) {
    const { exitCode, stderr } = await agent.command('join', code, folder, '--timeout', String(seconds));
    assert.equal(exitCode, 75);
    assert.match(stderr, /^skylark join: no device that knows this code could be reached; /);
  }

  it('removes the folders that it made', async (t) => {
    const [a, b] = await agentsFor(t, { name: 'a' }, { name: 'b' });
    assert.ok(a && b);
    await a.run('share', a.folder('Music'));
    const code = await a.code('Music');
    await joinInVain(b, code, join(b.folder('above'), 'Music'));
    assert.deepEqual(await readdir(dirname(b.state)), ['state']);
    await a.run('code', '--revoke', code);
    const refused = await b.command('join', code, b.folder('Music'), '--peer', a.listen);
    assert.equal(refused.exitCode, 77);
    assert.deepEqual(await readdir(dirname(b.state)), ['state']);
  });

  it('leaves a folder that was there, and one that is not empty any more', async (t) => {
    const [a, b] = await agentsFor(t, { name: 'a' }, { name: 'b' });
    assert.ok(a && b);
    await a.run('share', a.folder('Music'));
    const code = await a.code('Music');
    await mkdir(b.folder('there'));
    await joinInVain(b, code, b.folder('there'));
    const joining = joinInVain(b, code, b.folder('new'));
    await eventually('the folder is made', async () => (await readdir(dirname(b.state))).includes('new'));
    await writeFile(join(b.folder('new'), 'file'), 'put there meanwhile');
    await joining;
    assert.deepEqual((await readdir(dirname(b.state))).sort(), ['new', 'state', 'there']);
    assert.deepEqual(await readdir(b.folder('new')), ['file']);
  });

  it('does not disturb another one: a folder is taken while something is joined into it', async (t) => {
    const [a, b] = await agentsFor(t, { name: 'a' }, { name: 'b' });
    assert.ok(a && b);
    await a.run('share', a.folder('Music'));
    const [first, second] = [await a.code('Music'), await a.code('Music')];
    // Longer than a program takes to start on a busy machine.
    const joining = joinInVain(b, first, b.folder('Music'), 8);
    await eventually('the folder is made', async () => (await readdir(dirname(b.state))).includes('Music'));
    const { exitCode, stderr } = await b.command('join', second, b.folder('Music'), '--peer', a.listen);
    assert.equal(exitCode, 64);
    assert.match(stderr, /being made a share at this moment/);
    await joining;
  });

  it('leaves no folder because of a name that is taken', async (t) => {
    const [a] = await agentsFor(t, { name: 'a' });
    assert.ok(a);
    await a.run('share', a.folder('Music'), '--name', 'Music');
    const { exitCode } = await a.command('share', a.folder('Other'), '--name', 'Music');
    assert.equal(exitCode, 64);
    assert.deepEqual((await readdir(dirname(a.state))).sort(), ['Music', 'state']);
  });
});
