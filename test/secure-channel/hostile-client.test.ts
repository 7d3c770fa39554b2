import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { concatBytes, toHex, utf8 } from '../../agent/base/bytes.ts';
import type { SkylarkError } from '../../agent/base/errors.ts';
import type { ByteStream } from '../../agent/base/stream.ts';
import { fromBigInt } from '../../agent/crypto/mod-exp.ts';
import { randomBytes } from '../../agent/crypto/random.ts';
import { srpClientExchange } from '../../agent/crypto/srp.ts';
import { srpGroupOf } from '../../agent/crypto/srp-groups.ts';
import { protect } from '../../agent/secure-channel/tls-srp/handshake.ts';
import { verifyData } from '../../agent/secure-channel/tls-srp/key-schedule.ts';
import {
  type ClientHello,
  EXTENSION,
  encodeClientHello,
  encodeClientKeyExchange,
  HANDSHAKE,
  handshakeMessage,
  NO_CONTENT,
} from '../../agent/secure-channel/tls-srp/messages.ts';
import { TLS_SUITES } from '../../agent/secure-channel/tls-srp/policy.ts';
import { memoryStreamPair } from '../support/memory-stream.ts';
import { mutated, survivesAsync } from '../support/properties.ts';
import { accept, ID, PASSWORD, UNKNOWN_ID, USERNAME } from './both-ends.ts';
import {
  AES_128,
  clientHello,
  extensionsOf,
  rawRecord,
  receiveAlert,
  receiveServerFlight,
  type ScriptedPeer,
  scriptedPeer,
  sendClientHello,
} from './scripted-peer.ts';

/** Our server, and a client that a test writes. */
function attacked(onFailure?: (id: string | undefined, why: SkylarkError) => void): {
  peer: ScriptedPeer;
  server: Promise<unknown>;
} {
  const [a, b] = memoryStreamPair();
  const server = accept(a, onFailure === undefined ? {} : { onFailure });
  server.catch(() => {});
  return { peer: scriptedPeer(b), server };
}

const without = (type: number) => extensionsOf(USERNAME, new Map([[type, undefined]]));
const withContent = (type: number, content: Uint8Array) => extensionsOf(USERNAME, new Map([[type, content]]));

const refusals: readonly { what: string; hello: Partial<ClientHello>; alert: number; code: string }[] = [
  { what: 'TLS 1.0', hello: { version: 0x0301 }, alert: 70, code: 'tls.version' },
  { what: 'TLS 1.1', hello: { version: 0x0302 }, alert: 70, code: 'tls.version' },
  {
    what: 'TLS 1.3 and nothing else',
    hello: { extensions: withContent(EXTENSION.supportedVersions, Uint8Array.of(2, 3, 4)) },
    alert: 70,
    code: 'tls.version',
  },
  {
    what: 'no SRP extension',
    hello: { extensions: without(EXTENSION.srp) },
    alert: 115,
    code: 'tls.no_srp',
  },
  { what: 'no extensions at all', hello: { extensions: new Map() }, alert: 115, code: 'tls.no_srp' },
  {
    what: 'an empty user name',
    hello: { extensions: withContent(EXTENSION.srp, Uint8Array.of(0)) },
    alert: 50,
    code: 'tls.malformed',
  },
  { what: 'only other suites', hello: { suites: [0x002f, 0xc01a] }, alert: 40, code: 'tls.no_common_suite' },
  { what: 'compression only', hello: { compressions: [1] }, alert: 47, code: 'tls.compression' },
  {
    what: 'no extended master secret',
    hello: { extensions: without(EXTENSION.extendedMasterSecret) },
    alert: 40,
    code: 'tls.extension_required',
  },
  {
    what: 'no encrypt-then-MAC',
    hello: { extensions: without(EXTENSION.encryptThenMac) },
    alert: 40,
    code: 'tls.extension_required',
  },
  {
    what: 'a renegotiation',
    hello: { extensions: withContent(EXTENSION.renegotiationInfo, Uint8Array.of(1, 7)) },
    alert: 40,
    code: 'tls.renegotiation',
  },
];

for (const { what, hello, alert, code } of refusals) {
  test(`a ClientHello with ${what} is refused with alert ${alert}`, async () => {
    const { peer, server } = attacked();
    await sendClientHello(peer, hello);
    assert.equal(await receiveAlert(peer), alert);
    await assert.rejects(server, { code, fault: 'peer' });
    assert.equal(await peer.stream.read(), null);
  });
}

