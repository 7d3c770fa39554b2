import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { systemClock } from '../../agent/base/clock.ts';
import { formatEndpoint, parseEndpoint } from '../../agent/base/endpoint.ts';
import { Secret } from '../../agent/base/log.ts';
import { accessOfCode, accessOfCredentials, parseAccessCode } from '../../agent/club/access-code.ts';
import { openGuessLimiter } from '../../agent/club/guessing.ts';
import { openPool, type Pool } from '../../agent/club/pool.ts';
import { randomId } from '../../agent/club/random.ts';
import type { Registry } from '../../agent/club/registry.ts';
import { sha256 } from '../../agent/crypto/hash.ts';
import { connectTcp, listenTcp } from '../../agent/platform/net.ts';
import { acceptChannel, connectChannel } from '../../agent/secure-channel/channel.ts';
import { Chat } from './pool-setting.ts';
import { TestDevice } from './test-device.ts';

interface Node {
  readonly registry: Registry;
  readonly pool: Pool;
  readonly chat: Chat;
  readonly address: string;
}

/** A device with everything real below its pool: TLS-SRP over TCP on the loopback. */
async function node(context: TestContext, device: TestDevice): Promise<Node> {
  const registry = await device.start();
  const chat = new Chat();
  const pool = openPool({
    registry,
    channels: { accept: acceptChannel, connect: connectChannel },
    connect: (address, signal) => {
      const { host, port } = parseEndpoint(address);
      return connectTcp(host, port, { signal });
    },
    extensionNames: ['chat'],
    extensions: () => [chat],
    guesses: openGuessLimiter(systemClock),
    instance: randomId(),
    software: 'skylark test',
    name: () => 'test',
    clock: systemClock,
    log: device.log,
  });
  const listener = await listenTcp({ host: '127.0.0.1', port: 0 }, (stream) => pool.accept(stream));
  context.after(async () => {
    await listener.close();
    await registry.close();
    await pool.close();
  });
  return { registry, pool, chat, address: formatEndpoint(listener) };
}

function join({ pool, registry }: Node, access: Parameters<Pool['join']>[0]['access'], address: string) {
  return pool.join({
    access,
    addresses: [address],
    signal: AbortSignal.timeout(15_000),
    adopt: (keys, peer) => registry.adopt(keys, peer, { name: 'Music', folder: '/music' }),
  });
}

test('over TLS-SRP: join by code, talk, come back by key; a wrong and a used code are refused', async (context) => {
  const [first, second] = [new TestDevice(systemClock), new TestDevice(systemClock)];
  const alice = await node(context, first);
  const bob = await node(context, second);
  const club = await alice.registry.create({ name: 'Music', folder: '/music' });
  const { code } = await club.codes.create({ level: 'read_write' });
  assert.ok(code !== undefined);
  const access = accessOfCode(parseAccessCode(code.reveal()), sha256);

  const wrong = { ...access, secret: new Secret('00'.repeat(8)) };
  await assert.rejects(join(bob, wrong, alice.address), { code: 'join.refused' });

  const joined = await join(bob, access, alice.address);
  assert.equal(joined.level, 'read_write');
  await until(() => bob.chat.sessions.size === 1, bob.pool);
  await bob.chat.say('hello');
  await until(() => alice.chat.received.some((text) => text.includes('hello')), alice.pool);
  assert.equal(club.codes.list()[0]?.state, 'used');
  assert.equal(alice.pool.connections()[0]?.channel.version, 1);
  await bob.pool.close();
  await until(() => alice.pool.connections().length === 0, alice.pool);

  const again = await node(context, second);
  const [same] = again.registry.list();
  assert.ok(same?.keys.level === 'read_write');
  const connected = await again.pool.dial(same.keys.readWrite.id, alice.address);
  assert.equal(connected.peer.id, club.peer);
  await again.chat.say('back');
  await until(() => alice.chat.received.some((text) => text.includes('back')), alice.pool);

  const carol = await node(context, new TestDevice(systemClock));
  await assert.rejects(join(carol, access, alice.address), { code: 'join.refused' });
});

test('over TLS-SRP: a user name and a password, for a read-only member', async (context) => {
  const alice = await node(context, new TestDevice(systemClock));
  const bob = await node(context, new TestDevice(systemClock));
  const club = await alice.registry.create({ name: 'Music', folder: '/music' });
  const password = new Secret('žluťoučký kůň');
  await club.codes.create({ level: 'read_only', credentials: { username: 'Müller', password } });
  const joined = await join(bob, accessOfCredentials('Müller', password, sha256), alice.address);
  assert.equal(joined.level, 'read_only');
});

/** Waits for a condition that changes with connections or messages, without a timer of its own for success. */
async function until(holds: () => boolean, pool: Pool): Promise<void> {
  const deadline = AbortSignal.timeout(15_000);
  while (!holds()) {
    deadline.throwIfAborted();
    await new Promise<void>((resolve) => {
      const stop = pool.onChange(() => done());
      const timer = setTimeout(() => done(), 10);
      const done = () => {
        clearTimeout(timer);
        stop();
        resolve();
      };
    });
  }
}
