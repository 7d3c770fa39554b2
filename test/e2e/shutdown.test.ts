/** Whatever an agent is doing, it ends in order and at once when it is asked to. */

import assert from 'node:assert/strict';
import { mkdir, open, readdir, truncate, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { agentsFor, type TestAgent } from '../support/agents.ts';
import { eventually } from '../support/eventually.ts';

const GIB = 1_073_741_824;
/** What an operating system waits before it kills, with a margin: the bound that the agent promises, milliseconds. */
const BOUND = 5_000;

/** Asks it to end and looks at how it did. */
async function endsInOrder(agent: TestAgent, signal: 'SIGTERM' | 'SIGINT'): Promise<void> {
  const asked = performance.now();
  const ended = agent.end(signal);
  const exitCode = await ended;
  assert.equal(exitCode, 0);
  assert.ok(performance.now() - asked < BOUND, `${performance.now() - asked} ms`);
}

describe('an agent that is asked to end', () => {
  it('ends while it reads a huge file, and right after the next start', async (t) => {
    const [a] = await agentsFor(t, { name: 'a' });
    assert.ok(a);
    await mkdir(a.folder('Music'));
    await writeFile(join(a.folder('Music'), 'huge'), '');
    await truncate(join(a.folder('Music'), 'huge'), 300 * GIB);
    await a.run('share', a.folder('Music'));
    await eventually('it is being read', async () => (await a.status()).shares[0]?.synced === false);
    await endsInOrder(a, 'SIGTERM');
    await a.start();
    await endsInOrder(a, 'SIGINT');
  });

  it('ends on both sides of a transfer', async (t) => {
    const [a, b] = await agentsFor(t, { name: 'a' }, { name: 'b' });
    assert.ok(a && b);
    const folder = a.folder('Music');
    await mkdir(folder);
    const file = await open(join(folder, 'large'), 'w');
    await file.truncate(GIB / 2);
    await file.close();
    await a.run('share', folder);
    await eventually('it is read', async () => (await a.run('ls', 'Music')).includes('large'));
    await b.run('join', await a.code('Music'), b.folder('Music'), '--peer', a.listen);
    const tmp = join(b.folder('Music'), '.clearskies', 'tmp');
    await eventually('it is arriving', async () => (await readdir(tmp).catch(() => [])).length > 0);
    await endsInOrder(b, 'SIGTERM');
    await b.start();
    await eventually('it is arriving again', async () =>
      (await b.status()).peers.some(({ connected }) => connected),
    );
    await endsInOrder(a, 'SIGTERM');
    await endsInOrder(b, 'SIGINT');
  });

  it('ends with handshakes that never go on, clients that do not read, and a join that waits', async (t) => {
    const [a] = await agentsFor(t, { name: 'a' });
    assert.ok(a);
    await a.run('share', a.folder('Music'));
    const code = await a.code('Music');
    await a.run('leave', 'Music');
    const port = Number(a.listen.slice(a.listen.lastIndexOf(':') + 1));
    const sockets = [
      ...Array.from({ length: 20 }, () => connect(port, '127.0.0.1')),
      ...Array.from({ length: 5 }, () => connect(join(a.state, 'control'))),
    ];
    t.after(() => {
      for (const socket of sockets) socket.destroy();
    });
    for (const socket of sockets) {
      socket.on('error', () => {});
      // The beginning of a TLS record; and of a line.
      socket.pause().write(Uint8Array.of(0x16, 3, 1, 0, 200, 1));
    }
    const joining = a.command('join', code, a.folder('elsewhere'));
    await eventually('it is waiting', async () => (await readdir(join(a.state, '..'))).includes('elsewhere'));
    await endsInOrder(a, 'SIGTERM');
    const { exitCode, stderr } = await joining;
    assert.notEqual(exitCode, 0);
    assert.match(stderr, /^skylark join: /);
    assert.ok(!(await readdir(join(a.state, '..'))).includes('elsewhere'));
  });
});
