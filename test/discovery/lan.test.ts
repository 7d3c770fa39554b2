import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { silentLogger } from '../../agent/base/log.ts';
import { decodeBroadcast, encodeBroadcast } from '../../agent/discovery/broadcast.ts';
import { openLan } from '../../agent/discovery/lan.ts';
import type { Candidate, SoughtId } from '../../agent/discovery/source.ts';
import { mutated } from '../support/properties.ts';
import { type VirtualClock, virtualClock } from '../support/virtual-clock.ts';
import { type VirtualHost, VirtualNetwork } from './virtual-network.ts';

const ID = 'a'.repeat(64);
const OTHER_ID = 'b'.repeat(64);
const peer = (letter: string) => letter.repeat(32);
const sought = (letter: string, id = ID): SoughtId => ({
  id,
  peer: peer(letter),
  establish: [1, 2],
  club: 'club',
  preference: 1,
});

async function agent(t: TestContext, clock: VirtualClock, host: VirtualHost) {
  const heard: Candidate[] = [];
  const lan = await openLan({
    onCandidate: (candidate) => heard.push(candidate),
    interfaces: () => host.addresses,
    openSocket: host.openSocket,
    random: () => 0.5,
    clock,
    log: silentLogger,
  });
  t.after(() => lan.close());
  return { lan, heard };
}

const listen = (port: number, host = '0.0.0.0') => ({ host, port });

test('two agents hear each other within two seconds, whoever comes first', async (t) => {
  for (const [first, second] of [
    ['1', '2'],
    ['2', '1'],
  ] as const) {
    const clock = virtualClock();
    const network = new VirtualNetwork(clock);
    const a = await agent(t, clock, network.host('10.0.0.1/24'));
    const b = await agent(t, clock, network.host('10.0.0.2/24'));
    a.lan.announce({ listen: listen(1001), ids: [sought(first)] });
    await clock.pass(30_000);
    assert.equal(a.heard.length, 0);
    const came = clock.monotonic();
    b.lan.announce({ listen: listen(1002), ids: [sought(second)] });
    await clock.pass(2_000);
    assert.deepEqual(a.heard[0], {
      id: ID,
      address: { host: '10.0.0.2', port: 1002 },
      peer: peer(second),
      versions: [1, 2],
      source: 'lan',
      seenAt: came + 1,
    });
    assert.deepEqual(b.heard[0]?.address, { host: '10.0.0.1', port: 1001 });
    await a.lan.close();
    await b.lan.close();
  }
});

test('each ID is announced on each network, at once, twice more, then every minute or so', async (t) => {
  const clock = virtualClock();
  const host = new VirtualNetwork(clock).host('10.0.0.1/24', '10.0.1.1/16');
  const { lan } = await agent(t, clock, host);
  lan.announce({ listen: listen(1001), ids: [sought('1'), sought('1', OTHER_ID)] });
  await clock.pass(0);
  const each = host.sent.map(({ bytes, to }) => `${decodeBroadcast(bytes).id[0]} ${to.host}:${to.port}`);
  assert.deepEqual(each.sort(), [
    'a 10.0.0.255:60106',
    'a 10.0.255.255:60106',
    'b 10.0.0.255:60106',
    'b 10.0.255.255:60106',
  ]);
  await clock.pass(10_000);
  assert.equal(host.sent.length, 4 * 3);
  await clock.pass(300_000);
  assert.equal(host.sent.length, 4 * (3 + 5));
});

test('only what is new is announced at once', async (t) => {
  const clock = virtualClock();
  const host = new VirtualNetwork(clock).host('10.0.0.1/24');
  const { lan } = await agent(t, clock, host);
  lan.announce({ listen: listen(1001), ids: [sought('1')] });
  await clock.pass(20_000);
  host.sent = [];
  lan.announce({ listen: listen(1001), ids: [sought('1'), sought('1', OTHER_ID)] });
  await clock.pass(0);
  assert.deepEqual(
    host.sent.map(({ bytes }) => decodeBroadcast(bytes).id),
    [OTHER_ID],
  );
  await clock.pass(20_000);
  host.sent = [];
  lan.announce({ listen: listen(1001), ids: [] });
  await clock.pass(200_000);
  assert.equal(host.sent.length, 0);
});

test('nothing is announced without a listener, or on networks that it does not listen on', async (t) => {
  const clock = virtualClock();
  const host = new VirtualNetwork(clock).host('10.0.0.1/24', '10.0.1.1/24');
  const { lan } = await agent(t, clock, host);
  lan.announce({ listen: undefined, ids: [sought('1')] });
  await clock.pass(100_000);
  assert.equal(host.sent.length, 0);
  lan.announce({ listen: listen(1001, '10.0.1.1'), ids: [sought('1')] });
  await clock.pass(1);
  assert.deepEqual(
    host.sent.map(({ to }) => to.host),
    ['10.0.1.255'],
  );
});