test('a client that can do TLS 1.3 too, and knows more than we do, is served TLS 1.2', async () => {
  const { peer } = attacked();
  const unknown: [number, Uint8Array][] = [
    [EXTENSION.supportedVersions, Uint8Array.of(4, 3, 4, 3, 3)],
    [0x2a2a, NO_CONTENT],
    [51, randomBytes(300)],
  ];
  await sendClientHello(peer, {
    sessionId: randomBytes(32),
    suites: [0x1301, 0x2a2a, AES_128, 0x00ff],
    compressions: [1, 0],
    extensions: extensionsOf(USERNAME, new Map(unknown)),
  });
  const { hello } = await receiveServerFlight(peer);
  assert.equal(hello.version, 0x0303);
  assert.equal(hello.suite, AES_128);
  assert.deepEqual(hello.sessionId, NO_CONTENT);
  assert.deepEqual(
    new Set(hello.extensions.keys()),
    new Set([EXTENSION.renegotiationInfo, EXTENSION.extendedMasterSecret, EXTENSION.encryptThenMac]),
  );
});

test('A = 0, N, 2N and N + 1 are refused with alert 47, for a known and for an unknown ID', async () => {
  const { N } = srpGroupOf(2048);
  for (const id of [ID, UNKNOWN_ID]) {
    for (const A of [0n, N, 2n * N, N + 1n]) {
      const { peer, server } = attacked();
      await sendClientHello(peer, { extensions: extensionsOf(`clearskies:1:${id}`) });
      await receiveServerFlight(peer);
      const exchange = encodeClientKeyExchange({ publicValue: fromBigInt(A) });
      peer.transport.send(HANDSHAKE.clientKeyExchange, exchange);
      await peer.transport.flush();
      assert.equal(await receiveAlert(peer), 47);
      await assert.rejects(server, { code: 'srp.public_value' });
    }
  }
});

/** One try with a password: what the server sent, record by record, and how it ended. */
async function guess(
  username: string,
  password: string,
): Promise<{ readonly records: Uint8Array[]; readonly salt: Uint8Array; readonly end: unknown[] }> {
  const told: unknown[] = [];
  const { peer, server } = attacked((id, why) => told.push(id, why.code));
  const records = recordsOf(peer.stream);
  const random = randomBytes(32);
  await sendClientHello(peer, { random, extensions: extensionsOf(username) });
  const { hello, params } = await receiveServerFlight(peer);
  const credentials = { username: utf8(username), password: utf8(password), salt: params.salt };
  const exchange = srpClientExchange(srpGroupOf(2048), credentials, params.publicValue);
  peer.transport.send(
    HANDSHAKE.clientKeyExchange,
    encodeClientKeyExchange({ publicValue: exchange.publicValue }),
  );
  const agreement = {
    suite: TLS_SUITES.TLS_SRP_SHA_WITH_AES_256_CBC_SHA,
    randoms: { client: random, server: hello.random },
    extendedMasterSecret: true,
    encryptThenMac: true,
  };
  const { master, seal, open } = protect('client', agreement, exchange.premasterSecret, peer.transport);
  peer.transport.sendChangeCipherSpec(seal);
  peer.transport.send(HANDSHAKE.finished, verifyData(master, 'client', peer.transport.transcriptHash()));
  await peer.transport.flush();
  if (password === PASSWORD && username === USERNAME) {
    await peer.transport.receiveChangeCipherSpec(open);
    await peer.transport.receive(HANDSHAKE.finished);
    await server;
  } else {
    assert.equal(await receiveAlert(peer), 20);
    await assert.rejects(server, { code: 'channel.authentication_failed' });
    assert.equal(await peer.stream.read(), null);
  }
  return { records, salt: params.salt, end: told };
}

/** Collects the records that are read from a stream (they are written whole). */
function recordsOf(stream: ByteStream): Uint8Array[] {
  const records: Uint8Array[] = [];
  const read = stream.read.bind(stream);
  stream.read = async () => {
    const bytes = await read();
    for (let at = 0; bytes !== null && at < bytes.length; ) {
      const length = 5 + bytes[at + 3]! * 256 + bytes[at + 4]!;
      records.push(bytes.slice(at, at + length));
      at += length;
    }
    return bytes;
  };
  return records;
}

test('the right password is accepted from a scripted client, and no failure is told', async () => {
  assert.deepEqual((await guess(USERNAME, PASSWORD)).end, []);
});

test('a known and an unknown ID get the same bytes, lengths and order, and one salt each for ever', async () => {
  const names = [USERNAME, `clearskies:1:${UNKNOWN_ID}`, 'not even the right form', '\u0000'];
  const salts = new Set<string>();
  const shapes: unknown[] = [];
  for (const name of names) {
    const first = await guess(name, 'wrong');
    const again = await guess(name, 'wrong');
    assert.deepEqual(first.salt, again.salt);
    assert.equal(first.salt.length, 16);
    assert.notEqual(first.salt[0], 0);
    salts.add(toHex(first.salt));
    shapes.push(shapeOf(first.records), shapeOf(again.records));
  }
  assert.equal(salts.size, names.length);
  for (const shape of shapes) assert.deepEqual(shape, shapes[0]);
});

