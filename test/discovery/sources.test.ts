import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatEndpoint, parseEndpoint } from '../../agent/base/endpoint.ts';
import { type ManualAddress, ManualSource } from '../../agent/discovery/manual.ts';
import { type RememberedPeer, RememberedSource } from '../../agent/discovery/remembered.ts';
import type { Candidate, SoughtId } from '../../agent/discovery/source.ts';
import { virtualClock } from '../support/virtual-clock.ts';

const id = (letter: string) => letter.repeat(64);
const peer = (letter: string) => letter.repeat(32);
const sought = (letter: string, club: string): SoughtId => ({
  id: id(letter),
  peer: peer('5'),
  establish: [1],
  club,
  preference: 1,
});
const brief = (candidates: readonly Candidate[]) =>
  candidates.map((each) => `${each.id[0]} ${each.peer?.[0] ?? '-'} ${formatEndpoint(each.address)}`);

test('a given address is a candidate for each ID of its club, or of all, once', () => {
  const heard: Candidate[] = [];
  const manual = new ManualSource({ onCandidate: (each) => heard.push(each), clock: virtualClock() });
  const addresses: ManualAddress[] = [
    { club: 'one', address: parseEndpoint('piano.example:1') },
    { club: undefined, address: parseEndpoint('[fd00::7]:2') },
  ];
  manual.setAddresses(addresses);
  assert.deepEqual(heard, []);
  const ids = [sought('a', 'one'), sought('b', 'two')];
  manual.announce({ listen: undefined, ids });
  assert.deepEqual(brief(heard), ['a - piano.example:1', 'a - [fd00::7]:2', 'b - [fd00::7]:2']);
  manual.announce({ listen: undefined, ids });
  manual.setAddresses(addresses);
  assert.equal(heard.length, 3);
  manual.announce({ listen: undefined, ids: [...ids, sought('c', 'one')] });
  assert.deepEqual(brief(heard.slice(3)), ['c - piano.example:1', 'c - [fd00::7]:2']);
});

test('remembered addresses are candidates for the IDs of their club, also when these change', () => {
  const heard: Candidate[] = [];
  let remembered: RememberedPeer[] = [
    { club: 'one', peer: peer('1'), addresses: ['10.0.0.1:1', '10.0.0.2:1'], lastSeen: 5n },
    { club: 'two', peer: peer('2'), addresses: ['10.0.0.3:1', 'not an address'], lastSeen: 9n },
  ];
  const source = new RememberedSource({
    recall: () => remembered,
    onCandidate: (each) => heard.push(each),
    clock: virtualClock(),
  });
  const ids = [sought('a', 'one'), sought('b', 'two')];
  source.announce({ listen: undefined, ids });
  assert.deepEqual(brief(heard), ['b 2 10.0.0.3:1', 'a 1 10.0.0.1:1', 'a 1 10.0.0.2:1']);
  source.announce({ listen: undefined, ids: [sought('a', 'one'), sought('c', 'two')] });
  assert.deepEqual(brief(heard.slice(3)), ['c 2 10.0.0.3:1']);
  remembered = [];
  source.announce({ listen: undefined, ids });
  assert.equal(heard.length, 4);
});

test('of very many remembered addresses the latest are taken', () => {
  const heard: Candidate[] = [];
  const source = new RememberedSource({
    recall: () =>
      Array.from({ length: 5_000 }, (_, index) => ({
        club: 'one',
        peer: index.toString(16).padStart(32, '0'),
        addresses: [1, 2, 3, 4, 5, 6].map((port) => `10.0.${index >> 8}.${index & 255}:${port}`),
        lastSeen: BigInt(index),
      })),
    onCandidate: (each) => heard.push(each),
    clock: virtualClock(),
  });
  source.announce({ listen: undefined, ids: [sought('a', 'one')] });
  assert.equal(heard.length, 1_024);
  assert.equal(heard[0]?.address.host, '10.0.19.135');
  assert.ok(heard.every(({ address }) => address.port === 1));
});

test('an address is read as it is written', () => {
  for (const text of ['10.0.0.1:1', 'piano.local:65535', '[fd00::7]:49221', '[fe80::1%eth0]:1']) {
    assert.equal(formatEndpoint(parseEndpoint(text)), text);
  }
  for (const text of [
    '',
    'piano',
    'piano:',
    ':1',
    'piano:0',
    'piano:65536',
    'a b:1',
    'fd00::7:1',
    '[piano]:1',
    '[::1',
    '-x:1',
    'x:1 ',
    `${'x'.repeat(254)}:1`,
  ]) {
    assert.throws(() => parseEndpoint(text), { code: 'endpoint.malformed' }, text);
  }
});
