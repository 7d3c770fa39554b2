/** Starts that are refused: with which exit code, and what is said about it (docs/operations.md). */

import assert from 'node:assert/strict';
import { chmod, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { agentsFor } from '../support/agents.ts';

test('a daemon that cannot start says why in one line, and ends with the code that is documented', async (t) => {
  const [a, b] = await agentsFor(t, { name: 'a' }, { name: 'b' });
  assert.ok(a && b);
  const refused = async (exitCode: number, says: RegExp, ...args: string[]) => {
    const result = await a.command('run', '--set', 'discovery.lan=false', ...args);
    assert.equal(result.exitCode, exitCode, result.stderr);
    assert.equal(result.stdout, '');
    const last = result.stderr.trimEnd().split('\n').at(-1) ?? '';
    assert.match(last, says);
  };
  await refused(75, /^skylark run: another process .* works with this state folder/);
  await a.end();

  await refused(
    75,
    /^skylark run: port \d+ on .* is taken by another program; /,
    '--set',
    `listen=${b.listen}`,
  );

  for (const mode of [0o777, 0o770]) {
    await chmod(a.state, mode);
    await refused(77, /^skylark run: other users may write into the state folder .*; .*chmod 700 /);
    assert.equal((await stat(a.state)).mode & 0o777, mode);
  }
  await chmod(a.state, 0o755);
  await a.start();
  assert.equal((await stat(a.state)).mode & 0o777, 0o700, 'what others could read is closed to them');
  await a.end();

  const records = join(a.state, 'records.db');
  await writeFile(records, 'not a database, and longer than its header would be'.repeat(99));
  await refused(78, /^skylark run: the database .* is damaged/);

  for (const name of ['state.json', 'state.json.previous'])
    await writeFile(join(a.state, name), 'not a state');
  await refused(78, /^skylark run: the state file .* is damaged and so is its last copy; /);
});
