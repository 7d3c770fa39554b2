import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SkylarkError } from '../../agent/base/errors.ts';
import { Secret } from '../../agent/base/log.ts';
import type { ByteStream } from '../../agent/base/stream.ts';
import type { Access } from '../../agent/club/access-code.ts';
import { type VirtualClock, virtualClock } from '../support/virtual-clock.ts';
import { MemoryNetwork } from './plain-channel.ts';
import { Host } from './pool-setting.ts';
import { TestDevice } from './test-device.ts';

const SECOND = 1_000;

interface World {
  readonly clock: VirtualClock;
  readonly network: MemoryNetwork;
  readonly alice: Host;
  readonly bob: Host;
}

async function world(): Promise<World> {
  const clock = virtualClock();
  const network = new MemoryNetwork();
  const alice = await new Host('10.0.0.1:1', clock, network).start();
  const bob = await new Host('10.0.0.2:1', clock, network).start();
  await alice.share();
  return { clock, network, alice, bob };
}

/** Alice's club with Bob in it, not connected. */
async function members(level: 'read_write' | 'read_only' = 'read_write'): Promise<World> {
  const all = await world();
  const { clock, alice, bob } = all;
  await clock.run(bob.join(await alice.code({ level }), [alice.address]));
  await clock.run(Promise.all([alice, bob].map((host) => disconnected(host))));
  return all;
}

async function disconnected(host: Host): Promise<void> {
  for (const session of host.chat.sessions) session.close(undefined);
  while (host.pool.connections().length > 0) await host.clock.pass(SECOND);
}

async function stop(...hosts: readonly Host[]): Promise<void> {
  for (const host of hosts) await host.clock.run(host.stop());
}

function refusal(code: string) {
  return (thrown: unknown) => {
    assert.equal((thrown as SkylarkError).code, code);
    return true;
  };
}

test('a code makes a member: keys stored, code used, both connected, and the connection goes on', async () => {
  const { clock, alice, bob } = await world();
  const access = await alice.code();
  const club = await clock.run(bob.join(access, [alice.address]));
  assert.equal(club.level, 'read_write');
  assert.deepEqual([...club.keys.readOnly.id], [...alice.club.keys.readOnly.id]);
  await clock.pass(1);
  assert.equal(alice.club.codes.list()[0]?.state, 'used');
  assert.equal(alice.pool.isConnected(alice.club.id, club.peer), true);
  assert.equal(bob.pool.isConnected(club.id, alice.club.peer), true);
  await bob.chat.say('hello');
  await alice.chat.say('welcome');
  await clock.pass(1);
  assert.match(alice.chat.received.join(), /hello/);
  assert.match(bob.chat.received.join(), /welcome/);
  const [connection] = bob.pool.connections();
  assert.equal(connection?.dialledBy, 'us');
  assert.equal(connection?.level, 'read_write');
  assert.ok(connection?.peer.name?.startsWith(alice.address));
  assert.ok((connection?.bytesDown ?? 0) > 1_000);
  assert.deepEqual(
    bob.club.peers.map(({ id, addresses }) => [id, addresses]),
    [[alice.club.peer, [alice.address]]],
  );
  assert.deepEqual(
    alice.club.peers.map(({ id, addresses }) => [id, addresses]),
    [[club.peer, []]],
  );
  await stop(alice, bob);
  assert.equal((await bob.device.start()).list().length, 1);
});

test('members meet again by their keys after a restart', async () => {
  const { clock, alice, bob } = await members();
  await stop(alice, bob);
  await Promise.all([alice.start(), bob.start()]);
  const connected = await clock.run(alice.pool.dial(alice.keyId(), bob.address));
  assert.equal(connected.peer.id, bob.club.peer);
  assert.equal(
    connected.peer.name,
    `${bob.address} ${'🎹'.repeat(122)}\ufffd`,
    'a name that is too long is cut',
  );
  await stop(alice, bob);
});

test('who made the code may be the one that dials', async () => {
  const { clock, alice, bob } = await world();
  const access = await alice.code();
  const joining = bob.join(access, []);
  assert.deepEqual(
    bob.pool.ids().map(({ id }) => id),
    [access.id],
    'the joiner can be found by the code',
  );
  await clock.run(alice.pool.dial(access.id, bob.address));
  assert.equal((await clock.run(joining)).level, 'read_write');
  assert.equal(alice.club.codes.list()[0]?.state, 'used');
  await stop(alice, bob);
});

test('a read-only code makes a read-only member', async () => {
  const { clock, alice, bob } = await members('read_only');
  assert.equal(bob.club.level, 'read_only');
  assert.deepEqual(
    bob.pool.ids().map(({ id }) => id),
    [alice.keyId('read_only')],
  );
  await clock.run(bob.pool.dial(bob.keyId(), alice.address));
  assert.deepEqual(
    [...alice.chat.sessions].map(({ level }) => level),
    ['read_only'],
  );
  await stop(alice, bob);
});

