import assert from 'node:assert/strict';
import { getDiffieHellman } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { concatBytes, fromHex, toHex, utf8 } from '../../agent/base/bytes.ts';
import { fromBigInt } from '../../agent/crypto/mod-exp.ts';
import { randomBytes } from '../../agent/crypto/random.ts';
import { srpServerExchange } from '../../agent/crypto/srp.ts';
import { type SrpGroup, srpGroup, srpGroupOf } from '../../agent/crypto/srp-groups.ts';
import {
  decodeSrpExtension,
  EXTENSION,
  encodeServerHello,
  HANDSHAKE,
  handshakeMessage,
  NO_CONTENT,
  NO_RENEGOTIATED_CONNECTION,
  type ServerHello,
  type ServerKeyExchange,
} from '../../agent/secure-channel/tls-srp/messages.ts';
import { memoryStreamPair } from '../support/memory-stream.ts';
import { mutated, survivesAsync } from '../support/properties.ts';
import { connect, USERNAME } from './both-ends.ts';
import {
  AES_128,
  AES_256,
  rawRecord,
  receiveAlert,
  type ScriptedPeer,
  scriptedPeer,
  sendServerFlight,
} from './scripted-peer.ts';

/** Our client, and a server that a test writes. */
function attacking(): { peer: ScriptedPeer; client: Promise<unknown> } {
  const [a, b] = memoryStreamPair();
  const client = connect(a);
  client.catch(() => {});
  return { peer: scriptedPeer(b), client };
}

function paramsOf(group: SrpGroup, changes: Partial<ServerKeyExchange> = {}): ServerKeyExchange {
  const salt = randomBytes(16);
  const { publicValue } = srpServerExchange(group, { username: utf8(USERNAME), password: utf8('x'), salt });
  return { prime: group.prime, generator: group.generator, salt, publicValue, ...changes };
}

const group = srpGroupOf(2048);

const rfc5054 = JSON.parse(readFileSync(new URL('../vectors/rfc5054.json', import.meta.url), 'utf8')) as {
  readonly N: string;
};

test('1024, 1536 and 6144 bit groups, and every group that is not exactly one of ours, are refused with alert 71', async () => {
  const groups = {
    1024: srpGroup(fromHex(rfc5054.N), 2),
    6144: srpGroup(new Uint8Array(getDiffieHellman('modp17').getPrime()), 5),
    // RFC 3526's, not RFC 5054's.
    1536: srpGroup(new Uint8Array(getDiffieHellman('modp5').getPrime()), 2),
    'another generator': srpGroup(group.prime, 3),
    'a prime of our length': srpGroup(new Uint8Array(getDiffieHellman('modp14').getPrime()), 2),
    'a composite of our length': srpGroup(fromBigInt(group.N - 2n), 2),
  };
  for (const [name, chosen] of Object.entries(groups)) {
    const { peer, client } = attacking();
    await sendServerFlight(peer, paramsOf(chosen));
    assert.equal(await receiveAlert(peer), 71, name);
    await assert.rejects(client, { code: 'tls.group', fault: 'peer' });
  }
});

test('an absurd group costs the client nothing: it is refused before anything is computed', async () => {
  const { peer, client } = attacking();
  // Were it used, an exponentiation modulo 60,000 bits would take seconds.
  const params = paramsOf(group, {
    prime: new Uint8Array(7500).fill(0xff),
    publicValue: new Uint8Array(7000).fill(7),
  });
  await sendServerFlight(peer, params);
  assert.equal(await receiveAlert(peer), 71);
  await assert.rejects(client, { code: 'tls.group' });
});

test('B = 0, N, 2N and N + 1 are refused with alert 47', async () => {
  const { N } = group;
  for (const B of [0n, N, 2n * N, N + 1n]) {
    const { peer, client } = attacking();
    await sendServerFlight(peer, paramsOf(group, { publicValue: fromBigInt(B) }));
    assert.equal(await receiveAlert(peer), 47);
    await assert.rejects(client, { code: 'srp.public_value', fault: 'peer' });
  }
});

const echoed = (changes: readonly (readonly [number, Uint8Array | undefined])[]) => {
  const extensions = new Map<number, Uint8Array>([
    [EXTENSION.renegotiationInfo, NO_RENEGOTIATED_CONNECTION],
    [EXTENSION.extendedMasterSecret, NO_CONTENT],
    [EXTENSION.encryptThenMac, NO_CONTENT],
  ]);
  for (const [type, content] of changes) {
    if (content === undefined) extensions.delete(type);
    else extensions.set(type, content);
  }
  return extensions;
};

