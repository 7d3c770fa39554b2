import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SkylarkError } from '../../agent/base/errors.ts';
import { Secret } from '../../agent/base/log.ts';
import type { ByteStream } from '../../agent/base/stream.ts';
import { openLobby } from '../../agent/club/lobby.ts';
import { randomId } from '../../agent/club/random.ts';
import { type VirtualClock, virtualClock } from '../support/virtual-clock.ts';
import { MemoryNetwork } from './plain-channel.ts';
import { Host } from './pool-setting.ts';

const SECOND = 1_000;
const HOUR = 3_600 * SECOND;

interface World {
  readonly clock: VirtualClock;
  readonly network: MemoryNetwork;
  readonly alice: Host;
  readonly bob: Host;
}

async function members(): Promise<World> {
  const clock = virtualClock();
  const network = new MemoryNetwork();
  const alice = await new Host('10.0.0.1:1', clock, network).start();
  const bob = await new Host('10.0.0.2:1', clock, network).start();
  await alice.share();
  await clock.run(bob.join(await alice.code(), [alice.address]));
  return { clock, network, alice, bob };
}

/** Whether the other side has let go of the connection. */
async function isGone(stream: ByteStream): Promise<boolean> {
  const gone = stream.read().then(
    (bytes) => bytes === null,
    () => true,
  );
  return Promise.race([gone, new Promise<false>((resolve) => setImmediate(resolve, false))]);
}

test('the lobby has 64 places, 16 for one address, and room for who comes last', () => {
  const lobby = openLobby({ places: 64, placesForHost: 16 });
  const evicted: string[] = [];
  const enter = (host: string) => lobby.enter(host, () => evicted.push(host));
  const leave = enter('10.0.0.1');
  for (let i = 0; i < 200; i++) enter('10.6.6.6');
  assert.equal(lobby.size, 17);
  assert.equal(evicted.length, 184);
  assert.ok(evicted.every((host) => host === '10.6.6.6'));
  // Many addresses: the greediest loses first.
  for (let i = 0; i < 47; i++) enter(`10.7.0.${i}`);
  assert.equal(lobby.size, 64);
  enter('10.7.1.1');
  assert.equal(lobby.size, 64);
  assert.equal(evicted.at(-1), '10.6.6.6');
  leave();
  leave();
  assert.equal(lobby.size, 63);
  for (let i = 0; i < 1_000; i++) enter(`2001:db8::${i.toString(16)}`);
  assert.equal(lobby.size, 64, 'one /64 counts as one address');
});

for (const [what, hostOf] of [
  ['from one address', () => '10.6.6.6'],
  ['from many addresses', (i: number) => `10.6.${i}.6`],
] as const) {
  test(`200 idle connections ${what} hold at most 64 places, and a member gets in`, async () => {
    const { clock, network, alice, bob } = await members();
    for (const session of alice.chat.sessions) session.close(undefined);
    await clock.pass(SECOND);
    const idle = Array.from({ length: 200 }, (_, i) => network.connect(hostOf(i), alice.address));
    await clock.pass(1);
    assert.ok(alice.pool.pending <= 64);
    let gone = 0;
    for (const stream of idle) if (await isGone(stream)) gone += 1;
    assert.ok(gone >= 200 - 64, String(gone));
    await clock.run(bob.pool.dial(bob.keyId(), alice.address));
    await bob.chat.say('still here');
    await clock.pass(1);
    assert.match(alice.chat.received.join(), /still here/);
    await clock.pass(21 * SECOND);
    assert.equal(alice.pool.pending, 0, 'idle ones end after 20 s');
    assert.equal(alice.pool.connections().length, 1);
    await clock.run(Promise.all([alice.stop(), bob.stop()]));
  });
}

