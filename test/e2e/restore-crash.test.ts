/** `restore`, with the power gone at any moment: there is the old file or the restored one, and never anything else. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { connectControl } from '../../agent/control/client.ts';
import { COMMANDS } from '../../agent/control/messages.ts';
import { agentsFor, joined } from '../support/agents.ts';
import { eventually } from '../support/eventually.ts';

const hash = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
/** Everything in a part of the hidden folder, at any depth. */
const namesIn = async (share: string, part: string) =>
  (await readdir(join(share, '.clearskies', part), { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
const hashOf = async (path: string) => hash(await readFile(path));
/** What is seen of the work before the agent is killed. */
const MOMENTS = ['sent', 'copying', 'kept', 'placed', 'answered', 'copying', 'kept', 'placed'] as const;

test('an agent that is killed while it restores has the old file or the restored one', async (t) => {
  const [a, b] = await agentsFor(t, { name: 'a' }, { name: 'b' });
  assert.ok(a && b);
  const [from, to] = await joined(a, b);
  const [one, two] = [Buffer.alloc(6_000_000, 'one '), Buffer.alloc(6_000_000, 'two ')];
  const [first, second] = [hash(one), hash(two)];
  const there = () => hashOf(join(to, 'song')).catch(() => '');
  await writeFile(join(from, 'song'), one);
  await eventually('it arrives', async () => (await there()) === first);
  await writeFile(join(from, 'song'), two);
  await eventually('it changes', async () => (await there()) === second);
  // So that both versions are in the archive.
  await b.run('restore', 'Music', 'song');
  await eventually('it is noted', async () => (await b.status()).shares[0]?.synced === true);
  await a.end();

  const seen: string[] = [];
  for (const moment of MOMENTS) {
    const before = await there();
    const wanted = before === first ? second : first;
    const client = await connectControl(join(b.state, 'control'));
    const { versions } = await client.request(COMMANDS.history, { share: 'Music', path: '/song' });
    const version = versions.find(({ sha256 }) => sha256 === wanted)?.version;
    assert.ok(version !== undefined);
    const inode = (await stat(join(to, 'song'))).ino;
    const names = (await namesIn(to, 'archive')).length;
    let isAnswered = false;
    const restoring = client.request(COMMANDS.restore, { share: 'Music', path: '/song', version });
    restoring.then(
      () => {
        isAnswered = true;
      },
      () => {},
    );
    const isReached: Readonly<Record<(typeof MOMENTS)[number], () => Promise<boolean>>> = {
      sent: async () => true,
      copying: async () => (await namesIn(to, 'tmp')).length > 0,
      kept: async () => (await namesIn(to, 'archive')).length > names,
      placed: async () => (await stat(join(to, 'song'))).ino !== inode,
      answered: async () => isAnswered,
    };
    while (!(await isReached[moment]()) && !isAnswered) await new Promise((resolve) => setImmediate(resolve));
    await b.end('SIGKILL');
    await client.close();
    const after = await there();
    assert.ok(after === before || after === wanted, `when it was ${moment}, it is neither`);
    if (moment === 'placed' || moment === 'answered') assert.equal(after, wanted);
    seen.push(`${moment}: ${after === wanted ? 'restored' : 'old'}`);

    await b.start();
    await eventually('it is noted', async () => (await b.status()).shares[0]?.synced === true);
    assert.equal(await there(), after);
    const listed = JSON.parse(await b.run('ls', 'Music', 'song', '--json')) as {
      files: { sha256: string }[];
    };
    assert.equal(listed.files[0]?.sha256, after, 'what is there is what is recorded');
    assert.deepEqual(await readdir(join(to, '.clearskies/tmp')), []);
    // Every version is one file of its own, and whole.
    for (const path of await namesIn(to, 'archive')) {
      assert.equal((await stat(path)).nlink, 1);
      assert.ok([first, second].includes(await hashOf(path)));
    }
  }
  t.diagnostic(seen.join(', '));
});
