import assert from 'node:assert/strict';
import { test } from 'node:test';
import { utf8 } from '../../agent/base/bytes.ts';
import { generateClubKeys, type KeysMessage, keysFor } from '../../agent/club/keys.ts';
import type { Registry } from '../../agent/club/registry.ts';
import { virtualClock } from '../support/virtual-clock.ts';
import { stockRsa, TestDevice } from './test-device.ts';

const HOUR = 3_600_000;

async function someKeys(level: 'read_write' | 'read_only'): Promise<KeysMessage> {
  const message = keysFor(await generateClubKeys(stockRsa), level);
  assert.ok(message !== undefined);
  return message;
}

function device(clock = virtualClock()) {
  return { clock, device: new TestDevice(clock) };
}

test('a created club is there after a restart, with the same identity, keys and settings', async () => {
  const { device: host } = device();
  const registry = await host.start();
  const club = await registry.create({ name: 'Music', folder: '/music' });
  assert.equal(club.level, 'read_write');
  assert.equal(club.signer.canSign, true);
  await registry.configure(club.id, { name: 'Piano', settings: new Map([['directory', { a: 1 }]]) });
  const again = await host.start();
  assert.equal(again.deviceId, registry.deviceId);
  assert.deepEqual(again.fakeVerifierKey.reveal(), registry.fakeVerifierKey.reveal());
  assert.equal(again.fakeVerifierKey.reveal().length, 32);
  const same = again.get(club.id);
  assert.ok(same !== undefined);
  assert.equal(same.peer, club.peer);
  assert.equal(same.name, 'Piano');
  assert.equal(same.folder, '/music');
  assert.equal(JSON.stringify(same.settings.get('directory')), '{"a":1}');
  const body = utf8('{}');
  assert.equal(await same.signer.verify(body, await club.signer.sign(body)), true);
});

test('two devices are two, and so are their peers in every club', async () => {
  const [one, two] = await Promise.all([device().device.start(), device().device.start()]);
  assert.notEqual(one.deviceId, two.deviceId);
  const clubs = await Promise.all([
    one.create({ name: 'A', folder: '/a' }),
    one.create({ name: 'B', folder: '/b' }),
  ]);
  assert.notEqual(clubs[0].peer, clubs[1].peer);
  assert.notEqual(clubs[0].id, clubs[1].id);
});

test('keys that were received are resolved to their level: read-only members have one ID, read-write members two', async () => {
  const registry = await device().device.start();
  for (const level of ['read_only', 'read_write'] as const) {
    const message = await someKeys(level);
    const club = await registry.adopt(message, 'ab'.repeat(16), { name: level, folder: `/${level}` });
    assert.equal(club.level, level);
    assert.equal(club.peer, 'ab'.repeat(16));
    for (const { id, accessLevel, key } of message.keys) {
      if (id === undefined) continue;
      const resolved = registry.resolve(id);
      assert.ok(resolved?.kind === 'member');
      assert.equal(resolved.club, club);
      assert.equal(resolved.level, accessLevel);
      assert.equal(resolved.secret.reveal(), key);
    }
  }
  assert.equal(registry.resolve('0'.repeat(64)), undefined);
});

test('one cannot join a club twice, not even twice at once', async () => {
  const registry = await device().device.start();
  const message = await someKeys('read_write');
  const adopt = () => registry.adopt(message, 'ab'.repeat(16), { name: 'Music', folder: '/music' });
  const results = await Promise.allSettled([adopt(), adopt(), adopt()]);
  assert.equal(results.filter(({ status }) => status === 'fulfilled').length, 1);
  await assert.rejects(adopt(), { code: 'club.already_member', fault: 'user' });
  assert.equal(registry.list().length, 1);
});

test('keys are in the state file before adopting resolves; a power cut leaves all or nothing', async () => {
  const message = await someKeys('read_write');
  for (let cut = 1; cut <= 7; cut++) {
    const { device: host } = device();
    const registry = await host.start();
    host.disk.steps = 0;
    host.disk.cutAt = cut;
    const adopted = await registry
      .adopt(message, 'ab'.repeat(16), { name: 'Music', folder: '/music' })
      .then(() => true)
      .catch((thrown: { code?: string }) => {
        assert.equal(thrown.code, 'state.write_failed');
        return false;
      });
    assert.equal(registry.list().length, adopted ? 1 : 0, 'nothing is used that is not durable');
    host.disk.restart((index) => index % 2 === 0);
    const again = await host.start();
    if (adopted) assert.equal(again.list().length, 1);
    for (const club of again.list()) assert.equal(club.level, 'read_write');
  }
});