test('who was refused and does not go keeps its place, is the first to lose it, and has 2 s', async () => {
  const { clock, network, alice, bob } = await members();
  const refused: ByteStream[] = [];
  for (let i = 0; i < 50; i++) {
    const stream = network.connect('10.6.6.6', alice.address);
    await stream.write(new TextEncoder().encode(alice.keyId() + '00'.repeat(32)));
    await clock.run(stream.read());
    refused.push(stream);
  }
  const holdsOn = async () => {
    const tries = await Promise.allSettled(refused.map((stream) => stream.write(Uint8Array.of(1))));
    return tries.filter(({ status }) => status === 'fulfilled').length;
  };
  assert.equal(alice.pool.pending, 16);
  assert.equal(await holdsOn(), 16);
  await refused.at(-1)?.close();
  await clock.pass(1);
  assert.equal(alice.pool.pending, 15, 'who goes is let go at once');
  await clock.pass(2 * SECOND);
  assert.equal(alice.pool.pending, 0);
  assert.equal(await holdsOn(), 0);
  await clock.run(Promise.all([alice.stop(), bob.stop()]));
});

test('invented peer IDs can not take all connections: 256 for a share and a level', async () => {
  const { clock, alice, bob } = await members();
  const { keys } = alice.club;
  assert.ok(keys.level === 'read_write');
  const invented = async (level: 'readOnly' | 'readWrite') => {
    const stream = alice.network.connect('10.6.6.6', alice.address);
    await stream.write(new TextEncoder().encode(keys[level].id + keys[level].key.reveal()));
    await clock.run(stream.read());
    await clock.run(stream.read());
    const body = JSON.stringify({ type: 'core.start', protocol: 1, extensions: [], peer: randomId() });
    await stream.write(new TextEncoder().encode(`m${body.length}${body}`));
    await clock.pass(1);
    return stream;
  };
  for (let i = 0; i < 300; i++) await invented('readOnly');
  assert.equal(alice.pool.connections().filter(({ level }) => level === 'read_only').length, 256);
  await invented('readWrite');
  const writers = alice.pool.connections().filter(({ level }) => level === 'read_write');
  assert.equal(writers.length, 2, 'who may only read takes nothing from who may write');
  await clock.run(Promise.all([alice.stop(), bob.stop()]));
});

test('everything before the introduction is over has 20 s, also after the channel is made', async () => {
  const { clock, network, alice, bob } = await members();
  const key = alice.club.keys.readOnly;
  const stream = network.connect('10.6.6.6', alice.address);
  await stream.write(new TextEncoder().encode(key.id + key.key.reveal()));
  await clock.pass(19 * SECOND);
  assert.equal(alice.pool.pending, 1);
  await clock.pass(4 * SECOND);
  assert.equal(alice.pool.pending, 0);
  await clock.run(Promise.all([alice.stop(), bob.stop()]));
});

test('20 wrong guesses silence a code for an hour, even for who knows it; members do not notice', async () => {
  const { clock, network, alice, bob } = await members();
  const access = await alice.code({ lifetime: null });
  const guess = async (i: number, secret: string) => {
    const stream = network.connect(`10.6.${i}.6`, alice.address);
    await stream.write(new TextEncoder().encode(access.id + secret));
    const answer = await clock.run(stream.read());
    return new TextDecoder().decode(answer ?? new Uint8Array());
  };
  for (let i = 0; i < 20; i++) assert.equal(await guess(i, i.toString(16).padStart(16, '0')), 'no');
  assert.equal(await guess(100, access.secret.reveal()), 'no');
  for (const session of alice.chat.sessions) session.close(undefined);
  await clock.pass(3 * SECOND);
  await clock.run(bob.pool.dial(bob.keyId(), alice.address));
  await clock.pass(HOUR);
  assert.equal(await guess(101, access.secret.reveal()), 'ok');
  await clock.run(Promise.all([alice.stop(), bob.stop()]));
});

