import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatTimestamp } from '../../agent/base/timestamp.ts';
import { stamp } from '../../agent/database/local-change.ts';
import {
  type ConflictPolicy,
  compareForKey,
  conflictCopy,
  displacement,
  receive,
} from '../../agent/database/merge.ts';
import { compareVersions, type Known, type Version } from '../../agent/database/record.ts';
import { compareClocks, isBefore, type VectorClock } from '../../agent/database/vector-clock.ts';

const PEERS = ['a', 'b', 'c', 'd'].map((letter) => letter.repeat(32));
const UUID = '0'.repeat(32);

const policy: ConflictPolicy = {
  isConflictWorthy: () => true,
  conflictKey: (key, mark) => `${key}.${mark}`,
};

function version(fields: Partial<Version> = {}): Version {
  return {
    uuid: UUID,
    key: '/file',
    value: 'contents',
    deleted: false,
    lastUpdatedBy: PEERS[0]!,
    lastUpdatedRev: 1n,
    updateTime: '2026-01-01T00:00:00Z',
    vectorClock: new Map([[fields.lastUpdatedBy ?? PEERS[0]!, 1n]]),
    ...fields,
  };
}

/** One peer's knowledge of one record, by the pure rules alone. */
class Replica {
  known: Known | undefined;
  readonly lost: Version[] = [];

  receive(incoming: Version): void {
    const reception = receive(this.known, incoming);
    if (reception.kind === 'merged' && reception.loser !== undefined) this.lost.push(reception.loser);
    const isKept =
      reception.kind === 'ignored' || (reception.kind === 'merged' && reception.winner === 'current');
    const current = isKept ? this.known?.version : incoming;
    assert.ok(current !== undefined);
    this.known = { version: current, seen: reception.seen };
  }
}

interface Step {
  readonly peer: number;
  readonly action: 'edit' | 'delete' | 'rename' | 'deliver';
  readonly from: number;
  /** Nanoseconds that this peer's clock is wrong by. */
  readonly skew: number;
}

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.record({
    peer: fc.nat({ max: PEERS.length - 1 }),
    action: fc.constantFrom('edit', 'edit', 'delete', 'rename', 'deliver', 'deliver'),
    from: fc.nat({ max: PEERS.length - 1 }),
    skew: fc.constantFrom(0, 0, -1_000, 1_000, 5),
  }),
  { minLength: 1, maxLength: 25 },
);

/** All versions that came into being while some peers edited and others' states were delivered, now and then. */
function history(plan: readonly Step[]): Version[] {
  const replicas = PEERS.map(() => new Replica());
  const versions: Version[] = [];
  for (const [i, { peer, action, from, skew }] of plan.entries()) {
    const replica = replicas[peer]!;
    if (action === 'deliver') {
      const sent = replicas[from]?.known?.version;
      if (sent !== undefined) replica.receive(sent);
      continue;
    }
    const before = replica.known?.version;
    if (before === undefined && action !== 'edit') continue;
    const made = version({
      key: action === 'rename' ? `/file ${i}` : (before?.key ?? '/file'),
      value: action === 'edit' ? `contents ${i}` : (before?.value ?? null),
      deleted: action === 'delete',
      lastUpdatedRev: BigInt(versions.length + 1),
      ...stamp(PEERS[peer]!, BigInt(10_000 + 10 * i + skew), replica.known, undefined),
    });
    replica.receive(made);
    versions.push(made);
  }
  return versions;
}

const histories = steps.map(history).filter((versions) => versions.length > 0);

/** The same versions in another order, and some of them again. */
const deliveries = histories.chain((versions) =>
  fc.record({
    versions: fc.constant(versions),
    orders: fc.array(
      fc.shuffledSubarray([...versions, ...versions], { minLength: versions.length }).map((order) => {
        const missing = versions.filter((each) => !order.includes(each));
        return [...order, ...missing];
      }),
      { minLength: 2, maxLength: 4 },
    ),
  }),
);

