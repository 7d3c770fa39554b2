/** What a daemon refuses to share or to list, and that the refusal leaves nothing behind. */

import assert from 'node:assert/strict';
import { mkdir, readdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { agentsFor, eventually } from '../support/agents.ts';

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