test('leaving forgets the keys at once and for good', async () => {
  const { device: host } = device();
  const registry = await host.start();
  const club = await registry.create({ name: 'Music', folder: '/music' });
  const code = await club.codes.create({ level: 'read_write' });
  const ids = [club.keys.readOnly.id, code.id];
  for (const id of ids) assert.ok(registry.resolve(id) !== undefined);
  await registry.leave(club.id);
  for (const id of ids) assert.equal(registry.resolve(id), undefined);
  assert.deepEqual((await host.start()).list(), []);
  // Those who still hold the club can read its name, and nothing breaks.
  assert.equal(club.name, 'Music');
  assert.deepEqual(club.codes.liveIds(), []);
  await assert.rejects(registry.leave(club.id), { code: 'club.unknown' });
  await assert.rejects(club.codes.create({ level: 'read_only' }), { code: 'club.unknown' });
});

test('a paused club answers to nothing', async () => {
  const registry = await device().device.start();
  const club = await registry.create({ name: 'Music', folder: '/music' });
  await registry.configure(club.id, { paused: true });
  assert.equal(registry.resolve(club.keys.readOnly.id), undefined);
  await registry.configure(club.id, { paused: false });
  assert.ok(registry.resolve(club.keys.readOnly.id) !== undefined);
});

test('a new peer ID is durable before anybody hears of it, and taken ever more seldom', async () => {
  const { clock, device: host } = device();
  const registry = await host.start();
  const club = await registry.create({ name: 'Music', folder: '/music' });
  const before = club.peer;
  const heard: [string, string][] = [];
  registry.onChange(({ kind, club: { peer } }) => heard.push([kind, peer]));
  assert.equal(await registry.mintPeer(club.id), true);
  assert.notEqual(club.peer, before);
  assert.deepEqual(heard, [['peer', club.peer]]);
  const [minted] = (await host.start()).list();
  assert.equal(minted?.peer, club.peer);
  assert.equal(await registry.mintPeer(club.id), false);
  assert.equal(minted?.peer, club.peer);
  await clock.pass(HOUR + 1);
  assert.equal(await registry.mintPeer(club.id), true);
  await clock.pass(HOUR + 1);
  assert.equal(await registry.mintPeer(club.id), false);
  await registry.close();
});

test('whoever keeps claiming that we were copied gets few new peer IDs out of us, restarts or not', async () => {
  const { clock, device: host } = device();
  let registry = await host.start();
  const club = await registry.create({ name: 'Music', folder: '/music' });
  const { steps } = host.disk;
  let minted = 0;
  let written = 0;
  // Hourly for a year, with a restart each day.
  for (let hour = 0; hour < 365 * 24; hour++) {
    const before = host.disk.steps;
    if (await registry.mintPeer(club.id)) minted += 1;
    if (host.disk.steps > before) written += 1;
    await clock.pass(HOUR);
    if (hour % 24 !== 23) continue;
    await registry.close();
    registry = await host.start();
  }
  assert.ok(minted >= 10 && minted <= 24, `${minted} in a year`);
  assert.equal(written, minted, 'a refusal writes nothing');
  assert.ok(host.disk.steps > steps);
  // After a long calm the next one is taken at once.
  await clock.pass(70 * 24 * HOUR);
  assert.equal(await registry.mintPeer(club.id), true);
  await clock.pass(HOUR + 1);
  assert.equal(await registry.mintPeer(club.id), true);
  await registry.close();
});

test('two that ask for a new peer ID at once get one', async () => {
  const { device: host } = device();
  const registry = await host.start();
  const { id } = await registry.create({ name: 'Music', folder: '/music' });
  assert.deepEqual(await Promise.all([registry.mintPeer(id), registry.mintPeer(id)]), [true, false]);
  await registry.close();
});

