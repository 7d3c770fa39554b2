import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DIAL_LIMITS, DialPlan } from '../../agent/discovery/dial-plan.ts';
import type { Place } from '../../agent/discovery/place-table.ts';
import type { Candidate, SoughtId, SourceName } from '../../agent/discovery/source.ts';

const id = (letter: string) => letter.repeat(64);
const peer = (letter: string) => letter.repeat(32);
const sought = (letter: string, club = 'club', preference = 1): SoughtId => ({
  id: id(letter),
  peer: peer('5'),
  establish: [1],
  club,
  preference,
});
const candidate = (over: Partial<Candidate> & { host?: string; port?: number } = {}): Candidate => {
  const { host = '10.0.0.1', port = 1000, ...rest } = over;
  return {
    id: id('a'),
    address: { host, port },
    peer: peer('9'),
    versions: [1],
    source: 'lan',
    seenAt: 0,
    ...rest,
  };
};
const half = () => 0.5;
const addressOf = (place: Place) => `${place.address.host}:${place.address.port}`;

function planFor(...ids: SoughtId[]): DialPlan {
  const plan = new DialPlan(0, half);
  plan.seek(ids);
  return plan;
}

/** Dials that start at `now`; none may be given up. */
function started(plan: DialPlan, now: number): Place[] {
  const { start, cancel } = plan.next(now);
  assert.deepEqual(cancel, []);
  return [...start];
}

test('a candidate for a sought ID is dialled at once, and once', () => {
  const plan = planFor(sought('a'));
  plan.offer(candidate(), 0);
  plan.offer(candidate(), 0);
  assert.deepEqual(started(plan, 0).map(addressOf), ['10.0.0.1:1000']);
  assert.deepEqual(started(plan, 0), []);
});

test('what is not sought, and oneself, are not dialled', () => {
  const plan = planFor(sought('a'));
  plan.offer(candidate({ id: id('b') }), 0);
  plan.offer(candidate({ peer: peer('5') }), 0);
  assert.deepEqual(started(plan, 60_000), []);
});

test('the peer with the higher ID leaves the first dial to the other', () => {
  const plan = planFor(sought('a'));
  plan.offer(candidate({ peer: peer('1') }), 0);
  const { start, wakeAt } = plan.next(0);
  assert.deepEqual(start, []);
  assert.equal(wakeAt, 500);
  assert.equal(started(plan, 500).length, 1);
});

test('a connected peer is not dialled, at any of its addresses', () => {
  const plan = planFor(sought('a'));
  plan.sessionOpened('club', peer('9'), 0);
  plan.offer(candidate({ host: '10.0.0.1' }), 0);
  plan.offer(candidate({ host: '10.0.0.2' }), 0);
  assert.deepEqual(started(plan, 1_000_000), []);
  plan.offer(candidate({ host: '10.0.0.3', peer: peer('8') }), 1_000_000);
  assert.deepEqual(started(plan, 1_000_000).map(addressOf), ['10.0.0.3:1000']);
});

test('a place given by hand is not dialled again once it turned out who is there', () => {
  const plan = planFor(sought('a'));
  plan.offer(candidate({ source: 'manual', peer: undefined }), 0);
  const [place] = started(plan, 0);
  assert.ok(place);
  plan.sessionOpened('club', peer('9'), 10);
  plan.settled(place, { kind: 'connected', peer: peer('9') }, 10);
  assert.deepEqual(started(plan, 1_000_000), []);
});

test('a session that had worked is followed by a dial at once, one that had not by a wait', () => {
  const plan = planFor(sought('a'));
  plan.offer(candidate(), 0);
  const [place] = started(plan, 0);
  assert.ok(place);
  plan.sessionOpened('club', peer('9'), 0);
  plan.settled(place, { kind: 'connected', peer: peer('9') }, 0);
  plan.sessionEnded('club', peer('9'), 60_000);
  assert.equal(started(plan, 60_200).length, 1);
  plan.settled(place, { kind: 'connected', peer: peer('9') }, 60_200);
  let at = 60_200;
  const waits: number[] = [];
  for (let turn = 0; turn < 12; turn++) {
    plan.sessionOpened('club', peer('9'), at);
    plan.sessionEnded('club', peer('9'), at + 1);
    const { wakeAt, start } = plan.next(at + 1);
    assert.deepEqual(start, []);
    assert.ok(wakeAt !== undefined);
    waits.push(wakeAt - at);
    assert.equal(started(plan, wakeAt).length, 1);
    plan.settled(place, { kind: 'connected', peer: peer('9') }, wakeAt);
    at = wakeAt;
  }
  assert.ok(waits[0]! < 5_000 && waits.at(-1)! > 100_000, `${waits}`);
});

test('of two sessions with a peer, the end of one changes nothing', () => {
  const plan = planFor(sought('a'));
  plan.sessionOpened('club', peer('9'), 0);
  plan.sessionOpened('club', peer('9'), 1);
  plan.sessionEnded('club', peer('9'), 2);
  plan.offer(candidate(), 3);
  assert.deepEqual(started(plan, 1_000_000), []);
});

test('failures wait longer and longer; a change of the network forgives them', () => {
  const plan = planFor(sought('a'));
  plan.offer(candidate({ source: 'manual' }), 0);
  let now = 0;
  let wait = 0;
  for (let turn = 0; turn < 12; turn++) {
    const [place] = started(plan, now);
    assert.ok(place, `turn ${turn}`);
    plan.settled(place, { kind: 'failed' }, now);
    const { wakeAt } = plan.next(now);
    assert.ok(wakeAt !== undefined && wakeAt - now >= wait);
    wait = wakeAt - now;
    now = wakeAt;
  }
  assert.ok(wait >= 150_000 && wait <= 300_000);
  const [place] = started(plan, now);
  assert.ok(place);
  plan.settled(place, { kind: 'failed' }, now);
  plan.networkChanged(now);
  assert.equal(started(plan, now + 500).length, 1);
});