test('used, revoked, unknown and mistaken codes are told apart from silence, and change nothing', async () => {
  const { clock, network, alice, bob } = await world();
  const carol = await new Host('10.0.0.3:1', clock, network).start();
  const used = await alice.code();
  await clock.run(bob.join(used, [alice.address]));
  const revoked = await alice.code();
  await alice.club.codes.revoke(revoked.id);
  const mistaken: Access = { ...(await alice.code()), secret: new Secret('00'.repeat(8)) };
  for (const access of [used, revoked, mistaken]) {
    await assert.rejects(clock.run(carol.join(access, [alice.address])), refusal('join.refused'));
  }
  const controller = new AbortController();
  const nobody = carol.join(used, ['10.9.9.9:9'], controller.signal);
  await clock.pass(60 * SECOND);
  controller.abort(new Error('enough'));
  await assert.rejects(clock.run(nobody), refusal('join.nobody'));
  await assert.rejects(alice.join(await alice.code(), []), refusal('join.own_code'));
  assert.deepEqual(carol.registry.list(), []);
  assert.deepEqual(carol.pool.ids(), []);
  await stop(alice, bob, carol);
});

test('a peer that is not there yet is dialled again', async () => {
  const { clock, network, alice, bob } = await world();
  const access = await alice.code();
  const joining = bob.join(access, ['10.0.0.77:1']);
  await clock.pass(20 * SECOND);
  network.listen('10.0.0.77:1', alice.pool);
  assert.equal((await clock.run(joining)).level, 'read_write');
  await stop(alice, bob);
});

test('of ten devices with one single-use code, one gets in', async () => {
  const { clock, network, alice, bob } = await world();
  const access = await alice.code();
  const others = await Promise.all(
    Array.from({ length: 9 }, (_, i) => new Host(`10.0.1.${i}:1`, clock, network).start()),
  );
  const results = await clock.run(
    Promise.allSettled([bob, ...others].map((host) => host.join(access, [alice.address]))),
  );
  assert.equal(results.filter(({ status }) => status === 'fulfilled').length, 1);
  assert.equal([bob, ...others].filter((host) => host.registry.list().length === 1).length, 1);
  await stop(alice, bob, ...others);
});

test('a multi-use code lets in whoever has it', async () => {
  const { clock, network, alice, bob } = await world();
  const access = await alice.code({ multiUse: true, level: 'read_only' });
  const carol = await new Host('10.0.0.3:1', clock, network).start();
  await clock.run(Promise.all([bob, carol].map((host) => host.join(access, [alice.address]))));
  await clock.pass(1);
  assert.equal(alice.club.codes.list()[0]?.uses, 2);
  assert.equal(alice.pool.connections().length, 2);
  await stop(alice, bob, carol);
});

/** A stream that breaks as soon as the given text is about to pass from the far to the near side. */
function breakingAt(stream: ByteStream, text: string): ByteStream {
  return {
    label: stream.label,
    async read() {
      const bytes = await stream.read();
      if (bytes !== null && new TextDecoder().decode(bytes).includes(text)) {
        const broken = new Error('cable pulled');
        stream.abort(broken);
        throw broken;
      }
      return bytes;
    },
    write: (bytes) => stream.write(bytes),
    close: () => stream.close(),
    abort: (reason) => stream.abort(reason),
  };
}

test('a lost acknowledgment: the joiner is a member, and the code is used once it comes with its key', async () => {
  const { clock, network, alice, bob } = await world();
  const access = await alice.code();
  network.through = (stream) => breakingAt(stream, 'core.keys_acknowledgment');
  const club = await clock.run(bob.join(access, [alice.address]));
  await clock.pass(SECOND);
  assert.equal(alice.club.codes.list()[0]?.state, 'bound');
  network.through = (stream) => stream;
  // Nobody else gets in meanwhile.
  const carol = await new Host('10.0.0.3:1', clock, network).start();
  const controller = new AbortController();
  const waiting = carol.join(access, [alice.address], controller.signal);
  await clock.pass(SECOND);
  await clock.run(bob.pool.dial(bob.keyId(), alice.address));
  await clock.pass(1);
  assert.equal(alice.club.codes.list()[0]?.state, 'used');
  assert.equal(alice.pool.isConnected(alice.club.id, club.peer), true);
  await assert.rejects(clock.run(waiting), refusal('join.refused'));
  await stop(alice, bob, carol);
});