test('without a clock that was ever set, new peer IDs are spaced by the time that the device runs', async () => {
  const clock = virtualClock(0n);
  const host = new TestDevice(clock);
  const registry = await host.start();
  const { id } = await registry.create({ name: 'Music', folder: '/music' });
  assert.equal(await registry.mintPeer(id), true);
  await registry.close();
  const again = await host.start();
  assert.equal(await again.mintPeer(id), false);
  await clock.pass(HOUR + 1);
  assert.equal(await again.mintPeer(id), true);
  await again.close();
});

test('who was met is remembered: the latest first, bounded, and the disk is spared', async () => {
  const { clock, device: host } = device();
  const registry = await host.start();
  const { id } = await registry.create({ name: 'Music', folder: '/music' });
  const alice = { id: 'a'.repeat(32), name: 'Alice', software: 'skylark' };
  const bob = { id: 'b'.repeat(32), name: 'Bob', software: 'skylark' };
  await registry.remember(id, { ...alice, address: '192.168.1.2:49221' });
  await registry.remember(id, { ...bob, address: '192.168.1.3:49221' });
  await registry.remember(id, { ...alice, address: '10.0.0.2:49221' });
  const peers = () => registry.get(id)?.peers ?? [];
  assert.deepEqual(
    peers().map(({ name, addresses }) => [name, addresses]),
    [
      ['Alice', ['10.0.0.2:49221', '192.168.1.2:49221']],
      ['Bob', ['192.168.1.3:49221']],
    ],
  );
  const { steps } = host.disk;
  for (let i = 0; i < 100; i++) {
    await registry.remember(id, { ...alice, address: '10.0.0.2:49221' });
    await registry.remember(id, alice);
    await clock.pass(60_000);
  }
  assert.equal(host.disk.steps, steps, 'an hour and a half of the same costs no write');
  await clock.pass(12 * HOUR);
  await registry.remember(id, alice);
  assert.ok(host.disk.steps > steps);
  for (let i = 0; i < 20; i++) await registry.remember(id, { ...bob, address: `10.0.1.${i}:1` });
  assert.equal(peers()[0]?.addresses.length, 8);
  for (let i = 0; i < 300; i++) {
    await registry.remember(id, { id: i.toString(16).padStart(32, '0'), software: 'flood' });
  }
  assert.equal(peers().length, 256);
  await registry.close();
  assert.equal((await host.start()).get(id)?.peers.length, 256);
  await registry.close();
});

test('damaged keys in the state are told, never dropped', async () => {
  const { device: host } = device();
  const registry: Registry = await host.start();
  await registry.create({ name: 'Music', folder: '/music' });
  // As if written by a faulty version: well-formed, checksum right, but not keys.
  const file = await host.openState();
  await file.update((state) => ({
    ...state,
    clubs: state.clubs.map((club) => ({ ...club, keys: { ...club.keys, keys: [] } })),
  }));
  await assert.rejects(host.start(), { code: 'club.keys_damaged', fault: 'environment' });
});

test('neither keys nor the identity get into the log', async () => {
  const { device: host } = device();
  const registry = await host.start();
  const club = await registry.create({ name: 'Music', folder: '/music' });
  await registry.mintPeer(club.id);
  assert.ok(host.entries.length > 0);
  assert.ok(!host.logText.includes(club.keys.readOnly.key.reveal()));
  assert.doesNotMatch(host.logText, /PRIVATE/);
});

test('after a clock that was wrong, or never set, new peer IDs are spaced by the date again', async () => {
  const DAY = 24 * HOUR;
  for (const wrong of [4_000_000_000_000_000_000n, 0n]) {
    const clock = virtualClock();
    let isWrong = true;
    const now = () => (isWrong ? wrong : clock.now());
    const host = new TestDevice({ ...clock, now });
    let registry = await host.start();
    const { id } = await registry.create({ name: 'Music', folder: '/music' });
    for (let i = 0; i < 6; i++) {
      assert.equal(await registry.mintPeer(id), true);
      await clock.pass(HOUR * 2 ** i + 1);
    }
    // A device that is switched on for an hour each day, and by now knows the date.
    isWrong = false;
    let days = 0;
    for (let isTaken = false; !isTaken && days < 100; days++) {
      await registry.close();
      await clock.pass(DAY - HOUR);
      registry = await host.start();
      await clock.pass(HOUR);
      isTaken = await registry.mintPeer(id);
    }
    await registry.close();
    assert.ok(days <= 4, `${days} days`);
    assert.ok(days >= 2, `${days} days: the pause after six of them is 32 hours`);
  }
});