/** Everything that is not random: all bytes but the random, the salt and B; of B nothing but its length is looked at. */
function shapeOf(records: readonly Uint8Array[]): unknown {
  const [hello, exchange, done, alert, ...more] = records;
  assert.ok(hello !== undefined && exchange !== undefined && done !== undefined && alert !== undefined);
  assert.equal(more.length, 0);
  const salt = 5 + 4 + (2 + 256) + (2 + 1) + 1;
  // B is sent as short as it is: one byte less in 256 cases, two in 65536. The two headers' lengths go with it.
  const B = exchange.subarray(salt + 16 + 2);
  assert.ok(B.length <= 256 && B.length >= 252, `B has ${B.length} bytes`);
  return {
    hello: toHex(hello.fill(0, 11, 11 + 32)),
    params: toHex(exchange.slice(9, salt)),
    done: toHex(done),
    alert: toHex(alert),
  };
}

test('a failed guess is told with the ID that was claimed, if it was one', async () => {
  assert.deepEqual((await guess(USERNAME, 'wrong')).end, [ID, 'channel.authentication_failed']);
  const other = await guess('another form', 'wrong');
  assert.deepEqual(other.end, [undefined, 'channel.authentication_failed']);
});

const disorder: readonly { what: string; send: (peer: ScriptedPeer) => Promise<void>; alert: number }[] = [
  {
    what: 'a key exchange instead of a hello',
    send: (peer) =>
      peer.stream.write(rawRecord(22, handshakeMessage(HANDSHAKE.clientKeyExchange, NO_CONTENT))),
    alert: 10,
  },
  {
    what: 'a HelloRequest instead of a hello',
    send: (peer) => peer.stream.write(rawRecord(22, handshakeMessage(HANDSHAKE.helloRequest, NO_CONTENT))),
    alert: 10,
  },
  {
    what: 'an announced message of 16 MB',
    send: (peer) => peer.stream.write(rawRecord(22, Uint8Array.of(1, 0xff, 0xff, 0xff))),
    alert: 50,
  },
  {
    what: 'an empty record',
    send: (peer) => peer.stream.write(rawRecord(22, NO_CONTENT)),
    alert: 10,
  },
  {
    what: 'a record longer than records may be',
    send: (peer) => peer.stream.write(Uint8Array.of(22, 3, 1, 0x40, 0x01)),
    alert: 22,
  },
  {
    what: 'something behind its hello',
    send: (peer) => {
      const hello = handshakeMessage(HANDSHAKE.clientHello, encodeClientHello(clientHello()));
      return peer.stream.write(rawRecord(22, concatBytes(hello, Uint8Array.of(16))));
    },
    alert: 10,
  },
  {
    what: 'an early ChangeCipherSpec',
    send: async (peer) => {
      await sendClientHello(peer);
      await receiveServerFlight(peer);
      await peer.stream.write(rawRecord(20, Uint8Array.of(1)));
    },
    alert: 10,
  },
  {
    what: 'application data',
    send: async (peer) => {
      await sendClientHello(peer);
      await receiveServerFlight(peer);
      await peer.stream.write(rawRecord(23, utf8('hello')));
    },
    alert: 10,
  },
  {
    what: 'seventeen warnings',
    send: async (peer) => {
      await sendClientHello(peer);
      await receiveServerFlight(peer);
      for (let i = 0; i < 17; i++) await peer.stream.write(rawRecord(21, Uint8Array.of(1, 90)));
    },
    alert: 10,
  },
];

for (const { what, send, alert } of disorder) {
  test(`a client that sends ${what} gets alert ${alert}`, async () => {
    const { peer, server } = attacked();
    await send(peer);
    assert.equal(await receiveAlert(peer), alert);
    await assert.rejects(server, { fault: 'peer' });
  });
}

test("a client's fatal alert ends the handshake and is told by its name", async () => {
  const { peer, server } = attacked();
  await sendClientHello(peer);
  await peer.stream.write(rawRecord(21, Uint8Array.of(2, 40)));
  await assert.rejects(server, { code: 'tls.alert_received', message: /handshake failure \(40\)/ });
});

test('arbitrary bytes, and damaged hellos, end in errors that blame the peer', async () => {
  const hello = rawRecord(22, handshakeMessage(HANDSHAKE.clientHello, encodeClientHello(clientHello())));
  const garbage = fc.uint8Array({ maxLength: 300 }).map((bytes) => concatBytes(Uint8Array.of(0x16), bytes));
  await fc.assert(
    fc.asyncProperty(fc.oneof(garbage, mutated(fc.constant(hello))), async (bytes) => {
      const [a, b] = memoryStreamPair();
      const server = accept(a);
      await b.write(bytes);
      await b.close();
      await survivesAsync(() => server);
    }),
    { numRuns: 300 },
  );
});
