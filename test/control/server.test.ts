import assert from 'node:assert/strict';
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { utf8 } from '../../agent/base/bytes.ts';
import { isJsonObject, type Json, type JsonObject, parseJson } from '../../agent/base/json.ts';
import { type LogEntry, Logger } from '../../agent/base/log.ts';
import type { ByteStream } from '../../agent/base/stream.ts';
import { LineReader } from '../../agent/control/lines.ts';
import { openControlServer } from '../../agent/control/server.ts';
import { connectUnix } from '../../agent/platform/unix-socket.ts';
import { peerTest, runProgram } from '../support/peers.ts';
import { cut } from '../support/properties.ts';
import { sampleAgent } from './sample-agent.ts';

async function open(t: TestContext) {
  const folder = await mkdtemp(join(tmpdir(), 'skylark-control-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const path = join(folder, 'control');
  const logged: LogEntry[] = [];
  const sample = sampleAgent();
  const options = {
    path,
    agent: sample.agent,
    events: sample.events,
    software: 'Skylark 0.1.0',
    log: new Logger((entry) => logged.push(entry)),
  };
  const server = await openControlServer(options);
  t.after(() => server.close());
  return { ...sample, path, server, options, logged };
}

/** Lines written, lines read; no more than what a plain client does. */
class PlainClient {
  readonly stream: ByteStream;
  readonly #lines: LineReader;

  constructor(stream: ByteStream) {
    this.stream = stream;
    this.#lines = new LineReader(stream, 100_000_000);
  }

  async send(...lines: readonly (string | object)[]): Promise<void> {
    const text = lines.map((line) => `${typeof line === 'string' ? line : JSON.stringify(line)}\n`).join('');
    await this.stream.write(utf8(text));
  }

  async next(): Promise<JsonObject | null> {
    const line = await this.#lines.next();
    if (line === null) return null;
    const json = parseJson(line);
    assert.ok(isJsonObject(json));
    return json;
  }
}

async function connect(t: TestContext, path: string): Promise<PlainClient> {
  const client = new PlainClient(await connectUnix(path));
  t.after(() => client.stream.abort(new Error('test over')));
  const greeting = await client.next();
  assert.deepEqual(
    { ...greeting },
    { service: 'ClearSkies Control', software: 'Skylark 0.1.0', protocol: 1 },
  );
  return client;
}

const plain = (json: Json | null) => JSON.parse(JSON.stringify(json)) as unknown;

test('pipelined commands are answered in order, one at a time', async (t) => {
  const { path, begun, finishJoin } = await open(t);
  const client = await connect(t, path);
  await client.send(
    { type: 'create_share', path: '/music' },
    { type: '.io.skylark.join', code: 'SYNC74', path: '/joined' },
    { type: 'status' },
  );
  assert.deepEqual(plain(await client.next()), { id: '1', name: 'music' });
  assert.deepEqual(begun, ['createShare', 'join']);
  finishJoin();
  assert.equal((await client.next())?.path, '/joined');
  assert.equal((await client.next())?.paused, false);
});

test('a command that takes long does not hold up other clients', async (t) => {
  const { path, finishJoin } = await open(t);
  const [slow, quick] = [await connect(t, path), await connect(t, path)];
  await slow.send({ type: '.io.skylark.join', code: 'SYNC74', path: '/joined' });
  await quick.send({ type: 'status' });
  assert.equal((await quick.next())?.paused, false);
  finishJoin();
  assert.equal((await slow.next())?.mode, 'read_only');
});

test('every command and answer of control.md is as documented', async (t) => {
  const { path } = await open(t);
  const client = await connect(t, path);
  const exchange = async (command: object) => {
    await client.send(command);
    return plain(await client.next());
  };
  await exchange({ type: 'create_share', path: '/home/fatcat/Documents' });
  assert.deepEqual(await exchange({ type: 'list_shares' }), {
    shares: { '/home/fatcat/Documents': { id: '1', name: 'Documents', files: 350, synced: false } },
  });
  assert.deepEqual(await exchange({ type: 'pause' }), {});
  assert.deepEqual(await exchange({ type: 'status', unheard_of: { a: [1] } }), {
    paused: true,
    tracking: false,
    nat_punctured: false,
    upload_rate: 12_834,
    download_rate: 1_049_292,
  });
  assert.deepEqual(await exchange({ type: 'resume' }), {});
  const code = { type: 'create_access_code', mode: 'read_write', path: '/home/fatcat/Documents/' };
  assert.match(JSON.stringify(await exchange(code)), /^\{"access_code":"SYNC74A+"\}$/);
  assert.deepEqual(await exchange({ type: 'add_share', code: 'SYNC74', path: '/from' }), {});
  assert.deepEqual(await exchange({ type: 'add_share', code: 'SYNC123ABC', path: '/from' }), {
    error: 'code.typo',
    message: 'this code has a typo',
    remedy: 'look at it again',
    fault: 'user',
    exit_code: 64,
  });
  assert.deepEqual(await exchange({ type: 'remove_share', path: '/from' }), {});
  assert.deepEqual(await exchange({ type: 'set_config', config: { upload_limit: 123, use_dht: true } }), {});
  assert.deepEqual(await exchange({ type: 'set_config_value', key: 'upload_limit', value: 456 }), {});
  assert.deepEqual(await exchange({ type: 'get_config_value', key: 'upload_limit' }), { value: 456 });
  await client.send({ type: 'get_config' });
  assert.deepEqual(
    { ...((await client.next())?.config as JsonObject) },
    {
      name: 'piano',
      big: 9_223_372_036_854_775_807n,
      upload_limit: 456,
      use_dht: true,
    },
  );
  assert.deepEqual(await exchange({ type: 'stop' }), {});
});

test('a command that takes long tells how far it is before its answer, and what fails is the answer', async (t) => {
  const { path, finishVerify } = await open(t);
  const client = await connect(t, path);
  finishVerify();
  await client.send(
    { type: '.io.skylark.verify', share: 'music' },
    { type: '.io.skylark.read_file', share: 'music', path: '/song' },
    { type: '.io.skylark.read_file', share: 'music', path: '/broken' },
    { type: '.io.skylark.read_file', share: 'music' },
    { type: 'status' },
  );
  const counts = {
    bytes: 0,
    total_files: 2,
    total_bytes: 8,
    damaged: 0,
    repaired: 0,
    changed: 0,
    unreadable: 0,
  };
  assert.deepEqual(plain(await client.next()), { more: { files: 0, ...counts } });
  assert.deepEqual(plain(await client.next()), { more: { files: 1, ...counts } });
  assert.deepEqual(plain(await client.next()), { files: 2, ...counts, missing: 0, unread: 0 });
  const file = { more: { file: { size: 4, sha256: 'ab', mtime: null, from: 'folder', version: null } } };
  assert.deepEqual(plain(await client.next()), file);
  assert.deepEqual(plain(await client.next()), { more: { data: 'AQL9/w==' } });
  assert.deepEqual(plain(await client.next()), {});
  assert.deepEqual(plain(await client.next()), file);
  assert.deepEqual(plain(await client.next()), { more: { data: 'AQL9/w==' } });
  assert.equal((await client.next())?.error, 'file.unknown');
  assert.equal((await client.next())?.error, 'control.malformed');
  assert.equal((await client.next())?.paused, false);
});

test('work that a client waits for ends when the client goes', async (t) => {
  const { path, begun, finishVerify } = await open(t);
  const client = await connect(t, path);
  await client.send({ type: '.io.skylark.verify', share: 'music' });
  await client.next();
  await client.next();
  client.stream.abort(new Error('enough'));
  finishVerify();
  while (!begun.includes('verify ended')) await new Promise((resolve) => setImmediate(resolve));
});

test('closing does not wait for work that takes long', async (t) => {
  const { path, server } = await open(t);
  const client = await connect(t, path);
  await client.send({ type: '.io.skylark.verify', share: 'music' });
  await client.next();
  await client.next();
  const closing = server.close();
  assert.equal((await client.next())?.error, 'control.stopping');
  await closing;
});

test('garbage is not understood, and the next line is', async (t) => {
  const { path } = await open(t);
  const client = await connect(t, path);
  const garbage = [
    'not json',
    '[1]',
    '"x"',
    '{"type":5}',
    '{}',
    '{"type":"no_such_command"}',
    '{"type":"toString"}',
    '{"type":"status","type":"stop"}',
    `${'['.repeat(1_000)}`,
    '\u0000\u0001',
  ];
  await client.send(...garbage, '', '  \r', { type: 'status' });
  for (const line of garbage) {
    const answer = await client.next();
    assert.equal(answer?.error, 'not_understood', line);
    assert.equal(typeof answer?.message, 'string');
  }
  assert.equal((await client.next())?.paused, false);
  await client.stream.write(Uint8Array.of(0xff, 0xfe, 10));
  assert.equal((await client.next())?.error, 'not_understood');
});

test('a command with wrong options says which', async (t) => {
  const { path, begun } = await open(t);
  const client = await connect(t, path);
  await client.send({ type: 'create_share' }, { type: 'create_access_code', path: '/x', mode: 'admin' });
  const [missing, wrong] = [await client.next(), await client.next()];
  assert.equal(missing?.error, 'control.malformed');
  assert.match(String(missing?.message), /create_share\.path is missing/);
  assert.match(
    String(wrong?.message),
    /create_access_code\.mode is not one of read_write, read_only, untrusted/,
  );
  assert.deepEqual(begun, []);
});

test('a bug behind a command is told, logged, and survived', async (t) => {
  const { path, logged } = await open(t);
  const client = await connect(t, path);
  await client.send({ type: '.io.skylark.revoke_code', code: 'SECRET' }, { type: 'status' });
  const answer = await client.next();
  assert.equal(answer?.error, 'internal');
  assert.equal(answer?.exit_code, 70);
  assert.equal((await client.next())?.paused, false);
  const [entry] = logged.filter(({ level }) => level === 'error');
  assert.equal(entry?.fields.type, '.io.skylark.revoke_code');
  assert.doesNotMatch(JSON.stringify(logged), /SECRET/);
});

test('a line without end is cut off, others go on', async (t) => {
  const { path } = await open(t);
  const [endless, other] = [await connect(t, path), await connect(t, path)];
  const flood = async () => {
    for (;;) await endless.stream.write(utf8('y'.repeat(65_536)));
  };
  const flooding = assert.rejects(flood());
  assert.equal((await endless.next())?.error, 'not_understood');
  // It may go on for a while, but not for ever.
  await flooding;
  await other.send({ type: 'status' });
  assert.equal((await other.next())?.paused, false);
});

test('a client that does not read is not served further, others are', async (t) => {
  const { path, begun } = await open(t);
  const [deaf, other] = [await connect(t, path), await connect(t, path)];
  const talk = async () => {
    for (;;) await deaf.send(...Array.from({ length: 1_000 }, () => ({ type: 'get_config' })));
  };
  const talking = assert.rejects(talk());
  // It is held up once nothing more is begun for it.
  for (let before = -1; before !== begun.length; ) {
    before = begun.length;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  assert.ok(begun.length < 50_000, `${begun.length} commands`);
  await other.send({ type: 'status' });
  assert.equal((await other.next())?.paused, false);
  deaf.stream.abort(new Error('seen'));
  await talking;
});

test('lines may come in any pieces', async (t) => {
  const { path } = await open(t);
  const text = utf8('{"type":"pause"}\n\n{"type":"status"}\r\n{"type":"ümläut"}\n{"type":"resume"}');
  await fc.assert(
    fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1 }), async (lengths) => {
      const client = await connect(t, path);
      for (const piece of cut(text, lengths)) await client.stream.write(piece);
      await client.stream.close();
      assert.deepEqual(plain(await client.next()), {});
      assert.equal((await client.next())?.paused, true);
      assert.equal((await client.next())?.error, 'not_understood');
      assert.deepEqual(plain(await client.next()), {});
      assert.equal(await client.next(), null);
    }),
    { numRuns: 20 },
  );
});