test('a new network is announced on at once', async (t) => {
  const clock = virtualClock();
  const network = new VirtualNetwork(clock);
  const host = network.host('10.0.0.1/24');
  const a = await agent(t, clock, host);
  const b = await agent(t, clock, network.host('10.5.0.2/24'));
  a.lan.announce({ listen: listen(1001), ids: [sought('1')] });
  b.lan.announce({ listen: listen(1002), ids: [sought('2')] });
  await clock.pass(20_000);
  assert.equal(b.heard.length, 0);
  host.connectTo('10.5.0.1/24');
  a.lan.refresh();
  await clock.pass(500);
  assert.equal(b.heard[0]?.address.host, '10.5.0.1');
  assert.equal(a.heard[0]?.address.host, '10.5.0.2');
});

test('answers are few, however many new peers speak up', async (t) => {
  const clock = virtualClock();
  const host = new VirtualNetwork(clock).host('10.0.0.1/24');
  const { lan, heard } = await agent(t, clock, host);
  lan.announce({ listen: listen(1001), ids: [sought('1')] });
  await clock.pass(10_000);
  host.sent = [];
  for (let step = 0; step < 100; step++) {
    for (let each = 0; each < 500; each++) {
      const number = step * 500 + each;
      const forged = { id: ID, peer: number.toString(16).padStart(32, 'f'), port: 1 + number, versions: [1] };
      host.inject(encodeBroadcast(forged), `10.0.0.${2 + (number % 250)}`);
    }
    await clock.pass(50);
  }
  // One a second; 50,000 datagrams came.
  assert.ok(host.sent.length <= 6, `${host.sent.length} answers`);
  assert.ok(heard.length <= 2_048 + 512 * 6, `${heard.length} candidates`);
});

test('one host that floods uses up its own budget only', async (t) => {
  const clock = virtualClock();
  const host = new VirtualNetwork(clock).host('10.0.0.1/24');
  const { lan, heard } = await agent(t, clock, host);
  lan.announce({ listen: listen(1001), ids: [sought('1')] });
  for (let number = 0; number < 20_000; number++) {
    const forged = { id: ID, peer: number.toString(16).padStart(32, 'f'), port: 1 + number, versions: [1] };
    host.inject(encodeBroadcast(forged), '10.0.0.66');
  }
  assert.equal(heard.length, 512);
  host.inject(encodeBroadcast({ id: ID, peer: peer('7'), port: 7, versions: [1] }), '10.0.0.7');
  assert.equal(heard.at(-1)?.peer, peer('7'));
});

test('our own echo is ignored; our peer ID from another machine is a candidate without a name', async (t) => {
  const clock = virtualClock();
  const host = new VirtualNetwork(clock).host('10.0.0.1/24');
  const { lan, heard } = await agent(t, clock, host);
  lan.announce({ listen: listen(1001), ids: [sought('1')] });
  await clock.pass(100_000);
  assert.equal(heard.length, 0);
  const copy = encodeBroadcast({ id: ID, peer: peer('1'), port: 1001, versions: [1] });
  host.inject(copy, '10.0.0.9');
  assert.deepEqual(
    heard.map(({ address, peer: who }) => [address.host, who]),
    [['10.0.0.9', undefined]],
  );
});

test('forged senders from other networks, other IDs and garbage come to nothing', async (t) => {
  const clock = virtualClock();
  const host = new VirtualNetwork(clock).host('10.0.0.1/24');
  const { lan, heard } = await agent(t, clock, host);
  lan.announce({ listen: listen(1001), ids: [sought('1')] });
  const valid = { id: ID, peer: peer('7'), port: 22, versions: [1] };
  for (const from of ['8.8.8.8', '10.0.1.1', '127.0.0.1', '0.0.0.0', 'fe80::1', '224.0.0.1']) {
    host.inject(encodeBroadcast(valid), from);
  }
  host.inject(encodeBroadcast({ ...valid, id: OTHER_ID }), '10.0.0.7');
  assert.equal(heard.length, 0);
  fc.assert(
    fc.property(
      fc.oneof(fc.uint8Array({ maxLength: 4_000 }), mutated(fc.constant(encodeBroadcast(valid)))),
      (bytes) => host.inject(bytes, '10.0.0.7'),
    ),
  );
  for (const { id, address } of heard) {
    assert.equal(id, ID);
    assert.equal(address.host, '10.0.0.7');
  }
});

test('two agents on one host hear each other, though they share the port', async (t) => {
  const clock = virtualClock();
  const host = new VirtualNetwork(clock).host('10.0.0.1/24');
  const a = await agent(t, clock, host);
  const b = await agent(t, clock, host);
  a.lan.announce({ listen: listen(1001), ids: [sought('1')] });
  b.lan.announce({ listen: listen(1002), ids: [sought('2')] });
  await clock.pass(2_000);
  assert.equal(a.heard[0]?.address.port, 1002);
  assert.equal(b.heard[0]?.address.port, 1001);
});

test('after closing nothing is sent or heard', async (t) => {
  const clock = virtualClock();
  const host = new VirtualNetwork(clock).host('10.0.0.1/24');
  const { lan, heard } = await agent(t, clock, host);
  lan.announce({ listen: listen(1001), ids: [sought('1')] });
  await lan.close();
  host.sent = [];
  lan.refresh();
  await clock.pass(200_000);
  host.inject(encodeBroadcast({ id: ID, peer: peer('7'), port: 7, versions: [1] }), '10.0.0.7');
  assert.deepEqual([host.sent, heard], [[], []]);
});
