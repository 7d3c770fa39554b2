/** Discovery over real networks: namespaces of this machine. */

import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import { NAMESPACES, openNetwork } from '../support/namespaces.ts';
import { peerTest, startProgram } from '../support/peers.ts';

const PROGRAM = fileURLToPath(new URL('agent-program.ts', import.meta.url));
const FLOOD = fileURLToPath(new URL('flood-program.ts', import.meta.url));
const ID = 'a'.repeat(64);
const peer = (letter: string) => letter.repeat(32);

const agent = (letter: string, port = 0) => [PROGRAM, peer(letter), String(port), ID];

peerTest(
  'agents in different networks meet those of their own, and one that is in both meets all',
  NAMESPACES,
  async (t) => {
    const network = openNetwork(t, { piano: ['home'], laptop: ['home', 'studio'], server: ['studio'] });
    const start = (host: string, letter: string) =>
      startProgram(t, ...network.command(host, process.execPath, agent(letter)));
    const [piano, laptop, server] = [start('piano', '1'), start('laptop', '2'), start('server', '3')];
    const meets = (who: typeof piano, letter: string) =>
      who.waitFor(new RegExp(`^(?:dialled|accepted) ${peer(letter)} `, 'm'));
    await Promise.all([meets(piano, '2'), meets(laptop, '1'), meets(laptop, '3'), meets(server, '2')]);
    assert.doesNotMatch(piano.output, new RegExp(peer('3')));
    assert.doesNotMatch(server.output, new RegExp(peer('1')));
  },
);

peerTest('a cable that is plugged in later is enough', NAMESPACES, async (t) => {
  const network = openNetwork(t, { piano: ['home'], phone: ['home'] });
  network.setCable('piano', 'home', 'down');
  const piano = startProgram(t, ...network.command('piano', process.execPath, agent('1')));
  const phone = startProgram(t, ...network.command('phone', process.execPath, agent('2')));
  await Promise.all([piano.waitFor(/^listening/m), phone.waitFor(/^listening/m)]);
  network.setCable('piano', 'home', 'up');
  await piano.waitFor(new RegExp(`^(?:dialled|accepted) ${peer('2')}`, 'm'));
  assert.match(piano.output, /^log the network changed/m);
});

peerTest('a member that comes back at its old address is found again', NAMESPACES, async (t) => {
  const network = openNetwork(t, { piano: ['home'], phone: ['home'] });
  const piano = startProgram(t, ...network.command('piano', process.execPath, agent('1')));
  const first = startProgram(t, ...network.command('phone', process.execPath, agent('2', 49_221)));
  await piano.waitFor(new RegExp(`^(?:dialled|accepted) ${peer('2')}`, 'm'));
  await first.end('SIGKILL');
  await piano.waitFor(new RegExp(`^ended ${peer('2')}`, 'm'));
  const second = startProgram(t, ...network.command('phone', process.execPath, agent('2', 49_221)));
  await second.waitFor(new RegExp(`^(?:dialled|accepted) ${peer('1')}`, 'm'));
});

peerTest(
  'ten thousand forged broadcasts a second hide no member and cause few dials',
  NAMESPACES,
  async (t) => {
    const network = openNetwork(t, { piano: ['home'], phone: ['home'], villain: ['home'] });
    const piano = startProgram(t, ...network.command('piano', process.execPath, agent('1')));
    await piano.waitFor(/^listening/m);
    const flood = startProgram(
      t,
      ...network.command('villain', process.execPath, [FLOOD, '10.77.1.255', ID, '10000']),
    );
    await flood.waitFor(/^1 s/m);
    const phone = startProgram(t, ...network.command('phone', process.execPath, agent('2')));
    await piano.waitFor(new RegExp(`^(?:dialled|accepted) ${peer('2')}`, 'm'));
    await phone.end();
    await flood.waitFor(/^3 s/m);
    await flood.end();
    piano.endInput();
    const [, , dials] = await piano.waitFor(/^used (\d+) ms CPU (\d+) dials/m);
    // To the villain: eight at once, and one each four seconds.
    assert.ok(Number(dials) < 20, `${dials} dials`);
    t.diagnostic(`${flood.output.trim().split('\n').at(-1)}; ${/^used .*/m.exec(piano.output)?.[0]}`);
  },
);
