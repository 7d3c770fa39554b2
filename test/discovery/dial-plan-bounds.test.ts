import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { DIAL_LIMITS, DialPlan } from '../../agent/discovery/dial-plan.ts';
import type { DialOutcome, Place } from '../../agent/discovery/place-table.ts';
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

/** Anything that can happen, in any order. */
type Happening =
  | { readonly kind: 'offer'; readonly candidate: Candidate }
  | { readonly kind: 'open' | 'end'; readonly club: string; readonly peer: string }
  | { readonly kind: 'network' }
  | { readonly kind: 'seek'; readonly which: readonly number[] }
  | { readonly kind: 'settle'; readonly index: number; readonly outcome: DialOutcome }
  | { readonly kind: 'pass'; readonly ms: number };

const letters = fc.constantFrom('1', '5', '9', 'b');
const anyPeer = letters.map(peer);
const IDS = [sought('a', 'one', 2), sought('b', 'one', 1), sought('c', 'two', 1)];
const outcome: fc.Arbitrary<DialOutcome> = fc.oneof(
  fc.record({ kind: fc.constant('connected' as const), peer: anyPeer }),
  fc.constantFrom<DialOutcome>({ kind: 'failed' }, { kind: 'refused' }, { kind: 'self' }),
);
const happening: fc.Arbitrary<Happening> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('offer' as const),
      candidate: fc.record({
        id: fc.constantFrom('a', 'b', 'c', 'd').map(id),
        address: fc.record({
          host: fc.integer({ min: 1, max: 6 }).map((last) => `10.0.0.${last}`),
          port: fc.integer({ min: 1, max: 40 }),
        }),
        peer: fc.option(anyPeer, { nil: undefined }),
        versions: fc.constant([1]),
        source: fc.constantFrom<SourceName>('lan', 'remembered', 'manual'),
        seenAt: fc.constant(0),
      }),
    }),
  },
  fc.record({
    kind: fc.constantFrom('open' as const, 'end' as const),
    club: fc.constantFrom('one', 'two'),
    peer: anyPeer,
  }),
  fc.constant<Happening>({ kind: 'network' }),
  fc.record({ kind: fc.constant('seek' as const), which: fc.subarray([0, 1, 2]) }),
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('settle' as const), index: fc.nat(), outcome }) },
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant('pass' as const), ms: fc.integer({ min: 0, max: 20_000 }) }),
  },
);

test('whatever happens, dials stay within their bounds and go only where somebody is sought', () => {
  fc.assert(
    fc.property(
      fc.array(happening, { maxLength: 200 }),
      fc.infiniteStream(fc.double({ min: 0, max: 0.999, noNaN: true })),
      (happenings, randoms) => {
        const plan = new DialPlan(0, () => randoms.next().value ?? 0.5);
        let now = 0;
        let wanted = IDS;
        plan.seek(wanted);
        const inFlight: Place[] = [];
        const open = new Map<string, number>();
        let dials = 0;
        let returned = 0;
        const dialsAt = new Map<string, number>();
        const returnedAt = new Map<string, number>();

        const decide = () => {
          const { start, cancel, wakeAt } = plan.next(now);
          for (const place of start) {
            const { host } = place.address;
            const self = wanted.find((each) => each.id === place.id);
            assert.ok(self !== undefined, 'dialled an ID that nobody seeks');
            assert.notEqual(place.peer, self.peer, 'dialled ourselves');
            assert.ok(!open.has(`${place.club} ${place.peer}`), 'dialled a peer that is connected');
            assert.ok(!inFlight.includes(place), 'dialled a place twice at a time');
            inFlight.push(place);
            dials += 1;
            dialsAt.set(host, (dialsAt.get(host) ?? 0) + 1);
            assert.ok(
              inFlight.filter((each) => each.address.host === host).length <= DIAL_LIMITS.parallelPerHost,
            );
            const { burst, perSecond } = DIAL_LIMITS.perHost;
            const allowed = burst + (perSecond * now) / 1000 + (returnedAt.get(host) ?? 0);
            assert.ok((dialsAt.get(host) ?? 0) <= allowed + 1e-6, 'too many dials to one host');
          }
          assert.ok(inFlight.length <= DIAL_LIMITS.parallel, 'too many dials at a time');
          const { burst, perSecond } = DIAL_LIMITS.overall;
          assert.ok(dials <= burst + (perSecond * now) / 1000 + returned + 1e-6, 'too many dials');
          for (const place of cancel) assert.ok(inFlight.includes(place));
          if (wakeAt !== undefined) assert.ok(wakeAt > now, 'would be asked again at once, for ever');
        };

        for (const each of happenings) {
          switch (each.kind) {
            case 'offer':
              plan.offer({ ...each.candidate, seenAt: now }, now);
              break;
            case 'open': {
              const key = `${each.club} ${each.peer}`;
              plan.sessionOpened(each.club, each.peer, now);
              open.set(key, (open.get(key) ?? 0) + 1);
              break;
            }
            case 'end': {
              const key = `${each.club} ${each.peer}`;
              const count = open.get(key);
              plan.sessionEnded(each.club, each.peer, now);
              if (count === undefined) break;
              if (count === 1) open.delete(key);
              else open.set(key, count - 1);
              break;
            }
            case 'network':
              plan.networkChanged(now);
              break;
            case 'seek':
              wanted = each.which.flatMap((index) => IDS[index] ?? []);
              plan.seek(wanted);
              break;
            case 'settle': {
              const [place] = inFlight.length === 0 ? [] : inFlight.splice(each.index % inFlight.length, 1);
              if (place === undefined) break;
              if (each.outcome.kind === 'connected') {
                returned += 1;
                returnedAt.set(place.address.host, (returnedAt.get(place.address.host) ?? 0) + 1);
              }
              plan.settled(place, each.outcome, now);
              break;
            }
            case 'pass':
              now += each.ms;
              break;
          }
          decide();
        }
      },
    ),
    { numRuns: 200 },
  );
});

test('every candidate gets its turn in the end, if all dials fail', () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.tuple(fc.integer({ min: 1, max: 30 }), fc.integer({ min: 1, max: 4 })), {
        maxLength: 60,
        selector: ([host, port]) => `${host}:${port}`,
      }),
      (addresses) => {
        const plan = new DialPlan(0, half);
        plan.seek([sought('a')]);
        for (const [host, port] of addresses) {
          plan.offer(candidate({ host: `10.0.0.${host}`, port, peer: undefined }), 0);
        }
        const tried = new Set<string>();
        let now = 0;
        for (let turn = 0; turn < 2_000 && tried.size < addresses.length; turn++) {
          const { start, wakeAt } = plan.next(now);
          for (const place of start) {
            tried.add(addressOf(place));
            plan.settled(place, { kind: 'failed' }, now);
          }
          if (start.length > 0) continue;
          assert.ok(wakeAt !== undefined && wakeAt > now);
          now = wakeAt;
        }
        assert.equal(tried.size, addresses.length);
      },
    ),
    { numRuns: 50 },
  );
});
