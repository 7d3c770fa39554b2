import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { fromUtf8, utf8 } from '../../agent/base/bytes.ts';
import type { SkylarkError } from '../../agent/base/errors.ts';
import type { ByteStream } from '../../agent/base/stream.ts';
import { type Candidate, InstanceHistory, judgeDuplicate } from '../../agent/club/duplicates.ts';
import { type VirtualClock, virtualClock } from '../support/virtual-clock.ts';
import { MemoryNetwork } from './plain-channel.ts';
import { Host } from './pool-setting.ts';
import { framed, RawPeer } from './raw-peer.ts';

const SECOND = 1_000;

test('both sides judge alike, in whatever order they see the two connections', () => {
  const LOW = '0'.repeat(32);
  const HIGH = 'f'.repeat(32);
  const connection = fc.record({
    level: fc.constantFrom('read_write', 'read_only'),
    dialler: fc.constantFrom('low', 'high'),
  });
  fc.assert(
    fc.property(
      connection,
      connection,
      fc.boolean(),
      fc.boolean(),
      (one, two, lowSeesOneFirst, highSeesOneFirst) => {
        const survivor = (side: 'low' | 'high', oneFirst: boolean) => {
          const seen = ({ level, dialler }: typeof one): Candidate => ({
            level,
            instance: undefined,
            dialledBy: dialler === side ? 'us' : 'them',
          });
          const [older, newer] = oneFirst ? [one, two] : [two, one];
          const [self, peer] = side === 'low' ? [LOW, HIGH] : [HIGH, LOW];
          const verdict = judgeDuplicate(seen(older), seen(newer), self, peer);
          return verdict === 'wait' ? undefined : verdict === 'older' ? older : newer;
        };
        const [low, high] = [survivor('low', lowSeesOneFirst), survivor('high', highSeesOneFirst)];
        // Undefined: leaves it to the other side, who dialled both.
        if (low !== undefined && high !== undefined) assert.equal(low, high);
        assert.ok(low !== undefined || high !== undefined, 'somebody decides');
        if (one.level === two.level && one.dialler !== two.dialler) assert.equal(low?.dialler, 'low');
      },
    ),
  );
});

test('a process that was replaced and comes back is a copy; a new one is a restart', () => {
  const history = new InstanceHistory();
  history.replaced('peer', 'first');
  assert.equal(history.wasReplaced('peer', 'second'), false);
  assert.equal(history.wasReplaced('peer', 'first'), true);
  assert.equal(history.wasReplaced('other', 'first'), false);
  history.replaced('peer', undefined);
  assert.equal(history.wasReplaced('peer', undefined), false);
  for (let i = 0; i < 5_000; i++) history.replaced(`peer ${i}`, 'x');
  assert.equal(history.wasReplaced('peer', 'first'), false, 'memory is bounded');
});

interface World {
  readonly clock: VirtualClock;
  readonly network: MemoryNetwork;
  /** The one with the lower peer ID. */
  readonly low: Host;
  readonly high: Host;
}

/** Two members of one club, not connected. */
async function members(): Promise<World> {
  const clock = virtualClock();
  const network = new MemoryNetwork();
  const alice = await new Host('10.0.0.1:1', clock, network).start();
  const bob = await new Host('10.0.0.2:1', clock, network).start();
  await alice.share();
  await clock.run(bob.join(await alice.code(), [alice.address]));
  await clock.run(Promise.all([alice.stop(), bob.stop()]));
  await Promise.all([alice.start(), bob.start()]);
  const [low, high] = alice.club.peer < bob.club.peer ? [alice, bob] : [bob, alice];
  return { clock, network, low, high };
}

/** Each read takes a while; the delays are used in turn. */
function slow(stream: ByteStream, clock: VirtualClock, delays: readonly number[]): ByteStream {
  let next = 0;
  return {
    label: stream.label,
    async read() {
      const bytes = await stream.read();
      const delay = delays[next++ % delays.length] ?? 0;
      if (delay > 0) await new Promise<void>((resolve) => clock.after(delay, resolve));
      return bytes;
    },
    write: (bytes) => stream.write(bytes),
    close: () => stream.close(),
    abort: (reason) => stream.abort(reason),
  };
}

