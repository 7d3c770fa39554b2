import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  directedBroadcast,
  type InterfaceAddress,
  isOnLink,
  listInterfaces,
  watchInterfaces,
} from '../../agent/platform/interfaces.ts';
import { virtualClock } from '../support/virtual-clock.ts';

const address = (cidr: string, name = 'eth0'): InterfaceAddress => {
  const [host = '', prefix = ''] = cidr.split('/');
  return {
    name,
    family: host.includes(':') ? 6 : 4,
    address: host,
    prefixLength: Number(prefix),
    broadcast: directedBroadcast(host, Number(prefix)),
    scopeId: 0,
    internal: false,
  };
};

test('this machine has a loopback with its broadcast address', () => {
  const loopback = listInterfaces().find((each) => each.address === '127.0.0.1');
  assert.ok(loopback);
  assert.equal(loopback.internal, true);
  assert.equal(loopback.broadcast, '127.255.255.255');
});

test('a directed broadcast address has all host bits set', () => {
  assert.equal(directedBroadcast('192.168.1.7', 24), '192.168.1.255');
  assert.equal(directedBroadcast('10.77.3.9', 8), '10.255.255.255');
  assert.equal(directedBroadcast('172.16.5.130', 25), '172.16.5.255');
  assert.equal(directedBroadcast('200.1.2.5', 30), '200.1.2.7');
  assert.equal(directedBroadcast('10.0.0.1', 31), undefined);
  assert.equal(directedBroadcast('10.0.0.1', 32), undefined);
  assert.equal(directedBroadcast('10.0.0.1', 0), undefined);
  assert.equal(directedBroadcast('fe80::1', 64), undefined);
});

test('on link is what the own networks contain', () => {
  const own = [address('192.168.1.7/24'), address('10.1.2.3/32'), address('fd00::7/64')];
  for (const host of ['192.168.1.1', '192.168.1.255', '10.1.2.3']) assert.ok(isOnLink(host, own), host);
  for (const host of ['192.168.2.1', '10.1.2.4', '8.8.8.8', 'fd00::8', 'name', '']) {
    assert.ok(!isOnLink(host, own), host);
  }
  assert.ok(!isOnLink('8.8.8.8', [address('10.0.0.1/0')]));
});

test('a change of addresses is noticed, once', async () => {
  const clock = virtualClock();
  let current = [address('10.0.0.1/24')];
  const changes: string[] = [];
  const watch = watchInterfaces({
    clock,
    list: () => current,
    onChange: (all) => changes.push(all.map((each) => each.address).join()),
  });
  await clock.pass(10_000);
  assert.deepEqual(changes, []);
  current = [address('10.0.0.1/24'), address('10.5.0.1/24', 'wlan0')];
  await clock.pass(10_000);
  assert.deepEqual(changes, ['10.0.0.1,10.5.0.1']);
  assert.equal(watch.addresses.length, 2);
  watch.close();
  current = [];
  await clock.pass(10_000);
  assert.equal(changes.length, 1);
});

test('a change is found later where it is not urgent, and at once where something points to it', async () => {
  const clock = virtualClock();
  let [looks, isUrgent] = [0, false];
  const list = () => {
    looks += 1;
    return [];
  };
  const watch = watchInterfaces({ clock, list, onChange: () => undefined, isUrgent: () => isUrgent });
  await clock.pass(60_000);
  assert.ok(looks <= 8, `${looks} looks in a minute`);
  looks = 0;
  watch.hurry();
  await clock.pass(1);
  assert.equal(looks, 1);
  isUrgent = true;
  await clock.pass(60_000);
  assert.ok(looks >= 25, `${looks} looks in a minute`);
  watch.close();
});

test('a sleep of the machine is a change of the network', async () => {
  const virtual = virtualClock();
  let slept = 0n;
  const changes: number[] = [];
  const watch = watchInterfaces({
    clock: { ...virtual, now: () => virtual.now() + slept },
    list: () => [],
    onChange: () => changes.push(virtual.monotonic()),
  });
  await virtual.pass(5_000);
  slept = 3_600_000_000_000n;
  await virtual.pass(5_000);
  assert.deepEqual(changes, [6_000]);
  watch.close();
});