test('wrong keys are not guesses: nobody can silence a club', async () => {
  const { clock, network, alice, bob } = await members();
  for (const session of alice.chat.sessions) session.close(undefined);
  await clock.pass(3 * SECOND);
  for (let i = 0; i < 200; i++) {
    const stream = network.connect('10.0.0.2', alice.address);
    await stream.write(new TextEncoder().encode(alice.keyId() + '00'.repeat(32)));
    await clock.run(stream.read());
  }
  await clock.run(bob.pool.dial(bob.keyId(), alice.address));
  await clock.run(Promise.all([alice.stop(), bob.stop()]));
});

test('60 failures from one address, and it is not answered for an hour; others are', async () => {
  const { clock, network, alice, bob } = await members();
  for (let i = 0; i < 60; i++) {
    const stream = network.connect('10.6.6.6', alice.address);
    await stream.write(new TextEncoder().encode(i.toString(16).padStart(64, '0') + '00'.repeat(8)));
    await clock.run(stream.read());
  }
  assert.equal(await isGone(network.connect('10.6.6.6', alice.address)), true);
  assert.equal(await isGone(network.connect('10.6.6.7', alice.address)), false);
  await clock.pass(HOUR);
  assert.equal(await isGone(network.connect('10.6.6.6', alice.address)), false);
  await clock.run(Promise.all([alice.stop(), bob.stop()]));
});

test('whoever makes us dial gets no more guesses than whoever dials us', async () => {
  const { clock, network, alice, bob } = await members();
  const access = await alice.code();
  // A stranger that claims to know the code: it may test one guess at the password each time we come.
  const stranger = await new Host('10.6.6.6:1', clock, network).start();
  const controller = new AbortController();
  const lure = stranger.join({ ...access, secret: new Secret('11'.repeat(8)) }, [], controller.signal);
  for (let i = 0; i < 20; i++) {
    await assert.rejects(
      clock.run(alice.pool.dial(access.id, stranger.address)),
      (thrown: SkylarkError) => thrown.code === 'channel.authentication_failed',
    );
  }
  await assert.rejects(clock.run(alice.pool.dial(access.id, stranger.address)), { code: 'pool.silenced' });
  controller.abort(new Error('enough'));
  await assert.rejects(clock.run(lure), { code: 'join.nobody' });
  await clock.run(Promise.all([alice.stop(), bob.stop(), stranger.stop()]));
});

test('one address is dialled once at a time, and not more than 64 at once', async () => {
  const { clock, network, alice, bob } = await members();
  const black: ByteStream[] = [];
  const hole = await new Host('10.0.0.9:1', clock, network).start();
  hole.pool.accept = (stream) => void black.push(stream);
  const dials = Array.from({ length: 70 }, (_, i) => {
    const address = `10.0.0.9:${i + 1}`;
    network.listen(address, hole.pool);
    return alice.pool.dial(alice.keyId(), address);
  });
  const repeated = alice.pool.dial(alice.keyId(), '10.0.0.9:1');
  const results = await clock.run(Promise.allSettled([...dials, repeated]));
  const codes = results.map((result) =>
    result.status === 'rejected' ? (result.reason as SkylarkError).code : '',
  );
  assert.equal(black.length, 64);
  assert.equal(codes.filter((code) => code === 'pool.busy').length, 6);
  assert.equal(codes.filter((code) => code === 'pool.timeout').length, 65);
  await clock.run(Promise.all([alice.stop(), bob.stop(), hole.stop()]));
});

test('a new peer ID ends the sessions under the old one', async () => {
  const { clock, alice, bob } = await members();
  const [session] = alice.chat.sessions;
  assert.equal(session?.self, alice.club.peer);
  await alice.registry.mintPeer(alice.club.id);
  await clock.pass(3 * SECOND);
  assert.equal(session?.signal.aborted, true);
  await clock.run(bob.pool.dial(bob.keyId(), alice.address));
  assert.deepEqual(
    [...alice.chat.sessions].map(({ self }) => self),
    [alice.club.peer],
  );
  assert.deepEqual(
    bob.pool.connections().map(({ peer }) => peer.id),
    [alice.club.peer],
  );
  await clock.run(Promise.all([alice.stop(), bob.stop()]));
});
