import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { utf8 } from '../../agent/base/bytes.ts';
import { silentLogger } from '../../agent/base/log.ts';
import { connectControl } from '../../agent/control/client.ts';
import { command } from '../../agent/control/command.ts';
import { COMMANDS, STREAMS } from '../../agent/control/messages.ts';
import { openControlServer } from '../../agent/control/server.ts';
import { listenUnix } from '../../agent/platform/unix-socket.ts';
import { sampleAgent } from './sample-agent.ts';

async function socketPath(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'skylark-control-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  return join(folder, 'control');
}

async function open(t: TestContext) {
  const path = await socketPath(t);
  const sample = sampleAgent();
  const server = await openControlServer({
    path,
    agent: sample.agent,
    events: sample.events,
    software: 'Skylark 0.1.0',
    log: silentLogger,
  });
  t.after(() => server.close());
  const client = await connectControl(path);
  t.after(() => client.close());
  return { ...sample, path, server, client };
}

test('requests are answered, also when they overlap', async (t) => {
  const { client } = await open(t);
  assert.equal(client.greeting.software, 'Skylark 0.1.0');
  const [made, shares, status] = await Promise.all([
    client.request(COMMANDS.createShare, { path: '/music' }),
    client.request(COMMANDS.listShares, {}),
    client.request(COMMANDS.fullStatus, {}),
  ]);
  assert.equal(made.name, 'music');
  assert.deepEqual([...shares.shares.keys()], ['/music']);
  assert.equal(status.uptimeS, 1);
  const forever = await client.request(COMMANDS.createCode, { share: '/music', expires: null });
  assert.equal(forever.expires, null);
});

test('a command that takes long is heard as it goes on, and left at any time', async (t) => {
  const { client, begun, path, finishVerify } = await open(t);
  const items = client.stream(STREAMS.readFile, { share: 'music', path: '/song' });
  const file = { size: 4, sha256: 'ab', mtime: null, from: 'folder', version: null };
  assert.deepEqual((await items.next()).value, { file });
  assert.deepEqual((await items.next()).value, { data: Uint8Array.of(1, 2, 253, 255) });
  assert.deepEqual(await items.next(), { done: true, value: {} });
  const broken = client.stream(STREAMS.readFile, { share: 'music', path: '/broken' });
  await broken.next();
  await broken.next();
  await assert.rejects(broken.next(), { code: 'file.unknown' });
  assert.equal((await client.request(COMMANDS.status, {})).paused, false);

  const leaver = await connectControl(path);
  for await (const _ of leaver.stream(STREAMS.verify, { share: 'music' })) break;
  await leaver.close();
  finishVerify();
  while (!begun.includes('verify ended')) await new Promise((resolve) => setImmediate(resolve));
});

test('what the daemon refuses is thrown as it was, and the next request works', async (t) => {
  const { client } = await open(t);
  const refused = client.request(COMMANDS.addShare, { code: 'SYNC123ABC', path: '/x' });
  const next = client.request(COMMANDS.status, {});
  await assert.rejects(refused, {
    name: 'SkylarkError',
    fault: 'user',
    code: 'code.typo',
    message: 'this code has a typo',
    remedy: 'look at it again',
    exitCode: 64,
  });
  assert.equal((await next).paused, false);
  await assert.rejects(client.request(COMMANDS.pause, { share: 'musik' }), {
    code: 'share.unknown',
    fault: 'user',
  });
});

test('a command of another version is told as such', async (t) => {
  const { client } = await open(t);
  await assert.rejects(client.request(command('.io.skylark.future', {}, {}), {}), {
    code: 'control.not_understood',
    fault: 'environment',
  });
});

test('without a daemon the error says what to do and has the exit code 69', async (t) => {
  await assert.rejects(connectControl(await socketPath(t)), {
    code: 'control.not_running',
    fault: 'environment',
    exitCode: 69,
    message: 'the daemon is not running',
    remedy: "start it with 'skylark run', or name its state folder with --state",
  });
});

test('events come until the watcher stops', async (t) => {
  const { client, events } = await open(t);
  const stop = new AbortController();
  const seen: string[] = [];
  const first = client.events(stop.signal)[Symbol.asyncIterator]();
  const pending = first.next();
  // The subscription stands when an event gets through.
  const timer = setInterval(() => events.publish({ event: 'file_added', path: '/a' }), 5);
  seen.push((await pending).value?.event);
  clearInterval(timer);
  stop.abort(new Error('enough'));
  for (let next = await first.next(); next.done !== true; next = await first.next())
    seen.push(next.value.event);
  assert.equal(seen[0], 'file_added');
});

test('a daemon that ends meanwhile is told', async (t) => {
  const { client, server } = await open(t);
  const waiting = client.request(COMMANDS.join, { code: 'SYNC74', path: '/x' });
  const watched = assert.rejects(waiting, { code: 'control.connection_lost', exitCode: 69 });
  await server.close();
  await watched;
});

test('the signal ends what is waited for', async (t) => {
  const { path } = await open(t);
  const stop = new AbortController();
  const client = await connectControl(path, stop.signal);
  const waiting = client.request(COMMANDS.join, { code: 'SYNC74', path: '/x' });
  const reason = new Error('Ctrl-C');
  stop.abort(reason);
  await assert.rejects(waiting, (error) => error === reason);
  await client.close();
});

for (const [what, greeting] of [
  ['another service', '{"service":"Other","software":"x","protocol":1}\n'],
  ['another protocol', '{"service":"ClearSkies Control","software":"x","protocol":2}\n'],
] as const) {
  test(`${what} is refused`, async (t) => {
    const path = await socketPath(t);
    const listener = await listenUnix({ path, mode: 0o600, maxConnections: 1 }, (stream) => {
      void stream.write(utf8(greeting)).then(() => stream.close());
    });
    t.after(() => listener.close());
    await assert.rejects(connectControl(path), { code: 'control.other_protocol', fault: 'environment' });
  });
}