test('events go to those who asked, from then on, until they leave', async (t) => {
  const { path, events } = await open(t);
  const watcher = await connect(t, path);
  events.publish({ event: 'too_early' });
  await watcher.send({ type: '.io.skylark.events' });
  assert.deepEqual(plain(await watcher.next()), {});
  events.publish({ event: 'file_added', share: '1', path: '/a\nb', size: 5 });
  events.publish({ event: 'peer_connected', peer: 'ab' });
  const first = await watcher.next();
  assert.equal(first?.event, 'file_added');
  assert.equal(first?.path, '/a\nb');
  assert.match(String(first?.time), /^\d{4}-.*Z$/);
  assert.equal((await watcher.next())?.event, 'peer_connected');
});

test('a watcher that is too slow loses the oldest events, and is told how many', async (t) => {
  const { path, events } = await open(t);
  const watcher = await connect(t, path);
  await watcher.send({ type: '.io.skylark.events' });
  await watcher.next();
  for (let number = 0; number < 5_000; number++) events.publish({ event: 'file_added', count: number });
  let lost = 0;
  let seen = 0;
  while (lost + seen < 5_000) {
    const event = await watcher.next();
    if (event?.event === 'lost') lost += Number(event.count);
    else seen += 1;
  }
  assert.ok(lost >= 3_900, `${lost} lost`);
  assert.equal(lost + seen, 5_000);
});