test('however two peers dial each other at once, over fast and slow ways, one live connection is left', async () => {
  const dial = fc.record({
    by: fc.constantFrom('low', 'high'),
    at: fc.integer({ min: 0, max: 300 }),
    delays: fc.array(fc.integer({ min: 0, max: 400 }), { minLength: 1, maxLength: 3 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(dial, { minLength: 1, maxLength: 5 }), async (dials) => {
      const { clock, network, low, high } = await members();
      const address = (host: Host, i: number) => host.address.replace(':1', `:${i + 2}`);
      const hosts = { low, high };
      const tried = dials.map(async ({ by, at, delays }, i) => {
        const [from, to] = by === 'low' ? [low, high] : [high, low];
        // An address for each dial, as with several interfaces.
        network.listen(address(to, i), to.pool);
        await new Promise<void>((resolve) => clock.after(at, resolve));
        network.through = (stream) => slow(stream, clock, delays);
        await from.pool.dial(from.keyId(), address(to, i)).catch((thrown: SkylarkError) => {
          assert.match(
            thrown.code,
            /^session\.(duplicate|closed_early|ended)$|^wire\.truncated$/,
            thrown.message,
          );
        });
      });
      await clock.run(Promise.all(tried));
      await clock.pass(40 * SECOND);
      for (const host of Object.values(hosts)) {
        assert.equal(host.pool.connections().length, 1, host.address);
        assert.equal(host.chat.sessions.size, 1);
        await host.chat.say('alive');
      }
      await clock.pass(5 * SECOND);
      assert.ok(low.chat.received.length === 1 && high.chat.received.length === 1);
      const [survivor] = low.pool.connections();
      const together = dials.every(({ at }) => at === 0);
      if (together && dials.some(({ by }) => by === 'low')) assert.equal(survivor?.dialledBy, 'us');
      await clock.run(Promise.all([low.stop(), high.stop()]));
    }),
    { numRuns: 40 },
  );
});

/** Takes the stream's end away: what is written is lost, and nothing comes any more. */
function unpluggable(stream: ByteStream): { readonly stream: ByteStream; unplug(): void } {
  let unplugged = false;
  const never = new Promise<never>(() => {});
  return {
    unplug() {
      unplugged = true;
    },
    stream: {
      label: stream.label,
      async read() {
        const bytes = await stream.read();
        return unplugged ? never : bytes;
      },
      write: (bytes) => (unplugged ? Promise.resolve() : stream.write(bytes)),
      close: () => (unplugged ? Promise.resolve() : stream.close()),
      abort: (reason) => void (unplugged || stream.abort(reason)),
    },
  };
}

for (const side of ['low', 'high'] as const) {
  test(`a peer that dials again over a new way (${side}) replaces the one that it has given up`, async () => {
    const { clock, network, low, high } = await members();
    const [dialler, other] = side === 'low' ? [low, high] : [high, low];
    const cables: { unplug(): void }[] = [];
    network.through = (stream) => {
      const cable = unpluggable(stream);
      cables.push(cable);
      return cable.stream;
    };
    await clock.run(dialler.pool.dial(dialler.keyId(), other.address));
    const [stale] = other.chat.sessions;
    network.through = (stream) => stream;
    for (const cable of cables) cable.unplug();
    for (const session of dialler.chat.sessions) session.close(undefined);
    assert.ok(stale !== undefined);
    await clock.pass(SECOND);
    assert.equal(stale.signal.aborted, false, 'nothing tells that the old way is dead');
    await clock.run(dialler.pool.dial(dialler.keyId(), other.address));
    // It speaks on the new one: that settles it.
    await clock.pass(1);
    assert.equal(other.pool.connections().length, 1);
    assert.equal(stale.signal.aborted, true);
    await dialler.chat.say('again');
    await clock.pass(1);
    assert.match(other.chat.received.join(), /again/);
    await clock.run(Promise.all([low.stop(), high.stop()]));
  });
}

test('a restarted peer takes the place of its former self at once, though nobody said goodbye', async () => {
  const { clock, network, low, high } = await members();
  for (const [dialler, other] of [
    [low, high],
    [high, low],
  ] as const) {
    const cables: { unplug(): void }[] = [];
    network.through = (stream) => {
      const cable = unpluggable(stream);
      cables.push(cable);
      return cable.stream;
    };
    await clock.run(dialler.pool.dial(dialler.keyId(), other.address));
    for (const cable of cables) cable.unplug();
    await clock.run(dialler.stop());
    network.through = (stream) => stream;
    await dialler.start();
    assert.equal(other.pool.connections().length, 1, 'the dead connection is still thought alive');
    // Whichever side dials.
    await clock.run(other.pool.dial(other.keyId(), dialler.address));
    await other.chat.say('welcome back');
    await clock.pass(1);
    assert.match(dialler.chat.received.join(), /welcome back/);
    assert.equal(other.pool.connections().length, 1);
    for (const session of other.chat.sessions) session.close(undefined);
    await clock.pass(5 * SECOND);
  }
  await clock.run(Promise.all([low.stop(), high.stop()]));
});

/** A member by hand, which introduces itself under a peer ID and says no more. */
async function member(network: MemoryNetwork, to: Host, peer: string): Promise<RawPeer> {
  const { keys } = to.club;
  assert.ok(keys.level === 'read_write');
  const stream = network.connect('10.0.0.9', to.address);
  await stream.write(utf8(keys.readWrite.id + keys.readWrite.key.reveal()));
  assert.equal(fromUtf8((await stream.read()) ?? new Uint8Array()), 'ok');
  const raw = new RawPeer(stream);
  await raw.hearOf('core.greeting');
  await raw.say(framed(`{"type":"core.start","protocol":1,"extensions":["chat"],"peer":"${peer}"}`));
  return raw;
}

const PEER = '5'.repeat(32);

test('a peer that dialled twice decides which connection it means, by closing one or by speaking', async () => {
  for (const choice of ['closes the second', 'speaks on the second', 'says nothing'] as const) {
    const { clock, network, low, high } = await members();
    const first = await clock.run(member(network, low, PEER));
    await clock.pass(1);
    const [older] = low.chat.sessions;
    assert.ok(older !== undefined);
    const second = await clock.run(member(network, low, PEER));
    const third = await clock.run(member(network, low, PEER));
    assert.equal(await clock.run(third.hear()), null, 'one undecided connection is enough');
    await clock.pass(SECOND);
    assert.deepEqual([...low.chat.sessions], [older]);
    if (choice === 'closes the second') await second.stream.close();
    if (choice === 'speaks on the second') await second.say(framed('{"type":"chat.text","text":"here"}'));
    await clock.pass(choice === 'says nothing' ? 12 * SECOND : 1);
    assert.equal(low.pool.connections().length, 1);
    assert.equal([...low.chat.sessions][0] === older, choice === 'closes the second');
    assert.equal(low.chat.received.length, choice === 'speaks on the second' ? 1 : 0);
    first.stream.abort(new Error('over'));
    second.stream.abort(new Error('over'));
    await clock.run(Promise.all([low.stop(), high.stop()]));
  }
});

test('a peer ID that changes during the introduction, or a share that is left, ends it', async () => {
  for (const change of ['mint', 'leave', 'pause'] as const) {
    const { clock, network, low, high } = await members();
    // The start arrives at 2 s.
    network.through = (stream) => slow(stream, clock, [1_000]);
    const { club } = high;
    const dialled = low.pool.dial(low.keyId(), high.address);
    await clock.pass(1_500);
    if (change === 'mint') await high.registry.mintPeer(club.id);
    else if (change === 'leave') await high.registry.leave(club.id);
    else await high.registry.configure(club.id, { paused: true });
    await clock.run(dialled.then(({ ended }) => ended));
    assert.deepEqual(high.pool.connections(), []);
    assert.match(high.device.logText, /pool\.club_changed/);
    await clock.run(Promise.all([low.stop(), high.stop()]));
  }
});

test('of a read-only and a read-write connection to one peer the read-write one stays', async () => {
  for (const order of [
    ['read_only', 'read_write'],
    ['read_write', 'read_only'],
  ] as const) {
    const { clock, low, high } = await members();
    for (const level of order) {
      await clock.run(low.pool.dial(low.keyId(level), high.address).catch(() => undefined));
    }
    await clock.pass(15 * SECOND);
    for (const host of [low, high]) {
      assert.deepEqual(
        host.pool.connections().map(({ level }) => level),
        ['read_write'],
      );
    }
    await clock.run(Promise.all([low.stop(), high.stop()]));
  }
});