test('whatever the order, and however often, all peers come to the same current version', () => {
  fc.assert(
    fc.property(deliveries, ({ versions, orders }) => {
      const largest = versions.toSorted(compareVersions).at(-1);
      for (const order of orders) {
        const replica = new Replica();
        for (const each of order) replica.receive(each);
        assert.equal(replica.known?.version, largest, 'the largest version is the current one');
        for (const each of versions) assert.ok(isBefore(each.vectorClock, replica.known?.seen ?? new Map()));
      }
    }),
    { numRuns: 400 },
  );
});

test('every version is current, lost and found, or was overwritten by somebody who had seen it', () => {
  fc.assert(
    fc.property(deliveries, ({ versions, orders }) => {
      for (const order of orders) {
        const replica = new Replica();
        for (const each of order) replica.receive(each);
        for (const each of versions) {
          if (each === replica.known?.version || each.deleted) continue;
          const wasSeen = versions.some(
            (other) => compareClocks(each.vectorClock, other.vectorClock) === 'before',
          );
          const isSame = (other: Version) => other.key === each.key && other.value === each.value;
          const current = replica.known?.version;
          const isKept = replica.lost.some(isSame) || (current !== undefined && isSame(current));
          assert.ok(wasSeen || isKept, `revision ${each.lastUpdatedRev} is gone`);
        }
      }
    }),
    { numRuns: 400 },
  );
});

test('only versions that a concurrent one has won against are lost', () => {
  fc.assert(
    fc.property(deliveries, ({ versions, orders }) => {
      for (const order of orders) {
        const replica = new Replica();
        for (const each of order) replica.receive(each);
        for (const loser of replica.lost) {
          const rival = versions.find(
            (other) =>
              compareClocks(other.vectorClock, loser.vectorClock) === 'concurrent' &&
              compareVersions(other, loser) > 0,
          );
          assert.ok(rival !== undefined, 'a false conflict');
        }
      }
    }),
    { numRuns: 400 },
  );
});

test('a peer that edits what it knows never conflicts with what it knew', () => {
  fc.assert(
    fc.property(steps, (plan) => {
      // All peers always get everything before anybody edits.
      const versions = history(
        plan.flatMap((step) => [
          ...PEERS.map((_, from): Step => ({ ...step, action: 'deliver', from })),
          step,
        ]),
      );
      const replica = new Replica();
      for (const each of versions) replica.receive(each);
      assert.deepEqual(replica.lost, []);
    }),
  );
});

test('both changes of a conflict made offline survive: the later is current, the other one lost and found', () => {
  const base = version();
  const [a, b] = PEERS;
  const mine = version({
    value: 'mine',
    lastUpdatedBy: a!,
    lastUpdatedRev: 2n,
    updateTime: '2026-01-02T00:00:00Z',
    vectorClock: new Map([[a!, 2n]]),
  });
  const theirs = version({
    value: 'theirs',
    lastUpdatedBy: b!,
    lastUpdatedRev: 1n,
    updateTime: '2026-01-03T00:00:00Z',
    vectorClock: new Map([
      [a!, 1n],
      [b!, 1n],
    ]),
  });
  for (const order of [
    [base, mine, theirs],
    [base, theirs, mine],
    [theirs, mine, base],
  ]) {
    const replica = new Replica();
    for (const each of order) replica.receive(each);
    assert.equal(replica.known?.version.value, 'theirs');
    assert.deepEqual(
      replica.lost.map(({ value }) => value),
      ['mine'],
    );
  }
});

test('times are compared as times, not as texts', () => {
  const early = version({ updateTime: '2026-01-01T00:00:00.1Z', vectorClock: new Map([['x', 1n]]) });
  const late = version({ updateTime: '2026-01-01T00:00:00.11Z', vectorClock: new Map([['y', 1n]]) });
  assert.ok(compareVersions(early, late) < 0);
  const whole = version({ updateTime: '2026-01-01T00:00:00.000Z' });
  assert.equal(compareVersions(whole, version({ updateTime: '2026-01-01T00:00:00Z' })), 0);
});

test('of one peer ID used by two machines, neither loses its change', () => {
  const here = version({ value: 'here' });
  const there = version({ value: 'there' });
  const results = [
    [here, there],
    [there, here],
  ].map((order) => {
    const replica = new Replica();
    for (const each of order) replica.receive(each);
    return [replica.known?.version.value, replica.lost.map(({ value }) => value)];
  });
  assert.deepEqual(results[0], results[1]);
  assert.deepEqual(results[0], ['there', ['here']]);
});