test('the socket is the owner’s alone; a dead one is replaced, a live one and a file are not', async (t) => {
  const { path, server, options } = await open(t);
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  await assert.rejects(openControlServer(options), { code: 'control.in_use', exitCode: 73 });
  await server.close();
  await assert.rejects(stat(path), { code: 'ENOENT' });
  await writeFile(path, '');
  await assert.rejects(openControlServer(options), { code: 'net.not_a_socket' });
  await rm(path);
  await (await openControlServer(options)).close();
});

test('closing answers what runs and ends what waits', async (t) => {
  const { path, server, finishJoin } = await open(t);
  const [busy, idle, watcher] = [await connect(t, path), await connect(t, path), await connect(t, path)];
  await busy.send({ type: '.io.skylark.join', code: 'SYNC74', path: '/joined' }, { type: 'status' });
  await watcher.send({ type: '.io.skylark.events' });
  await watcher.next();
  await idle.send({ type: 'status' });
  await idle.next();
  const closing = server.close();
  finishJoin();
  assert.equal((await busy.next())?.path, '/joined');
  assert.equal(await idle.next(), null);
  assert.equal(await watcher.next(), null);
  await busy.next().catch(() => null);
  await closing;
});

peerTest(
  'a program that sends a line far too long sees the answer and ends',
  { programs: ['socat'] },
  async (t) => {
    const { path } = await open(t);
    const { output } = await runProgram(t, 'socat', ['-t60', '-', `UNIX-CONNECT:${path}`], {
      input: `nonsense\n${'y'.repeat(3_000_000)}\n`,
    });
    assert.equal(output.match(/not_understood/g)?.length, 2);
  },
);

peerTest('socat and lines of JSON are all it takes', { programs: ['socat'] }, async (t) => {
  const { path } = await open(t);
  const { code, output } = await runProgram(t, 'socat', ['-t5', '-', `UNIX-CONNECT:${path}`], {
    input:
      '{"type":"create_share","path":"/m"}\n{"type":"nonsense"}\nnot json\n{"type":"list_shares"}\n{"type":"stop"}',
  });
  assert.equal(code, 0);
  const answers = output
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  assert.equal(answers.length, 6);
  assert.equal(answers[0]?.service, 'ClearSkies Control');
  assert.deepEqual(answers[1], { id: '1', name: 'm' });
  assert.equal(answers[2]?.error, 'not_understood');
  assert.equal(answers[3]?.error, 'not_understood');
  assert.ok(Object.hasOwn(answers[4]?.shares as object, '/m'));
  assert.deepEqual(answers[5], {});
});