test('keys that cannot be written down are not acknowledged, and the same device may try again at once', async () => {
  const { clock, alice, bob } = await world();
  const access = await alice.code();
  const { disk } = bob.device;
  disk.steps = 0;
  disk.cutAt = 3;
  disk.failure = Object.assign(new Error('full'), { code: 'ENOSPC' });
  await assert.rejects(clock.run(bob.join(access, [alice.address])), refusal('state.write_failed'));
  await clock.pass(SECOND);
  assert.notEqual(alice.club.codes.list()[0]?.state, 'used');
  disk.failure = undefined;
  disk.cutAt = Number.POSITIVE_INFINITY;
  const before = clock.monotonic();
  assert.equal((await clock.run(bob.join(access, [alice.address]))).level, 'read_write');
  assert.ok(clock.monotonic() - before < 10 * SECOND, 'it goes by the peer ID that the code is bound to');
  await stop(alice, bob);
});

test('the power may fail at the joiner at any step: it never has acknowledged what it has not', async () => {
  for (let cut = 1; cut <= 7; cut++) {
    const { clock, alice, bob } = await world();
    const access = await alice.code();
    bob.device.disk.steps = 0;
    bob.device.disk.cutAt = cut;
    const joined = await clock.run(
      bob.join(access, [alice.address]).then(
        () => true,
        () => false,
      ),
    );
    await clock.pass(SECOND);
    const used = alice.club.codes.list()[0]?.state === 'used';
    bob.device.disk.restart((index) => index % 2 === 0);
    await stop(bob);
    await bob.start();
    const isMember = bob.registry.list().length === 1;
    if (joined || used) assert.ok(isMember);
    if (!isMember) assert.equal(used, false);
    await stop(alice, bob);
  }
});

test('a joining that is given up while the keys are being stored ends as the storing does', async () => {
  const { clock, alice, bob } = await world();
  const access = await alice.code();
  const controller = new AbortController();
  const joining = bob.pool.join({
    access,
    addresses: [alice.address],
    signal: controller.signal,
    adopt: async (keys, peer) => {
      controller.abort(new Error('Ctrl-C'));
      return bob.registry.adopt(keys, peer, { name: 'Music', folder: '/music' });
    },
  });
  assert.equal((await clock.run(joining)).id, bob.club.id);
  await stop(alice, bob);
});

test('a dial to oneself ends, and does no harm', async () => {
  const { clock, alice, bob } = await members();
  const before = alice.club.peer;
  await assert.rejects(clock.run(alice.pool.dial(alice.keyId(), alice.address)), refusal('session.loopback'));
  assert.equal(alice.club.peer, before);
  assert.deepEqual(alice.pool.connections(), []);
  await stop(alice, bob);
});

test('a copied card is noticed: it is reported, takes a new peer ID, and then both are members', async () => {
  const { clock, network, alice, bob } = await members();
  await stop(bob);
  const copy = new TestDevice(clock);
  copy.disk.copyFrom(bob.device.disk);
  const twin = new Host('10.0.0.4:1', clock, network, copy);
  await Promise.all([bob.start(), twin.start()]);
  const shared = bob.club.peer;
  assert.equal(twin.club.peer, shared);
  await assert.rejects(clock.run(twin.pool.dial(twin.keyId(), bob.address)), refusal('session.cloned'));
  await clock.pass(SECOND);
  const told = twin.changes.find(({ kind }) => kind === 'cloned');
  assert.ok(told?.kind === 'cloned' && told.whose === 'ours' && told.peer === shared);
  assert.notEqual(twin.club.peer, shared);
  await clock.run(twin.pool.dial(twin.keyId(), bob.address));
  await clock.run(twin.pool.dial(twin.keyId(), alice.address));
  await clock.run(bob.pool.dial(bob.keyId(), alice.address));
  await clock.pass(1);
  assert.equal(alice.pool.connections().length, 2);
  await stop(alice, bob, twin);
});

test('a read-only member that claims our peer ID is no copy of a device that may write', async () => {
  const { clock, network, alice, bob } = await members();
  const guest = new Host('10.0.0.9:1', clock, network);
  await guest.start();
  const access = await alice.code({ level: 'read_only' });
  await clock.run(guest.join(access, [alice.address]));
  await stop(guest);
  const state = await guest.device.openState();
  await state.update((value) => ({
    ...value,
    clubs: value.clubs.map((club) => ({ ...club, peer: alice.club.peer })),
  }));
  await state.close();
  await guest.start();
  const before = alice.club.peer;
  await assert.rejects(clock.run(guest.pool.dial(guest.keyId(), alice.address)), refusal('session.cloned'));
  await clock.pass(SECOND);
  assert.equal(alice.club.peer, before);
  assert.equal(
    alice.changes.find(({ kind }) => kind === 'cloned'),
    undefined,
  );
  await stop(alice, bob, guest);
});