test('a peer that ticks when it passes records on, as the draft has it, causes no false conflict', () => {
  const [a, b, foreign] = PEERS;
  // The foreign peer received a's change and passed it on with clocks that had grown.
  const grown = version({
    vectorClock: new Map([
      [a!, 1n],
      [foreign!, 4n],
    ]),
  });
  const edit = version({
    value: 'edited',
    lastUpdatedBy: b!,
    updateTime: '2026-01-02T00:00:00Z',
    vectorClock: new Map([
      [a!, 1n],
      [b!, 1n],
    ]),
  });
  for (const order of [
    [grown, edit],
    [edit, grown],
    [version(), grown, edit],
  ]) {
    const replica = new Replica();
    for (const each of order) replica.receive(each);
    assert.equal(replica.known?.version.value, 'edited');
    assert.deepEqual(replica.lost, []);
  }
});

test('a deletion obeys the same order as any change', () => {
  const edit = version({
    value: 'edited',
    updateTime: '2026-01-02T00:00:00Z',
    vectorClock: new Map([['x', 1n]]),
  });
  for (const [time, current, lost] of [
    ['2026-01-03T00:00:00Z', true, ['edited']],
    ['2026-01-01T12:00:00Z', false, []],
  ] as const) {
    const deletion = version({
      deleted: true,
      lastUpdatedBy: PEERS[1]!,
      updateTime: time,
      vectorClock: new Map([[PEERS[1]!, 1n]]),
    });
    for (const order of [
      [edit, deletion],
      [deletion, edit],
    ]) {
      const replica = new Replica();
      for (const each of order) replica.receive(each);
      assert.equal(replica.known?.version.deleted, current);
      assert.deepEqual(
        replica.lost.map(({ value }) => value),
        lost,
      );
    }
  }
});

test('every peer derives the same copy, and whoever changes it has seen the copies of all', () => {
  const loser = version({ value: { size: 3 }, key: '/song.mid' });
  const copy = conflictCopy(loser, policy);
  assert.deepEqual(copy, {
    uuid: '3d5300eb5f481dd8f2cc5cba3e325639',
    key: '/song.mid.zqe3uwbm',
    value: Object.assign(Object.create(null), { size: 3, conflict_source: UUID }),
    deleted: false,
    updateTime: loser.updateTime,
    vectorClock: new Map([[copy.uuid, 1n]]),
  });
  const mine: Version = { ...copy, lastUpdatedBy: PEERS[0]!, lastUpdatedRev: 7n };
  const theirs: Version = { ...copy, lastUpdatedBy: PEERS[1]!, lastUpdatedRev: 3n };
  const knownCopy: Known = { version: mine, seen: mine.vectorClock };
  assert.equal(receive(knownCopy, theirs).kind, 'replaced', 'the same copy by another maker');
  const deleted: Version = {
    ...theirs,
    deleted: true,
    ...stamp(PEERS[1]!, 0n, { version: theirs, seen: theirs.vectorClock }, undefined),
  };
  assert.equal(receive(knownCopy, deleted).kind, 'replaced');
  assert.equal(receive({ version: deleted, seen: deleted.vectorClock }, mine).kind, 'ignored');
  // A copy that loses in its turn is one loser, whoever made it.
  assert.equal(conflictCopy(mine, policy).uuid, conflictCopy(theirs, policy).uuid);
  assert.notEqual(
    conflictCopy(loser, policy).uuid,
    conflictCopy(version({ lastUpdatedRev: 2n }), policy).uuid,
  );
});

test('what gives way to another record of its key comes back if it was changed meanwhile', () => {
  const [a, b] = PEERS;
  const loser = version();
  const gone: Version = { ...displacement(loser), lastUpdatedBy: b!, lastUpdatedRev: 1n };
  assert.equal(receive({ version: loser, seen: loser.vectorClock }, gone).kind, 'replaced');
  assert.ok(compareVersions(gone, loser) > 0);
  const known: Known = { version: loser, seen: loser.vectorClock };
  const edited = version({
    value: 'edited meanwhile',
    lastUpdatedRev: 2n,
    ...stamp(a!, 2n ** 61n, known, undefined),
  });
  for (const order of [
    [gone, edited],
    [edited, gone],
  ]) {
    const replica = new Replica();
    for (const each of order) replica.receive(each);
    assert.equal(replica.known?.version.value, 'edited meanwhile');
    assert.deepEqual(replica.lost, []);
  }
});