test('a place that failed is tried when it is announced again', () => {
  const plan = planFor(sought('a'));
  plan.offer(candidate(), 0);
  for (const now of [0, 5_000, 10_000, 15_000, 20_000, 25_000]) {
    plan.offer(candidate({ seenAt: now }), now);
    const [place] = started(plan, now);
    assert.ok(place, `${now}`);
    plan.settled(place, { kind: 'failed' }, now);
  }
});

test('a refusal waits long, whatever is announced and however the network changes', () => {
  const plan = planFor(sought('a'));
  plan.offer(candidate(), 0);
  const [place] = started(plan, 0);
  assert.ok(place);
  plan.settled(place, { kind: 'refused' }, 0);
  plan.offer(candidate(), 60_000);
  plan.networkChanged(60_000);
  plan.sessionOpened('club', peer('9'), 60_000);
  plan.sessionEnded('club', peer('9'), 80_000);
  plan.offer(candidate(), 299_999);
  assert.deepEqual(started(plan, 299_999), []);
  plan.offer(candidate(), 300_000);
  assert.equal(started(plan, 300_000).length, 1);
});

test('a place that is ourselves is not dialled again, until the network changes', () => {
  const plan = planFor(sought('a'));
  const us = candidate({ source: 'manual', peer: undefined });
  plan.offer(us, 0);
  const [place] = started(plan, 0);
  assert.ok(place);
  plan.settled(place, { kind: 'self' }, 0);
  plan.offer(us, 10_000);
  assert.deepEqual(started(plan, 10_000_000), []);
  plan.networkChanged(10_000_000);
  plan.offer(us, 10_000_000);
  assert.equal(started(plan, 10_001_000).length, 1);
});

test('of two IDs at one address the preferred one is tried, the other once that was refused', () => {
  const plan = planFor(sought('a', 'club', 2), sought('b', 'club', 1));
  plan.offer(candidate({ id: id('b'), source: 'manual', peer: undefined }), 0);
  plan.offer(candidate({ id: id('a'), source: 'manual', peer: undefined }), 0);
  const [first, ...others] = started(plan, 0);
  assert.equal(first?.id, id('a'));
  assert.deepEqual(others, []);
  plan.settled(first, { kind: 'failed' }, 0);
  const [again] = started(plan, 5_000);
  assert.equal(again?.id, id('a'));
  plan.settled(again, { kind: 'refused' }, 5_000);
  assert.equal(started(plan, 5_000)[0]?.id, id('b'));
});

test('a second address of a peer is tried beside the first that does not answer, and given up when one works', () => {
  const plan = planFor(sought('a'));
  plan.offer(candidate({ host: '10.0.0.1', source: 'remembered' }), 0);
  plan.offer(candidate({ host: '10.0.0.2', source: 'remembered' }), 0);
  const [first] = started(plan, 0);
  assert.ok(first);
  const { start, wakeAt } = plan.next(0);
  assert.deepEqual(start, []);
  assert.equal(wakeAt, 500);
  const [second] = started(plan, 500);
  assert.ok(second);
  plan.sessionOpened('club', peer('9'), 600);
  plan.settled(second, { kind: 'connected', peer: peer('9') }, 600);
  assert.deepEqual(plan.next(600).cancel, []);
  assert.deepEqual(plan.next(2_600).cancel, [first]);
});

test('an ID that is no longer sought ends its dials', () => {
  const plan = planFor(sought('a'));
  plan.offer(candidate(), 0);
  const [place] = started(plan, 0);
  plan.seek([]);
  assert.deepEqual(plan.next(1).cancel, [place]);
});

test('what was good before comes before hearsay, and an announced member first of all', () => {
  const plan = new DialPlan(0, half, { ...DIAL_LIMITS, parallel: 1 });
  plan.seek([sought('a')]);
  const offers: [string, string, SourceName][] = [
    ['10.0.0.9', '7', 'lan'],
    ['10.0.0.2', '6', 'manual'],
    ['10.0.0.3', '8', 'remembered'],
    ['10.0.0.4', '8', 'lan'],
  ];
  for (const [host, letter, source] of offers) plan.offer(candidate({ host, peer: peer(letter), source }), 0);
  const order: string[] = [];
  for (let turn = 0; turn < offers.length; turn++) {
    const now = 1_000 * turn;
    const [place] = started(plan, now);
    assert.ok(place);
    order.push(place.address.host);
    plan.settled(place, { kind: 'refused' }, now);
  }
  assert.deepEqual(order, ['10.0.0.4', '10.0.0.3', '10.0.0.2', '10.0.0.9']);
});

test('a host that floods does not keep another one waiting', () => {
  const plan = planFor(sought('a'));
  for (let port = 1; port <= 5_000; port++) {
    plan.offer(candidate({ host: '10.0.0.66', port, peer: port.toString(16).padStart(32, '6') }), 0);
  }
  plan.offer(candidate({ host: '10.0.0.7' }), 0);
  const first = started(plan, 0).map(({ address }) => address.host);
  assert.ok(first.includes('10.0.0.7'));
  assert.ok(first.filter((host) => host === '10.0.0.66').length <= DIAL_LIMITS.parallelPerHost);
});
