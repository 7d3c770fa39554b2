import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { formatEndpoint, parseEndpoint } from '../../agent/base/endpoint.ts';
import { silentLogger } from '../../agent/base/log.ts';
import { type Discovery, openDiscovery } from '../../agent/discovery/discovery.ts';
import type { RememberedPeer } from '../../agent/discovery/remembered.ts';
import { type VirtualClock, virtualClock } from '../support/virtual-clock.ts';
import { type VirtualHost, VirtualNetwork } from './virtual-network.ts';

const ID = 'a'.repeat(64);
const peer = (letter: string) => letter.repeat(32);

interface Member {
  readonly peer: string;
  readonly host: VirtualHost;
  readonly port: number;
  readonly discovery: Discovery;
  /** Addresses, in the order in which they were dialled. */
  readonly dials: string[];
}

/** Members whose dials reach each other; a session is told to both ends. */
class Party {
  readonly clock: VirtualClock = virtualClock();
  readonly network = new VirtualNetwork(this.clock);
  readonly #t: TestContext;
  readonly #members: Member[] = [];
  readonly #sessions = new Set<string>();

  constructor(t: TestContext) {
    this.#t = t;
  }

  add(letter: string, host: VirtualHost, recall: () => RememberedPeer[] = () => [], lan = true): Member {
    const port = 1_000 + this.#members.length;
    const dials: string[] = [];
    const discovery = openDiscovery({
      lan: lan ? {} : undefined,
      recall,
      clock: this.clock,
      log: silentLogger,
      random: () => 0.5,
      network: { interfaces: () => host.addresses, openSocket: host.openSocket },
      dial: async ({ address }) => {
        dials.push(formatEndpoint(address));
        const other = this.#members.find(
          (each) =>
            each.port === address.port && each.host.addresses.some((own) => own.address === address.host),
        );
        if (other === undefined) return { kind: 'failed' };
        if (other === member) return { kind: 'self' };
        this.meet(member, other);
        return { kind: 'connected', peer: other.peer };
      },
    });
    const member: Member = { peer: peer(letter), host, port, discovery, dials };
    this.#members.push(member);
    this.#t.after(() => discovery.close());
    discovery.announce({
      listen: { host: '0.0.0.0', port },
      ids: [{ id: ID, peer: member.peer, establish: [1], club: 'club', preference: 1 }],
    });
    return member;
  }

  meet(a: Member, b: Member): void {
    this.#sessions.add(this.#key(a, b));
    a.discovery.sessionOpened('club', b.peer);
    b.discovery.sessionOpened('club', a.peer);
  }

  part(a: Member, b: Member): void {
    this.#sessions.delete(this.#key(a, b));
    a.discovery.sessionEnded('club', b.peer);
    b.discovery.sessionEnded('club', a.peer);
  }

  haveMet(a: Member, b: Member): boolean {
    return this.#sessions.has(this.#key(a, b));
  }

  #key(a: Member, b: Member): string {
    return [a.peer, b.peer].sort().join();
  }
}

test('members of one network meet, with one dial for each pair, and meet again after a break', async (t) => {
  const party = new Party(t);
  const [a, b, c] = ['1', '2', '3'].map((letter) =>
    party.add(letter, party.network.host(`10.0.0.${letter}/24`)),
  ) as [Member, Member, Member];
  await party.clock.pass(3_000);
  assert.ok(party.haveMet(a, b) && party.haveMet(a, c) && party.haveMet(b, c));
  assert.deepEqual([a.dials.length, b.dials.length, c.dials.length], [2, 1, 0]);
  await party.clock.pass(300_000);
  assert.equal(a.dials.length + b.dials.length + c.dials.length, 3);
  party.part(a, b);
  await party.clock.pass(500);
  assert.ok(party.haveMet(a, b));
});

test('a member that moved to another network is found there at once', async (t) => {
  const party = new Party(t);
  const a = party.add('1', party.network.host('10.0.0.1/24'));
  const b = party.add('2', party.network.host('10.9.0.2/24'));
  await party.clock.pass(100_000);
  assert.ok(!party.haveMet(a, b));
  a.host.connectTo('10.9.0.1/24');
  await party.clock.pass(5_000);
  assert.ok(party.haveMet(a, b));
});

test('without any broadcast, remembered and given addresses do', async (t) => {
  const party = new Party(t);
  const a = party.add('1', party.network.host('10.0.0.1/24'), () => [], false);
  const b = party.add(
    '2',
    party.network.host('10.9.0.2/24'),
    () => [{ club: 'club', peer: a.peer, addresses: ['10.0.0.7:1', '10.0.0.1:1000'], lastSeen: 1n }],
    false,
  );
  await party.clock.pass(5_000);
  assert.ok(party.haveMet(a, b));
  const c = party.add('3', party.network.host('10.8.0.3/24'), () => [], false);
  c.discovery.setAddresses([{ club: 'club', address: parseEndpoint('10.9.0.2:1001') }]);
  await party.clock.pass(5_000);
  assert.ok(party.haveMet(b, c));
  assert.deepEqual(
    c.discovery.attempts().map(({ source, state, address }) => [source, state, address]),
    [['manual', 'connected', '10.9.0.2:1001']],
  );
});

test('a broadcast port that is taken is a problem, until it is free', async (t) => {
  const party = new Party(t);
  const host = party.network.host('10.0.0.1/24');
  host.isPortTaken = true;
  const a = party.add('1', host);
  const b = party.add('2', party.network.host('10.0.0.2/24'));
  await party.clock.pass(1_000);
  assert.equal(a.discovery.problem?.code, 'net.port_taken');
  assert.ok(!party.haveMet(a, b));
  host.isPortTaken = false;
  await party.clock.pass(60_000);
  assert.equal(a.discovery.problem, undefined);
  assert.ok(party.haveMet(a, b));
});