const refusals: readonly { what: string; hello: Partial<ServerHello>; alert: number; code: string }[] = [
  { what: 'TLS 1.1', hello: { version: 0x0302 }, alert: 70, code: 'tls.version' },
  { what: 'a suite that was not offered', hello: { suite: 0x002f }, alert: 47, code: 'tls.suite' },
  {
    what: 'no extended master secret',
    hello: { extensions: echoed([[EXTENSION.extendedMasterSecret, undefined]]) },
    alert: 40,
    code: 'tls.extension_required',
  },
  {
    what: 'no encrypt-then-MAC',
    hello: { extensions: echoed([[EXTENSION.encryptThenMac, undefined]]) },
    alert: 40,
    code: 'tls.extension_required',
  },
  {
    what: 'an extension that was not offered',
    hello: { extensions: echoed([[35, NO_CONTENT]]) },
    alert: 110,
    code: 'tls.extension',
  },
  {
    what: 'an extension with content that has none',
    hello: { extensions: echoed([[EXTENSION.encryptThenMac, Uint8Array.of(0)]]) },
    alert: 50,
    code: 'tls.malformed',
  },
  {
    what: 'a renegotiation',
    hello: { extensions: echoed([[EXTENSION.renegotiationInfo, Uint8Array.of(1, 7)]]) },
    alert: 40,
    code: 'tls.renegotiation',
  },
];

for (const { what, hello, alert, code } of refusals) {
  test(`a server that answers with ${what} is refused with alert ${alert}`, async () => {
    const { peer, client } = attacking();
    await sendServerFlight(peer, paramsOf(group), hello);
    assert.equal(await receiveAlert(peer), alert);
    await assert.rejects(client, { code, fault: 'peer' });
  });
}

test('our ClientHello offers TLS 1.2, two suites and four extensions, and nothing else', async () => {
  const { peer, client } = attacking();
  const hello = await sendServerFlight(peer, paramsOf(srpGroup(fromHex(rfc5054.N), 2)));
  await assert.rejects(client);
  assert.equal(hello.version, 0x0303);
  assert.deepEqual(hello.suites, [AES_256, AES_128]);
  assert.deepEqual(hello.compressions, [0]);
  assert.equal(hello.sessionId.length, 0);
  assert.deepEqual([...hello.extensions.keys()], [0xff01, 12, 23, 22]);
  const username = hello.extensions.get(EXTENSION.srp);
  assert.ok(username !== undefined);
  assert.equal(toHex(decodeSrpExtension(username)), toHex(utf8(USERNAME)));
});

test('a server that never proves that it knows the secret is refused', async () => {
  const { peer, client } = attacking();
  await sendServerFlight(peer, paramsOf(group));
  await peer.transport.receive(HANDSHAKE.clientKeyExchange);
  // ChangeCipherSpec, then a Finished in plaintext: it can't be authentic.
  await peer.stream.write(rawRecord(20, Uint8Array.of(1)));
  await peer.stream.write(rawRecord(22, handshakeMessage(HANDSHAKE.finished, new Uint8Array(12))));
  await assert.rejects(client, { code: 'channel.authentication_failed', fault: 'peer' });
});

test('a server that says that it does not know the name is understood', async () => {
  const { peer, client } = attacking();
  await peer.transport.receive(HANDSHAKE.clientHello);
  await peer.stream.write(rawRecord(21, Uint8Array.of(2, 115)));
  await assert.rejects(client, { code: 'channel.authentication_failed', fault: 'peer' });
});

test('a few HelloRequests are ignored during the handshake, many are not', async () => {
  const helloRequest = rawRecord(22, handshakeMessage(HANDSHAKE.helloRequest, NO_CONTENT));
  const few = attacking();
  await few.peer.stream.write(concatBytes(...Array.from({ length: 4 }, () => helloRequest)));
  await sendServerFlight(few.peer, paramsOf(group));
  await few.peer.transport.receive(HANDSHAKE.clientKeyExchange);

  const many = attacking();
  await many.peer.stream.write(concatBytes(...Array.from({ length: 5 }, () => helloRequest)));
  await many.peer.transport.receive(HANDSHAKE.clientHello);
  assert.equal(await receiveAlert(many.peer), 10);
  await assert.rejects(many.client, { code: 'tls.unexpected_message' });
  few.peer.stream.abort(new Error('the test is over'));
  await assert.rejects(few.client);
});

test('a certificate, a ticket, or a hello that is done too early is unexpected', async () => {
  for (const type of [11, 4, HANDSHAKE.serverHelloDone]) {
    const { peer, client } = attacking();
    await peer.transport.receive(HANDSHAKE.clientHello);
    await peer.stream.write(rawRecord(22, Uint8Array.of(type, 0, 0, 0)));
    assert.equal(await receiveAlert(peer), 10);
    await assert.rejects(client, { code: 'tls.unexpected_message' });
  }
});

test('arbitrary bytes, and damaged answers, end in errors that blame the peer', async () => {
  const hello = encodeServerHello({
    version: 0x0303,
    random: randomBytes(32),
    sessionId: NO_CONTENT,
    suite: AES_256,
    extensions: echoed([]),
  });
  const answer = rawRecord(22, handshakeMessage(HANDSHAKE.serverHello, hello));
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(fc.uint8Array({ maxLength: 300 }), mutated(fc.constant(answer))),
      async (bytes) => {
        const { peer, client } = attacking();
        await peer.stream.write(bytes);
        await peer.stream.close();
        await survivesAsync(() => client);
      },
    ),
    { numRuns: 300 },
  );
});
