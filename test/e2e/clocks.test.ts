/** Devices whose clocks are wrong by decades: one that starts in 1970, one that thinks it is the year 9999. */

import assert from 'node:assert/strict';
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { agentsFor, joined } from '../support/agents.ts';
import { eventually } from '../support/eventually.ts';
import { sameTree } from '../support/folder-tree.ts';

/** For an agent's process: its clock began at this time when the test did. The clock is the only thing that is faked. */
function clockFrom(time: string): Record<string, string> {
  const offset = Date.parse(time) - Date.now();
  const source = `const now = Date.now; Date.now = () => now() + ${offset};`;
  return { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(source)}` };
}

const skip = process.env.SKYLARK_BINARY === undefined ? false : 'the clock of the binary is not ours to set';

test('what is edited in 1970 follows what was made in the year 9999, and after the clock is set too', {
  skip,
}, async (t) => {
  const [desk, piano, robot] = await agentsFor(t, { name: 'desk' }, { name: 'piano' }, { name: 'robot' });
  assert.ok(desk && piano && robot);
  piano.environment = clockFrom('1970-01-01T00:05:00Z');
  await piano.restart();
  robot.environment = clockFrom('9999-06-01T00:00:00Z');
  await robot.restart();
  const [first, second] = await joined(desk, piano);
  const [, third] = await joined(desk, robot);
  const all = [first, second, third];
  const same = async () => (await sameTree(first, second)) && (await sameTree(first, third));
  const says = (what: string, name: string, text: string) =>
    eventually(what, async () => {
      const found = await Promise.all(
        all.map((folder) => readFile(join(folder, name), 'utf8').catch(() => '')),
      );
      return found.every((each) => each === text) && (await same());
    });

  await writeFile(join(third, 'song'), 'by the robot');
  await says('all have what was made in 9999', 'song', 'by the robot');
  await writeFile(join(second, 'song'), 'by the piano');
  await says('what is edited in 1970 counts', 'song', 'by the piano');
  await writeFile(join(first, 'song'), 'by the desk');
  await says('what is edited today counts', 'song', 'by the desk');
  await rm(join(second, 'song'));
  await eventually('what is deleted in 1970 is gone', async () => {
    const names = await Promise.all(all.map((folder) => readdir(folder)));
    return names.every((each) => !each.includes('song'));
  });
  await writeFile(join(first, 'song'), 'again');
  await says('it can be made again', 'song', 'again');

  // The piano hears what time it is.
  piano.environment = {};
  await piano.restart();
  await writeFile(join(second, 'song'), 'at the right time');
  await says('what is edited then counts', 'song', 'at the right time');
  const expected = ['.clearskies', 'song'];
  for (const folder of all) assert.deepEqual((await readdir(folder)).sort(), expected, 'no false conflict');
  for (const agent of [desk, piano, robot]) assert.deepEqual((await agent.status()).problems, []);
  // At the last time that a database can count.
  await eventually('it is safe on whom it has met', async () => {
    const { safe_on: safe } = (await robot.status()).shares[0] ?? {};
    return safe !== undefined && safe.length > 0 && safe.every(({ since }) => since.startsWith('2262-04-1'));
  });
  assert.match(await robot.run('history', 'Music', '/song'), /2262-04-1/);
  await robot.run('restore', 'Music', '/song');
  await eventually('what it restores spreads', async () => (await same()) && (await isRestored(first)));
});

async function isRestored(folder: string): Promise<boolean> {
  return (await readFile(join(folder, 'song'), 'utf8')) !== 'at the right time';
}

test('what was changed on both sides while they were apart is kept twice, however wrong the clocks', {
  skip,
}, async (t) => {
  const [desk, piano] = await agentsFor(t, { name: 'desk' }, { name: 'piano' });
  assert.ok(desk && piano);
  piano.environment = clockFrom('1970-01-01T00:05:00Z');
  await piano.restart();
  const [left, right] = await joined(desk, piano);
  await writeFile(join(left, 'song'), 'first');
  await eventually('both have it', () => sameTree(left, right));
  await desk.end();
  await writeFile(join(right, 'song'), 'by the piano');
  const isNoted = async () => /"size":12/.test(await piano.run('ls', 'Music', '--json'));
  await eventually('the piano has noted it', isNoted);
  await piano.end();
  await writeFile(join(left, 'song'), 'by the desk');
  await desk.start();
  // Once more before anybody is told of the time.
  await piano.start();
  const texts = async (folder: string) => {
    const names = (await readdir(folder)).filter((name) => name !== '.clearskies');
    return (await Promise.all(names.map((name) => readFile(join(folder, name), 'utf8')))).sort();
  };
  await eventually(
    'both have both',
    async () => (await sameTree(left, right)) && (await texts(left)).length === 2,
  );
  assert.deepEqual(await texts(left), ['by the desk', 'by the piano']);
});
