import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fromUtf8, utf8 } from '../../agent/base/bytes.ts';
import { SkylarkError } from '../../agent/base/errors.ts';
import { Secret } from '../../agent/base/log.ts';
import type { ByteStream } from '../../agent/base/stream.ts';
import { memoryStreamPair } from '../support/memory-stream.ts';
import { accept, connect, establish, ID, outcomes, PASSWORD, readAll, UNKNOWN_ID } from './both-ends.ts';

test('500 handshakes, each with other secrets and salts, without one failure', async () => {
  for (let i = 0; i < 500; i++) {
    const id = i.toString(16).padStart(64, '0');
    const secret = new Secret((i * 7919).toString(16).padStart(16, '0'));
    const { server, client } = await establish({
      server: { authenticate: (asked) => (asked === id ? secret : undefined) },
      client: { id, secret },
    });
    await client.write(utf8('ping'));
    assert.equal(fromUtf8((await server.read())!), 'ping');
    assert.equal(server.id, id);
  }
});

for (const bits of [2048, 3072, 4096, 8192] as const) {
  test(`a server with the ${bits} bit group is accepted`, async () => {
    const { server, client } = await establish({ server: { tls: { groups: [bits] } } });
    await server.write(utf8('hello'));
    assert.equal(fromUtf8((await client.read())!), 'hello');
  });
}

test('3072 bits and AES-256 are the defaults', async () => {
  const { server, client } = await establish({ server: { tls: { groups: [3072] } } });
  assert.deepEqual(
    [server, client].map(({ version, role, id, cipher }) => ({ version, role, id, cipher })),
    ['server', 'client'].map((role) => ({
      version: 1,
      role,
      id: ID,
      cipher: 'TLS_SRP_SHA_WITH_AES_256_CBC_SHA',
    })),
  );
});

test('data goes both ways with each suite', async () => {
  const suites = ['TLS_SRP_SHA_WITH_AES_256_CBC_SHA', 'TLS_SRP_SHA_WITH_AES_128_CBC_SHA'] as const;
  for (const suite of suites) {
    const { server, client } = await establish({ client: { tls: { suites: [suite] } } });
    assert.equal(server.cipher, suite);
    const large = new Uint8Array(300_000).map((_, i) => i * 7);
    const [atServer, atClient] = await Promise.all([
      readAll(server),
      readAll(client),
      client.write(large).then(() => client.close()),
      server.write(utf8('short')),
    ]);
    assert.deepEqual(atServer, large);
    assert.deepEqual(fromUtf8(atClient), 'short');
  }
});

test('messages may arrive in pieces of any size', async () => {
  for (const pieces of [[1], [2, 3, 5], [7], [400, 1]]) {
    const { server, client } = await establish({ stream: { pieces } });
    await server.write(utf8('in pieces'));
    await server.close();
    assert.equal(fromUtf8(await readAll(client)), 'in pieces');
  }
});

test('a wrong secret and an unknown ID fail on both sides with the same codes', async () => {
  const attempts = [
    { id: ID, secret: new Secret(`${PASSWORD}0`) },
    { id: UNKNOWN_ID, secret: new Secret(PASSWORD) },
  ];
  for (const attempt of attempts) {
    const [a, b] = memoryStreamPair();
    const told: unknown[] = [];
    const [server, client] = await outcomes(
      accept(a, { onFailure: (id, why) => told.push([id, why.code]) }),
      connect(b, attempt),
    );
    for (const end of [server, client]) {
      assert.ok(end instanceof SkylarkError);
      assert.equal(end.code, 'channel.authentication_failed');
      assert.equal(end.fault, 'peer');
    }
    assert.deepEqual(told, [[attempt.id, 'channel.authentication_failed']]);
  }
});

test('the server is asked for a secret once, with the ID and where the caller is', async () => {
  const asked: unknown[] = [];
  await establish({
    server: {
      authenticate: async (id, remote) => {
        asked.push([id, remote]);
        return new Secret(PASSWORD);
      },
    },
  });
  assert.deepEqual(asked, [[ID, 'memory:a']]);
});

test("a lookup that fails ends the handshake with the lookup's error", async () => {
  const [a, b] = memoryStreamPair();
  const failure = new SkylarkError('environment', 'store.broken', 'the store can not be read');
  const told: unknown[] = [];
  const [server, client] = await outcomes(
    accept(a, { authenticate: () => Promise.reject(failure), onFailure: (_, why) => told.push(why) }),
    connect(b),
  );
  assert.equal(server, failure);
  assert.deepEqual(told, [failure]);
  assert.ok(client instanceof SkylarkError);
  assert.match(client.message, /internal error \(80\)/);
});

test('an ID of another form is our own mistake, and the stream is let go', async () => {
  const [a, b] = memoryStreamPair();
  await assert.rejects(connect(a, { id: 'AB'.repeat(32) }), { code: 'channel.id', fault: 'internal' });
  assert.equal(await b.read(), null);
});

