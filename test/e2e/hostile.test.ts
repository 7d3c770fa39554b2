/** A hostile peer, with and without credentials, against a running agent, while a real peer keeps syncing. */

import assert from 'node:assert/strict';
import { readdir, writeFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { fromUtf8, toHex, utf8 } from '../../agent/base/bytes.ts';
import { parseEndpoint } from '../../agent/base/endpoint.ts';
import { accessOfCode, parseAccessCode } from '../../agent/club/access-code.ts';
import { sha256 } from '../../agent/crypto/hash.ts';
import { connectTcp } from '../../agent/platform/net.ts';
import { connectChannel, type SecureChannel } from '../../agent/secure-channel/channel.ts';
import { agentsFor, joined, type TestAgent } from '../support/agents.ts';
import { eventually } from '../support/eventually.ts';
import { sameTree } from '../support/folder-tree.ts';

interface Setting {
  readonly victim: TestAgent;
  readonly left: string;
  readonly right: string;
  /** A file written on the victim's side arrives at the real peer. */
  readonly stillSyncs: () => Promise<void>;
}

async function setting(t: TestContext): Promise<Setting> {
  const [victim, friend] = await agentsFor(t, { name: 'victim' }, { name: 'friend' });
  assert.ok(victim && friend);
  const [left, right] = await joined(victim, friend);
  let count = 0;
  const stillSyncs = async () => {
    count += 1;
    await writeFile(join(left, `during attack ${count}`), String(count));
    await eventually('the real peer keeps syncing', () => sameTree(left, right));
  };
  return { victim, left, right, stillSyncs };
}

function socketTo(agent: TestAgent): Promise<Socket> {
  const { host, port } = parseEndpoint(agent.listen);
  return new Promise((resolve) => {
    const socket = connect(port, host, () => resolve(socket));
    // The agent may let go of a newcomer before we know that we are connected.
    socket.once('error', () => resolve(socket));
  });
}

/** Resolves when the other side has let go. */
function closed(socket: Socket): Promise<void> {
  socket.on('error', () => {});
  socket.resume();
  return new Promise((resolve) => (socket.destroyed ? resolve() : socket.once('close', () => resolve())));
}

test('200 idle connections and garbage before authentication do not keep a real peer from syncing', async (t) => {
  const { victim, stillSyncs } = await setting(t);
  const idle = await Promise.all(Array.from({ length: 200 }, () => socketTo(victim)));
  t.after(() => {
    for (const socket of idle) socket.destroy();
  });
  for (const socket of idle) socket.on('error', () => {}).resume();
  await stillSyncs();
  await eventually('idle connections beyond 64 are let go', () => {
    return idle.filter((socket) => socket.destroyed || socket.readableEnded).length >= 200 - 64;
  });
  for (const socket of idle) socket.destroy();

  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 2_000 }), fc.boolean(), async (bytes, tls) => {
      const socket = await socketTo(victim);
      const gone = closed(socket);
      socket.end(tls ? Buffer.concat([Buffer.from([0x16, 0x03, 0x01]), bytes]) : bytes);
      await gone;
    }),
    { numRuns: 60 },
  );
  await stillSyncs();
});

/** Joins as far as the channel: whoever has a code gets this far. */
async function channelTo(victim: TestAgent): Promise<SecureChannel> {
  const { id, secret } = accessOfCode(parseAccessCode(await victim.code('Music')), sha256);
  const { host, port } = parseEndpoint(victim.listen);
  const stream = await connectTcp(host, port);
  return connectChannel(stream, { id, secret, signal: AbortSignal.timeout(20_000) });
}

/** Sends raw bytes inside the channel and reads until the victim closes. */
async function provoke(
  channel: SecureChannel,
  parts: AsyncIterable<string> | Iterable<string>,
): Promise<string> {
  let heard = '';
  const reading = (async () => {
    try {
      for (let bytes = await channel.read(); bytes !== null; bytes = await channel.read())
        heard += fromUtf8(bytes);
    } catch {
      // Broken off is as good as closed.
    }
  })();
  try {
    for await (const part of parts) await channel.write(utf8(part));
  } catch {
    // The victim has let go while we were still talking.
  }
  await reading;
  channel.abort(new Error('test over'));
  return heard;
}

const START =
  '{"type":"core.start","software":"evil 1","protocol":1,"extensions":["database","directory"],"peer":"00112233445566778899aabbccddeeff"}';
const framed = (json: string) => `m${utf8(json).length}${json}`;

const INSIDE: Readonly<Record<string, string>> = {
  'an oversized length': 'm16777217{',
  'a negative length': 'm-5{"type":"x"}',
  'a hexadecimal length': 'm0x10{"type":"x"}',
  'an exponent': 'm1e2{"type":"x"}',
  'deep nesting': framed(`{"type":"x","a":${'['.repeat(100)}${']'.repeat(100)}}`),
  'a duplicate key': framed('{"type":"x","type":"core.ping"}'),
  'a body that is not an object': 'm4[10]',
  'no type': framed('{"a":1}'),
  'a wrong protocol version': framed(START.replace('"protocol":1', '"protocol":7')),
  'a malformed peer ID': framed(START.replace('00112233445566778899aabbccddeeff', '../../etc')),
  'a name of a megabyte': framed(START.replace('"peer"', `"name":"${'n'.repeat(1_000_000)}","peer"`)),
  'keys from a joiner': `${framed(START)}${framed('{"type":"core.keys","access_level":"read_write","keys":[]}')}`,
  'an update before the keys are acknowledged': `${framed(START)}${framed('{"type":"database.get_updates","since":{}}')}`,
};

