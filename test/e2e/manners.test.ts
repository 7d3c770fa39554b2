/** Limits of the daemon, as somebody sets them while it runs, and sees them in its status. */

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { agentsFor, joined, type TestAgent } from '../support/agents.ts';
import { eventually } from '../support/eventually.ts';

/** Sets options of a running agent; what is given with `--set` could not be changed. */
async function configure(agent: TestAgent, config: Readonly<Record<string, string>>): Promise<void> {
  const socket = connect(join(agent.state, 'control'));
  const lines = createInterface({ input: socket })[Symbol.asyncIterator]();
  await lines.next();
  socket.write(`${JSON.stringify({ type: 'set_config', config })}\n`);
  assert.deepEqual(JSON.parse(String((await lines.next()).value)), {});
  socket.destroy();
}

async function isThere(path: string, contents: Uint8Array): Promise<boolean> {
  return (await readFile(path).catch(() => undefined))?.equals(contents) ?? false;
}

const noneHeld = async (agent: TestAgent) => (await agent.status()).holds.length === 0;
const pending = async (agent: TestAgent) => (await agent.status()).shares[0]?.pending_files;

for (const side of ['upload', 'download'] as const)
  test(`a limit of the ${side} slows contents down, not records, and ends when it is lifted`, async (t) => {
    const [a, b] = await agentsFor(t, { name: 'a' }, { name: 'b' });
    assert.ok(a && b);
    const [from, to] = await joined(a, b);
    const limited = side === 'upload' ? a : b;
    await configure(limited, { [`manners.${side}_rate`]: '10kB' });
    // At this rate, they would take hours.
    const large = randomBytes(64_000_000);
    await writeFile(join(from, 'large.wav'), large);
    await eventually('it has begun', async () => {
      const { month } = await limited.status();
      return (side === 'upload' ? month.up : month.down) > 0;
    });
    await eventually(
      'how long it takes is told',
      async () => ((await b.status()).shares[0]?.eta_s ?? 0) > 60,
    );
    assert.match(await b.run('status'), /1 file \(64 MB\) still to come, in about \d+ (minute|hour)s?;/);
    // The other way, and around the contents that wait, everything goes on.
    await writeFile(join(to, 'note.txt'), 'heard');
    await eventually('the note', () => isThere(join(from, 'note.txt'), Buffer.from('heard')));
    assert.equal(await isThere(join(to, 'large.wav'), large), false);
    await configure(limited, { [`manners.${side}_rate`]: '1GB' });
    await eventually('the large one', () => isThere(join(to, 'large.wav'), large));
  });

test('what a month allows is counted over restarts, held and told when it is used up, and goes on when it is raised', async (t) => {
  const [a, b] = await agentsFor(t, { name: 'a' }, { name: 'b' });
  assert.ok(a && b);
  const [from, to] = await joined(a, b);
  const first = randomBytes(300_000);
  await writeFile(join(from, 'first.mid'), first);
  await eventually('the first is there', () => isThere(join(to, 'first.mid'), first));
  await b.restart();
  assert.equal((await b.status()).month.down, 300_000);
  await configure(b, { 'manners.monthly_download': '300kB' });
  const second = randomBytes(50_000);
  await writeFile(join(from, 'second.mid'), second);
  await eventually('its record is here', async () => (await pending(b)) === 1);
  const { problems, holds } = await b.status();
  assert.deepEqual(
    problems.map(({ code }) => code),
    ['manners.monthly_download'],
  );
  assert.deepEqual(
    holds.map(({ code, upload, download }) => ({ code, upload, download })),
    [{ code: 'manners.monthly_download', upload: false, download: true }],
  );
  const refused = await b.command('get', 'Music', '/second.mid', '-o', b.folder('second.mid'));
  assert.equal(refused.exitCode, 75);
  assert.match(
    refused.stderr,
    /is not here, and contents wait to be received: 300kB of them were in this month/,
  );
  // It still gives what it has, and notes what is done here.
  await writeFile(join(to, 'third.mid'), 'third');
  await eventually('the third is there', () => isThere(join(from, 'third.mid'), Buffer.from('third')));
  assert.equal(await pending(b), 1);
  await configure(b, { 'manners.monthly_download': '1GB' });
  await eventually('the second is there', () => isThere(join(to, 'second.mid'), second));
  assert.equal((await b.status()).month.down, 350_000);
  assert.ok(await noneHeld(b));
});

test('a member with quiet hours gives nothing meanwhile, and everything afterwards, without being asked again', async (t) => {
  const [a, b] = await agentsFor(t, { name: 'a' }, { name: 'b' });
  assert.ok(a && b);
  const [from, to] = await joined(a, b);
  await configure(a, { 'manners.quiet_hours': '00:00-24:00' });
  const contents = randomBytes(3_000_000);
  await writeFile(join(from, 'night.wav'), contents);
  await eventually('its record is there', async () => (await pending(b)) === 1);
  assert.match(await a.run('status'), /^contents wait: quiet hours; change manners\.quiet_hours/m);
  assert.deepEqual((await a.status()).problems, []);
  const refused = await b.command('get', 'Music', '/night.wav', '-o', b.folder('night.wav'));
  assert.match(refused.stderr, /no member that is connected has it/);
  const later = (new Date().getHours() + 12) % 24;
  await configure(a, { 'manners.quiet_hours': `${later}:00-${later}:30` });
  await eventually('it is there', () => isThere(join(to, 'night.wav'), contents));
});