test('an abort ends a handshake at once, on whichever side and at whichever moment', async () => {
  // The other side never answers: after nothing, and while the secret is looked up.
  for (const moment of ['before', 'waiting', 'in the lookup'] as const) {
    const [a, b] = memoryStreamPair();
    const abort = new AbortController();
    const reason = new Error(`stopped ${moment}`);
    const told: unknown[] = [];
    if (moment === 'before') abort.abort(reason);
    const lookingUp = Promise.withResolvers<void>();
    const server = accept(a, {
      signal: abort.signal,
      authenticate: () => {
        lookingUp.resolve();
        return new Promise(() => {});
      },
      onFailure: (_, why) => told.push(why),
    });
    if (moment === 'in the lookup') {
      connect(b).catch(() => {});
      await lookingUp.promise;
    }
    abort.abort(reason);
    await assert.rejects(server, reason);
    await assert.rejects(a.read(), reason);
    assert.deepEqual(told, [], 'an abort is no failure of the peer');
  }

  const [, b] = memoryStreamPair();
  const abort = new AbortController();
  const client = connect(b, { signal: abort.signal });
  abort.abort(new Error('stopped'));
  await assert.rejects(client, { message: 'stopped' });
});

test('after the handshake the signal means nothing any more', async () => {
  const abort = new AbortController();
  const { server, client } = await establish({
    server: { signal: abort.signal },
    client: { signal: abort.signal },
  });
  abort.abort(new Error('the 20 s are over'));
  await server.write(utf8('still here'));
  assert.equal(fromUtf8((await client.read())!), 'still here');
});

test('whoever does not speak TLS is closed at once, and told apart', async () => {
  const callers = [
    { says: 'CSKY2\n', code: 'channel.version_unsupported' },
    { says: 'GET / HTTP/1.1\r\n', code: 'channel.not_clearskies' },
    { says: '', code: 'channel.closed_early' },
  ];
  for (const { says, code } of callers) {
    const [a, b] = memoryStreamPair();
    const told: unknown[] = [];
    const server = accept(a, { onFailure: (id, why) => told.push([id, why.code]) });
    if (says === '') await b.close();
    else await b.write(utf8(says));
    await assert.rejects(server, { code, fault: 'peer' });
    assert.equal(await b.read(), null);
    assert.deepEqual(told, [[undefined, code]]);
  }
});

test('a side that leaves in the middle of a handshake is told from one that breaks rules', async () => {
  const [a, b] = memoryStreamPair();
  const server = accept(a);
  await b.write(Uint8Array.of(0x16, 3, 1));
  await b.close();
  await assert.rejects(server, { code: 'channel.closed_early', fault: 'peer' });

  const [c, d] = memoryStreamPair();
  const client = connect(c);
  await d.close();
  await assert.rejects(client, { code: 'channel.closed_early', fault: 'peer' });
});

test('any byte of a handshake that is changed on the way makes both ends fail; of the last flight, the client', async () => {
  for (const direction of ['client', 'server'] as const) {
    for (let at = 0; ; at += 7) {
      const [a, b] = memoryStreamPair();
      const change = changingByte(direction === 'client' ? b : a, at);
      // A changed length may make an end wait for bytes that never come: that fails by the deadline.
      const deadline = new AbortController();
      const settled = [accept(a, { signal: deadline.signal }), connect(b, { signal: deadline.signal })].map(
        (end) =>
          end.then(
            () => 'established',
            (error: Error) => (error instanceof SkylarkError ? error.fault : error.message),
          ),
      );
      if ((await Promise.race([...settled, quiet()])) === 'quiet') deadline.abort(new Error('deadline'));
      const ends = await Promise.all(settled);
      if (!change.made) break;
      // Only the minor version in the header of an unprotected record has no meaning.
      if (change.meaningless) assert.deepEqual(ends, ['established', 'established']);
      else if (change.inServersLastFlight) assert.deepEqual(ends, ['established', 'peer']);
      else
        for (const end of ends)
          assert.match(end, /^(peer|deadline|connection reset by peer)$/, `at ${at} of the ${direction}`);
    }
  }
});

/** Changes the byte at an offset in all that a stream sends. */
function changingByte(
  stream: ByteStream,
  at: number,
): { made: boolean; meaningless: boolean; inServersLastFlight: boolean } {
  const change = { made: false, meaningless: false, inServersLastFlight: false };
  let offset = 0;
  let isProtected = false;
  const write = stream.write.bind(stream);
  stream.write = (bytes) => {
    const copy = bytes.slice();
    // Whole records are written.
    for (let record = 0; record < bytes.length; record += 5 + bytes[record + 3]! * 256 + bytes[record + 4]!) {
      if (!isProtected && at === offset + record + 2) change.meaningless = true;
      if (bytes[record] === 20) isProtected = true;
    }
    if (at >= offset && at < offset + copy.length) {
      copy[at - offset] = copy[at - offset]! ^ 0x41;
      change.made = true;
      change.inServersLastFlight = isProtected && stream.label === 'memory:a';
    }
    offset += copy.length;
    return write(copy);
  };
  return change;
}

/** Resolves when nothing has happened for a few turns of the event loop. */
async function quiet(): Promise<'quiet'> {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
  return 'quiet';
}
