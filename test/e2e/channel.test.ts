/** Other people's TLS-SRP clients against a running agent: they get its greeting. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { agentsFor, type TestAgent } from '../support/agents.ts';
import { peerTest } from '../support/peers.ts';

/** The access ID and the secret of a written code, computed here from the protocol's text and not by our own codec. */
function credentials(code: string): { user: string; password: string } {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
  let bits = 0n;
  for (const character of code.slice(0, 32)) bits = (bits << 5n) | BigInt(alphabet.indexOf(character));
  const bytes = Buffer.from(bits.toString(16).padStart(40, '0'), 'hex').subarray(4);
  const id = createHash('sha256').update(bytes.subarray(0, 8)).digest('hex');
  return { user: `clearskies:1:${id}`, password: bytes.subarray(8).toString('hex') };
}

async function sharing(agent: TestAgent): Promise<{ user: string; password: string }> {
  const folder = agent.folder('Music');
  await mkdir(folder, { recursive: true });
  await agent.run('share', folder, '--name', 'Music');
  return credentials(await agent.code('Music', '--multi-use'));
}

/** Runs a client until its output matches, or it ends. Returns all of the output. */
async function talk(program: string, args: readonly string[], until: RegExp): Promise<string> {
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] });
  let output = '';
  const seen = (piece: Buffer) => {
    output += piece.toString('latin1');
    if (until.test(output)) child.kill('SIGKILL');
  };
  child.stdout.on('data', seen);
  child.stderr.on('data', seen);
  child.stdin.on('error', () => {});
  const giveUp = setTimeout(() => child.kill('SIGKILL'), 25_000);
  await new Promise((resolve) => child.once('close', resolve));
  clearTimeout(giveUp);
  return output;
}

const GREETING = /"type":"core\.greeting"/;

function gnutls(listen: string, cipher: string, user: string, password: string): Promise<string> {
  const [host, port] = listen.split(':') as [string, string];
  const priority = `NONE:+VERS-TLS1.2:+SRP:${cipher}:+SHA1:+COMP-NULL:+GROUP-ALL:+SIGN-ALL`;
  return talk(
    'gnutls-cli',
    [
      '--port',
      port,
      host,
      '--no-ca-verification',
      '--priority',
      priority,
      '--srpusername',
      user,
      '--srppasswd',
      password,
    ],
    GREETING,
  );
}

peerTest('gnutls-cli with each suite receives the greeting', { programs: ['gnutls-cli'] }, async (t) => {
  const [agent] = await agentsFor(t, { name: 'a' });
  assert.ok(agent);
  const { user, password } = await sharing(agent);
  for (const cipher of ['+AES-256-CBC', '+AES-128-CBC']) {
    assert.match(await gnutls(agent.listen, cipher, user, password), GREETING, cipher);
  }
});

peerTest('curl (OpenSSL) with each suite receives the greeting', { programs: ['curl'] }, async (t) => {
  const [agent] = await agentsFor(t, { name: 'a' });
  assert.ok(agent);
  const { user, password } = await sharing(agent);
  for (const suite of ['SRP-AES-256-CBC-SHA', 'SRP-AES-128-CBC-SHA']) {
    const args = ['-k', '-sS', '--http0.9', '--tlsv1.2', '--tls-max', '1.2', '--ciphers', suite];
    args.push('--tlsauthtype', 'SRP', '--tlsuser', user, '--tlspassword', password, '--max-time', '20');
    assert.match(await talk('curl', [...args, `https://${agent.listen}/`], GREETING), GREETING, suite);
  }
});

peerTest('a wrong password and an unknown ID are refused alike', { programs: ['gnutls-cli'] }, async (t) => {
  const [agent] = await agentsFor(t, { name: 'a' });
  assert.ok(agent);
  const { user, password } = await sharing(agent);
  const wrong = await gnutls(agent.listen, '+AES-256-CBC', user, `${password.slice(1)}0`);
  const unknown = await gnutls(agent.listen, '+AES-256-CBC', `clearskies:1:${'0'.repeat(64)}`, password);
  for (const output of [wrong, unknown]) {
    assert.doesNotMatch(output, GREETING);
    assert.match(output, /[Bb]ad record MAC/);
  }
});