test('the same deletion by another maker wins where its twin has lost already', () => {
  const [a, b, c] = PEERS;
  const loser = version();
  const by = (peer: string): Version => ({
    ...displacement(loser),
    lastUpdatedBy: peer,
    lastUpdatedRev: 1n,
  });
  // Somebody changed it in the very nanosecond of the displacement, and is between both makers in the order.
  const edited = version({
    value: 'edited',
    lastUpdatedBy: b!,
    updateTime: by(a!).updateTime,
    vectorClock: new Map([...loser.vectorClock, [b!, 1n]]),
  });
  const results = fc.sample(fc.shuffledSubarray([loser, by(a!), edited, by(c!)], { minLength: 4 }), 24);
  for (const order of results) {
    const replica = new Replica();
    for (const each of order) replica.receive(each);
    assert.equal(replica.known?.version.lastUpdatedBy, c);
    assert.deepEqual(
      replica.lost.map(({ value }) => value),
      ['edited'],
    );
  }
});

test('of two records with one key the order is total', () => {
  const one = version();
  const other = version({ uuid: '1'.repeat(32) });
  assert.ok(compareForKey(one, other) < 0);
  assert.ok(compareForKey(other, one) > 0);
});

test('a local change is later than what it replaces, whatever the clock says', () => {
  const known = (updateTime: string): Known => ({
    version: version({ updateTime }),
    seen: version().vectorClock,
  });
  const year2026 = 1_767_225_600_000_000_000n;
  const timeOf = (now: bigint, before: string) => stamp(PEERS[1]!, now, known(before), undefined).updateTime;
  assert.equal(timeOf(year2026 + 5n, '2026-01-01T00:00:00Z'), '2026-01-01T00:00:00.000000005Z');
  assert.equal(timeOf(0n, '2026-01-01T00:00:00Z'), '2026-01-01T00:00:00.000000001Z', 'no clock at all');
  assert.equal(timeOf(year2026, '2099-12-31T23:59:59.999999999Z'), '2100-01-01T00:00:00Z', 'a wild clock');
  const last = '9999-12-31T23:59:59.999999999Z';
  assert.equal(timeOf(year2026, last), last, 'no later time can be written');
  const atTheEnd = version({ value: 'after', ...stamp(PEERS[1]!, year2026, known(last), undefined) });
  assert.equal(receive(known(last), atTheEnd).kind, 'replaced', 'and still the record can be changed');
  assert.equal(stamp(PEERS[1]!, -5n, undefined, undefined).updateTime, formatTimestamp(-5n));
});

test('a local change ticks our own component, or another one of ours if that would say too much', () => {
  const [self] = PEERS;
  const seen: VectorClock = new Map([[self!, 3n]]);
  const known: Known = { version: version({ vectorClock: seen }), seen };
  assert.deepEqual(stamp(self!, 0n, known, undefined).vectorClock, new Map([[self!, 4n]]));
  // The writer has not seen our third change: it is concurrent to it.
  const late = stamp(self!, 0n, known, new Map([[self!, 2n]]));
  assert.notEqual(late.lastUpdatedBy, self);
  assert.equal(compareClocks(late.vectorClock, seen), 'concurrent');
  assert.equal(
    stamp(self!, 0n, known, new Map([[self!, 2n]])).lastUpdatedBy,
    late.lastUpdatedBy,
    'always the same',
  );
  // A hostile peer has set our component to the last number.
  const full: VectorClock = new Map([[self!, 2n ** 63n - 1n]]);
  const beyond = stamp(self!, 0n, { version: version({ vectorClock: full }), seen: full }, undefined);
  assert.equal(compareClocks(beyond.vectorClock, full), 'after');
  assert.notEqual(beyond.lastUpdatedBy, self);
});