test('whoever has only a code is refused for each kind of malformed message, and the club goes on', async (t) => {
  const { victim, stillSyncs } = await setting(t);
  for (const [what, bytes] of Object.entries(INSIDE)) {
    const heard = await provoke(await channelTo(victim), [bytes]);
    assert.doesNotMatch(heard.replace(/"type":"core\.(greeting|keys)"/g, ''), /"type":"database/, what);
  }
  await stillSyncs();
  assert.deepEqual((await victim.status()).problems, []);
});

/** A whole malicious member: joins, takes the keys, then does as it likes. */
async function member(victim: TestAgent): Promise<SecureChannel> {
  const channel = await channelTo(victim);
  let heard = '';
  const until = async (pattern: RegExp) => {
    while (!pattern.test(heard)) {
      const bytes = await channel.read();
      assert.ok(bytes !== null, 'the victim closed too early');
      heard += fromUtf8(bytes);
    }
  };
  await until(/core\.greeting/);
  await channel.write(utf8(framed(START)));
  await until(/"type":"core\.keys"[\s\S]*\]\}/);
  await channel.write(utf8(framed('{"type":"core.keys_acknowledgment"}')));
  return channel;
}

let nextRevision = 1;
function update(key: string, value: string, extra = ''): string {
  const revision = nextRevision++;
  const uuid = toHex(crypto.getRandomValues(new Uint8Array(16)));
  return framed(
    `{"type":"database.update","key":${JSON.stringify(key)},"value":${value},"uuid":"${uuid}","last_updated_by":"00112233445566778899aabbccddeeff","last_updated_rev":${revision},"update_time":"2026-01-01T00:00:00Z","vector_clock":{"00112233445566778899aabbccddeeff":${revision}}${extra}}`,
  );
}
const FILE = `{"size":5,"sha256":"${'ab'.repeat(32)}","mtime":"2026-01-01T00:00:00Z","unix_mode":"0644"}`;

test('a malicious member: no path leaves the share, lies about contents are never placed, endless chunks end', async (t) => {
  const { victim, left, stillSyncs } = await setting(t);
  const outside = join(left, '..');
  const before = (await readdir(outside)).sort();

  const paths = [
    '/../escaped',
    '/a/../../escaped',
    'no-slash',
    '//double',
    '/a/./b',
    '/nul\u0000byte',
    `/${'x'.repeat(256)}`,
  ];
  const names = ['/.clearskies/state', '/x.!clearsky', '/__proto__', '/ok.txt'];
  const channel = await member(victim);
  const messages = [
    framed('{"type":"database.get_updates","since":{}}'),
    ...[...paths, ...names].map((path) => update(path, FILE)),
    update('/huge', FILE.replace('"size":5', '"size":9223372036854775807')),
    update('/minus', FILE.replace('"size":5', '"size":-5')),
    update('/proto', `{"__proto__":{"polluted":true},"size":5,"sha256":"${'ab'.repeat(32)}"}`),
    update('/time', FILE.replace('2026-01-01', '9999-12-31')),
    update('/mode', FILE.replace('0644', '4777')),
    framed('{"type":"directory.get_presence"}'),
  ];
  // Every request for content is answered with the wrong bytes, for as long as the victim asks.
  let asked = '';
  const lying = (async () => {
    try {
      for (let bytes = await channel.read(); bytes !== null; bytes = await channel.read()) {
        asked += new TextDecoder().decode(bytes);
        if (!/directory\.get"/.test(asked)) continue;
        asked = '';
        const body = `{"type":"directory.data","sha256":"${'ab'.repeat(32)}","range":[0,5]}`;
        await channel.write(utf8(`!${body.length}${body}5\nWRONG0\n`));
      }
    } catch {
      // The victim has had enough of us.
    }
  })();
  for (const text of messages) await channel.write(utf8(text));
  await stillSyncs();
  assert.deepEqual((await readdir(outside)).sort(), before);
  const here = (await readdir(left)).filter((name) => !name.startsWith('.') && !name.startsWith('during'));
  assert.deepEqual(here, [], 'nothing with wrong contents got a name');
  channel.abort(new Error('test over'));
  await lying;

  const endless = await member(victim);
  async function* chunks(): AsyncGenerator<string> {
    const body = `{"type":"directory.bloom_filter","k_value":3}`;
    yield `!${body.length}${body}`;
    for (let i = 0; i < 200; i++) yield `1048576\n${'x'.repeat(1_048_576)}`;
  }
  await provoke(endless, chunks());
  await stillSyncs();

  const garbage = await member(victim);
  const pieces = fc.sample(fc.string({ unit: 'binary', maxLength: 500 }), { numRuns: 50, seed: 7 });
  await provoke(garbage, pieces);
  await stillSyncs();
});