test('two copies that only a third peer sees are reported and told there, and take new peer IDs', async () => {
  const { clock, network, alice, bob } = await members();
  await stop(bob);
  const copy = new TestDevice(clock);
  copy.disk.copyFrom(bob.device.disk);
  const twin = new Host('10.0.0.4:1', clock, network, copy);
  await Promise.all([bob.start(), twin.start()]);
  const shared = bob.club.peer;
  await clock.run(bob.pool.dial(bob.keyId(), alice.address));
  await clock.run(twin.pool.dial(twin.keyId(), alice.address));
  const again = await clock.run(bob.pool.dial(bob.keyId(), alice.address));
  await clock.run(again.ended);
  const told = alice.changes.find(({ kind }) => kind === 'cloned');
  assert.ok(told?.kind === 'cloned' && told.whose === 'theirs' && told.peer === shared);
  await clock.pass(SECOND);
  for (const each of [bob, twin]) {
    if (each.club.peer === shared) await clock.run(each.pool.dial(each.keyId(), alice.address));
    await clock.pass(SECOND);
    assert.notEqual(each.club.peer, shared);
    await clock.run(each.pool.dial(each.keyId(), alice.address));
  }
  assert.notEqual(bob.club.peer, twin.club.peer);
  await clock.pass(1);
  assert.equal(alice.pool.connections().length, 2, 'now both are members');
  await stop(alice, bob, twin);
});

test('pausing and leaving end the connections; a paused share comes back', async () => {
  const { clock, alice, bob } = await members();
  await clock.run(bob.pool.dial(bob.keyId(), alice.address));
  await alice.registry.configure(alice.club.id, { paused: true });
  await clock.pass(3 * SECOND);
  assert.deepEqual(alice.pool.connections(), []);
  assert.deepEqual(alice.pool.ids(), []);
  await assert.rejects(
    clock.run(bob.pool.dial(bob.keyId(), alice.address)),
    refusal('channel.authentication_failed'),
  );
  await alice.registry.configure(alice.club.id, { paused: false });
  await clock.run(bob.pool.dial(bob.keyId(), alice.address));
  const id = alice.keyId();
  await alice.registry.leave(alice.club.id);
  await clock.pass(3 * SECOND);
  assert.deepEqual(alice.pool.connections(), []);
  await assert.rejects(clock.run(alice.pool.dial(id, bob.address)), refusal('pool.id_unknown'));
  await stop(alice, bob);
});

test('several clubs share one port, and do not see each other', async () => {
  const { clock, alice, bob } = await members();
  const second = await alice.registry.create({ name: 'Other', folder: '/other' });
  assert.equal(alice.pool.ids().length, 4);
  assert.ok(second.keys.level === 'read_write');
  await assert.rejects(
    clock.run(alice.pool.dial(second.keys.readWrite.id, bob.address)),
    refusal('channel.authentication_failed'),
  );
  await clock.run(alice.pool.dial(alice.keyId(), bob.address));
  assert.deepEqual(
    alice.pool.connections().map(({ club }) => club),
    [alice.club.id],
  );
  await stop(alice, bob);
});

test('closing ends everything and refuses what comes after', async () => {
  const { clock, network, alice, bob } = await members();
  await clock.run(bob.pool.dial(bob.keyId(), alice.address));
  const idle = network.connect('10.5.5.5', alice.address);
  const joining = alice.join({ id: '0'.repeat(64), secret: new Secret('00'.repeat(8)) }, ['10.9.9.9:9']);
  const rejected = assert.rejects(joining, refusal('pool.closed'));
  await clock.run(Promise.all([alice.pool.close(), alice.pool.close()]));
  await clock.run(rejected);
  await assert.rejects(clock.run(idle.read()));
  assert.deepEqual(alice.pool.connections(), []);
  assert.equal(alice.pool.pending, 0);
  await assert.rejects(alice.pool.dial(alice.keyId(), bob.address), refusal('pool.closed'));
  await assert.rejects(clock.run(bob.pool.dial(bob.keyId(), alice.address)));
  await stop(alice, bob);
});

test('neither codes nor keys get into the log', async () => {
  const { clock, alice, bob } = await world();
  const access = await alice.code();
  await clock.run(bob.join(access, [alice.address]));
  await stop(alice, bob);
  for (const { device } of [alice, bob]) {
    assert.ok(device.entries.length > 0);
    assert.ok(!device.logText.includes(access.secret.reveal()));
    assert.ok(!device.logText.includes(alice.club.keys.readOnly.key.reveal()));
    assert.doesNotMatch(device.logText, /PRIVATE|SYNC74/);
  }
});
