/** Peer IDs are self-asserted: what a member who may only read can do under the ID of one who may write. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { randomId } from '../../agent/club/random.ts';
import { virtualClock } from '../support/virtual-clock.ts';
import { MemoryNetwork } from './plain-channel.ts';
import { Host } from './pool-setting.ts';

const SECOND = 1_000;

/** Alice and Bob may write; Mallory may read, and says that he is Bob. */
async function setting() {
  const clock = virtualClock();
  const network = new MemoryNetwork();
  const alice = await new Host('10.0.0.1:1', clock, network).start();
  const bob = await new Host('10.0.0.2:1', clock, network).start();
  const mallory = await new Host('10.0.0.3:1', clock, network).start();
  await alice.share();
  await clock.run(bob.join(await alice.code(), [alice.address]));
  await clock.run(mallory.join(await alice.code({ level: 'read_only' }), [alice.address]));
  await clock.run(Promise.all([bob.stop(), mallory.stop()]));
  const state = await mallory.device.openState();
  await state.update((value) => ({
    ...value,
    clubs: value.clubs.map((club) => ({ ...club, peer: bob.club.peer })),
  }));
  await state.close();
  bob.instance = randomId();
  await bob.start();
  const stop = () => clock.run(Promise.all([alice.stop(), bob.stop(), mallory.stop()]));
  return { clock, alice, bob, mallory, stop };
}

test("a read-only member can't take the place of one who may write by claiming its peer ID", async () => {
  const { clock, alice, bob, mallory, stop } = await setting();
  const { ended } = await clock.run(bob.pool.dial(bob.keyId(), alice.address));
  let isOver = false;
  void ended.then(() => {
    isOver = true;
  });
  for (let i = 0; i < 3; i++) {
    await mallory.start();
    await clock.run(mallory.pool.dial(mallory.keyId(), alice.address)).catch(() => {});
    await clock.pass(15 * SECOND);
    await clock.run(mallory.stop());
  }
  assert.equal(isOver, false);
  assert.deepEqual(
    alice.pool.connections().map(({ level }) => level),
    ['read_write'],
  );
  await mallory.start();
  await stop();
});

test("a read-only member can't make one who may write look like a copy of itself", async () => {
  const { clock, alice, bob, mallory, stop } = await setting();
  // The name of Bob's process is no secret: he tells it to whoever has the read-only key.
  mallory.instance = bob.instance;
  await mallory.start();
  await clock.run(mallory.pool.dial(mallory.keyId(), alice.address));
  await clock.run(mallory.stop());
  mallory.instance = bob.instance;
  await mallory.start();
  await clock.run(mallory.pool.dial(mallory.keyId(), alice.address));
  const [first] = mallory.chat.sessions;
  assert.ok(first !== undefined);
  // Another process takes its place, while it is still there.
  const other = new Host('10.0.0.4:1', clock, mallory.network, mallory.device);
  await other.start();
  await clock.run(other.pool.dial(other.keyId(), alice.address)).catch(() => {});
  await clock.pass(15 * SECOND);
  await clock.run(bob.pool.dial(bob.keyId(), alice.address));
  await clock.pass(SECOND);
  assert.deepEqual(
    alice.pool.connections().map(({ level }) => level),
    ['read_write'],
  );
  await clock.run(other.stop());
  await stop();
});

test('two processes under one peer ID are reported now and then, however often they come', async () => {
  const { clock, alice, mallory, stop } = await setting();
  const other = new Host('10.0.0.4:1', clock, mallory.network, mallory.device);
  mallory.instance = randomId();
  other.instance = randomId();
  await Promise.all([mallory.start(), other.start()]);
  for (let i = 0; i < 20; i++) {
    for (const each of [mallory, other]) {
      await clock.run(each.pool.dial(each.keyId(), alice.address)).catch(() => {});
      await clock.pass(SECOND);
    }
  }
  assert.equal(alice.changes.filter(({ kind }) => kind === 'cloned').length, 1);
  await clock.run(other.stop());
  await stop();
});
