import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { MAX_RANGE } from '../../agent/directory/messages.ts';
import type { Likelihood } from '../../agent/directory/presence.ts';
import { type Request, SCHEDULE_LIMITS, Schedule } from '../../agent/directory/schedule.ts';

const A = 'aa'.repeat(32);
const B = 'bb'.repeat(32);
const MIB = 1_048_576;

function always(likelihood: Likelihood) {
  return () => likelihood;
}

/** Answers every request at once, until nothing more is asked. Returns what was asked. */
function answerAll(schedule: Schedule, now: number): Request[] {
  const all: Request[] = [];
  for (;;) {
    const requests = schedule.next(now);
    if (requests.length === 0) return all;
    for (const { source, sha256, offset, length } of requests) {
      assert.equal(schedule.begin(source, sha256, offset, length, now), 'useful');
      if (schedule.delivered(source, sha256, offset, length, now) === 'complete') schedule.drop(sha256);
    }
    all.push(...requests);
  }
}

function covered(requests: readonly Request[], sha256: string): number {
  return requests.filter((r) => r.sha256 === sha256).reduce((sum, { length }) => sum + length, 0);
}

describe('asking for contents', () => {
  it('covers every byte exactly once, in ranges that grow while the peer answers promptly', () => {
    const schedule = new Schedule(always('ask'));
    schedule.addSource(1, 0);
    schedule.want({ sha256: A, size: 100 * MIB + 1 });
    const requests = answerAll(schedule, 0);
    let position = 0;
    for (const { offset, length } of requests) {
      assert.equal(offset, position);
      position += length;
    }
    assert.equal(position, 100 * MIB + 1);
    assert.ok((requests[0]?.length ?? 0) <= SCHEDULE_LIMITS.firstBytes / 4);
    assert.ok(requests.some(({ length }) => length === MAX_RANGE));
  });

  it('spreads one content over several peers', () => {
    const schedule = new Schedule(always('ask'));
    for (const id of [1, 2, 3]) schedule.addSource(id, 0);
    schedule.want({ sha256: A, size: 100 * MIB });
    const requests = answerAll(schedule, 0);
    assert.deepEqual(new Set(requests.map(({ source }) => source)), new Set([1, 2, 3]));
    assert.equal(covered(requests, A), 100 * MIB);
  });

  it('knows of answers under way whether the rest is needed', () => {
    const schedule = new Schedule(always('ask'));
    schedule.addSource(1, 0);
    schedule.want({ sha256: A, size: 400_000 });
    const [first] = schedule.next(0);
    assert.ok(first);
    assert.equal(schedule.isOfUse(1, A, 0, first.length), true);
    assert.equal(schedule.isOfUse(1, A, 1, first.length), false, 'it was never asked');
    schedule.addSource(2, 0);
    const [second] = schedule.tick(SCHEDULE_LIMITS.secondOpinion).requests;
    assert.equal(second?.source, 2);
    schedule.begin(1, A, 0, first.length, 0);
    assert.equal(schedule.delivered(2, A, 0, first.length, 0), 'complete');
    assert.equal(schedule.isOfUse(1, A, 0, first.length), false, 'another was faster');
    schedule.drop(A);
    schedule.want({ sha256: A, size: 400_000 });
    assert.equal(schedule.isOfUse(1, A, 0, first.length), false, 'also when it is wanted again');
    schedule.removeSource(1);
    assert.equal(schedule.isOfUse(1, A, 0, first.length), false, 'its session is over');
  });

  it('keeps many small requests under way, but no more than the limits', () => {
    const schedule = new Schedule(always('ask'));
    schedule.addSource(1, 0);
    for (let i = 0; i < 1_000; i++) schedule.want({ sha256: i.toString(16).padStart(64, '0'), size: 4_096 });
    assert.equal(schedule.next(0).length, SCHEDULE_LIMITS.requests);
    assert.deepEqual(schedule.next(0), []);
  });

  it('lets small contents pass a large one, and the large one advance', () => {
    const schedule = new Schedule(always('ask'));
    schedule.addSource(1, 0);
    schedule.want({ sha256: A, size: 1_000 * MIB });
    for (let i = 0; i < 100; i++) schedule.want({ sha256: i.toString(16).padStart(64, '0'), size: 100 });
    const requests = schedule.next(0);
    assert.ok(requests.slice(0, 64).every(({ sha256 }) => sha256 !== A));
    assert.equal(requests[64]?.sha256, A);
  });

  it('asks only for what an interrupted transfer had left open', () => {
    const schedule = new Schedule(always('ask'));
    schedule.addSource(1, 0);
    schedule.want({
      sha256: A,
      size: 1_000,
      have: [
        { start: 100, end: 200 },
        { start: 0, end: 50 },
        { start: 900, end: 1_000 },
      ],
    });
    assert.equal(schedule.progress(A), 250);
    assert.deepEqual(
      answerAll(schedule, 0).map(({ offset, length }) => [offset, length]),
      [
        [50, 50],
        [200, 700],
      ],
    );
  });

  it('shrinks what a slow peer is given', () => {
    const schedule = new Schedule(always('ask'));
    schedule.addSource(1, 0);
    schedule.want({ sha256: A, size: 1_000 * MIB });
    let now = 0;
    let last: Request[] = [];
    for (let round = 0; round < 50; round++) {
      now += 20_000;
      schedule.heard(1, now);
      for (const { source, sha256, offset, length } of last)
        schedule.delivered(source, sha256, offset, length, now);
      last = schedule.next(now);
    }
    const underWay = last.reduce((sum, { length }) => sum + length, 0);
    assert.ok(underWay <= SCHEDULE_LIMITS.leastBytes + 65_536, `${underWay} bytes under way`);
  });
});

describe('a peer that does not deliver', () => {
  it('is not asked again for what it refused; another one is', () => {
    const schedule = new Schedule(always('ask'));
    schedule.addSource(1, 0);
    schedule.want({ sha256: A, size: 10 });
    assert.equal(schedule.next(0).length, 1);
    assert.equal(schedule.refused(1, A, undefined, 0), 'useful');
    assert.deepEqual(schedule.next(0), []);
    schedule.addSource(2, 0);
    assert.deepEqual(schedule.next(0), [{ source: 2, sha256: A, offset: 0, length: 10 }]);
  });

  it('leads to giving the content back, for later, when nobody else has it', () => {
    const schedule = new Schedule(always('ask'));
    schedule.want({ sha256: A, size: 10 });
    assert.deepEqual(schedule.tick(0).exhausted, [], 'nobody was asked yet');
    schedule.addSource(1, 0);
    schedule.next(0);
    assert.deepEqual(schedule.tick(0).exhausted, []);
    schedule.refused(1, A, undefined, 0);
    assert.deepEqual(schedule.tick(0).exhausted, [{ sha256: A, size: 10 }]);
    assert.equal(schedule.has(A), false);
  });

  it('is asked again once it announces the content', () => {
    const schedule = new Schedule(always('ask'));
    schedule.addSource(1, 0);
    schedule.want({ sha256: A, size: 10 });
    schedule.next(0);
    schedule.refused(1, A, undefined, 0);
    schedule.reconsider(1, A);
    assert.equal(schedule.next(0).length, 1);
  });

  it('loses its work to others when it vanishes', () => {
    const schedule = new Schedule(always('ask'));
    schedule.addSource(1, 0);
    schedule.want({ sha256: A, size: 10 * MIB });
    const lost = schedule.next(0);
    assert.ok(lost.length > 0);
    schedule.removeSource(1);
    schedule.addSource(2, 0);
    assert.equal(covered(answerAll(schedule, 0), A), 10 * MIB);
  });

  it('loses its work when it falls silent, and its late answers are dropped, not taken for unasked', () => {
    const schedule = new Schedule(always('ask'));
    schedule.addSource(1, 0);
    schedule.want({ sha256: A, size: 10 });
    schedule.next(0);
    schedule.addSource(2, 0);
    const { requests } = schedule.tick(SCHEDULE_LIMITS.stalled + 1);
    assert.deepEqual(requests, [{ source: 2, sha256: A, offset: 0, length: 10 }]);
    assert.equal(schedule.begin(1, A, 0, 10, 31_000), 'late');
    assert.equal(schedule.delivered(1, A, 0, 10, 31_000), 'late');
    assert.equal(schedule.begin(1, A, 0, 10, 31_000), 'unasked');
  });

  it('gets company from an idle peer when it is slow', () => {
    const schedule = new Schedule(always('ask'));
    schedule.addSource(1, 0);
    schedule.want({ sha256: A, size: 10 });
    schedule.next(0);
    schedule.addSource(2, 0);
    assert.deepEqual(schedule.tick(1_000).requests, []);
    assert.deepEqual(schedule.tick(SCHEDULE_LIMITS.secondOpinion).requests, [
      { source: 2, sha256: A, offset: 0, length: 10 },
    ]);
    assert.equal(schedule.delivered(2, A, 0, 10, 6_000), 'complete');
    assert.equal(schedule.begin(1, A, 0, 10, 7_000), 'late');
  });

  it('is blamed for a wrong hash when it was alone, and nobody is while there were several', () => {
    const schedule = new Schedule(always('ask'));
    schedule.addSource(1, 0);
    schedule.addSource(2, 0);
    schedule.want({ sha256: A, size: 8 * MIB });
    const first = schedule.next(0);
    assert.equal(new Set(first.map(({ source }) => source)).size, 2);
    for (;;) {
      for (const { source, offset, length } of [...first.splice(0), ...schedule.next(0)]) {
        schedule.begin(source, A, offset, length, 0);
        schedule.delivered(source, A, offset, length, 0);
      }
      if (schedule.progress(A) === 8 * MIB) break;
    }
    assert.equal(schedule.mismatch(A), undefined);
    // Now one of them delivers everything alone.
    const alone = new Set<number>();
    while (schedule.progress(A) < 8 * MIB) {
      for (const { source, offset, length } of schedule.next(0)) {
        alone.add(source);
        schedule.begin(source, A, offset, length, 0);
        schedule.delivered(source, A, offset, length, 0);
      }
    }
    assert.equal(alone.size, 1);
    const culprit = schedule.mismatch(A);
    assert.ok(culprit !== undefined && alone.has(culprit));
    assert.ok(schedule.next(0).every(({ source }) => source !== culprit));
  });

  it('is not blamed for what an earlier process had received', () => {
    const schedule = new Schedule(always('ask'));
    schedule.addSource(1, 0);
    schedule.want({ sha256: A, size: 10, have: [{ start: 0, end: 5 }] });
    schedule.next(0);
    schedule.begin(1, A, 5, 5, 0);
    assert.equal(schedule.delivered(1, A, 5, 5, 0), 'complete');
    assert.equal(schedule.mismatch(A), undefined);
    assert.deepEqual(schedule.next(0), [{ source: 1, sha256: A, offset: 0, length: 10 }]);
  });
});

describe('what peers say that they have', () => {
  it('decides who is asked first; a denial counts only while somebody else is likely', () => {
    const likely = new Map<number, Likelihood>([
      [1, 'unlikely'],
      [2, 'ask'],
    ]);
    const schedule = new Schedule((source) => likely.get(source) ?? 'never');
    schedule.addSource(1, 0);
    schedule.addSource(2, 0);
    schedule.want({ sha256: A, size: 10 });
    assert.deepEqual(
      schedule.next(0).map(({ source }) => source),
      [2],
    );
    schedule.refused(2, A, undefined, 0);
    assert.deepEqual(
      schedule.next(0).map(({ source }) => source),
      [1],
    );
  });

  it('is obeyed when it is nothing', () => {
    const schedule = new Schedule(always('never'));
    schedule.addSource(1, 0);
    schedule.want({ sha256: B, size: 10 });
    assert.deepEqual(schedule.next(0), []);
    assert.deepEqual(schedule.tick(0).exhausted, [{ sha256: B, size: 10 }]);
  });
});

/** One simulated peer. */
interface Peer {
  readonly behaviour: 'honest' | 'liar' | 'silent' | 'refuses' | 'short' | 'vanishes';
  /** Milliseconds for an answer, plus milliseconds for each 100 KB. */
  readonly latency: number;
  readonly slowness: number;
  /** Which contents it has, of content number i: bit i. */
  readonly has: number;
}

describe('with simulated peers that lie, are slow, fall silent or vanish', () => {
  const peer: fc.Arbitrary<Peer> = fc.record({
    behaviour: fc.constantFrom('honest', 'honest', 'liar', 'silent', 'refuses', 'short', 'vanishes'),
    latency: fc.integer({ min: 0, max: 500 }),
    slowness: fc.integer({ min: 0, max: 300 }),
    has: fc.nat({ max: 255 }),
  });
  const size = fc.oneof(fc.integer({ min: 1, max: 10_000 }), fc.integer({ min: 1, max: 6 * MIB }));

  it('what some honest peer has arrives whole, no honest peer is blamed, and the limits hold', () => {
    fc.assert(
      fc.property(
        fc.array(peer, { minLength: 1, maxLength: 5 }),
        fc.array(size, { minLength: 1, maxLength: 8 }),
        simulate,
      ),
      { numRuns: 200 },
    );
  });
});

function simulate(peers: readonly Peer[], sizes: readonly number[]): void {
  const schedule = new Schedule(always('ask'));
  const contents = sizes.map((size, i) => ({ sha256: `${i}`.padStart(64, '0'), size }));
  const index = new Map(contents.map(({ sha256 }, i) => [sha256, i]));
  /** Which of a content's ranges came from liars. */
  const tainted = new Map<string, Set<number>>();
  const placed = new Set<string>();
  const blamed = new Set<number>();
  const underWay = new Map<number, number>();
  const gone = new Set<number>();
  const busyUntil = new Map<number, number>();
  const events: { at: number; act: (now: number) => void }[] = [];

  const issue = (requests: readonly Request[], now: number) => {
    for (const request of requests) {
      const { source, sha256, offset, length } = request;
      const behaviour = peers[source]!;
      assert.ok(length >= 1 && length <= MAX_RANGE);
      assert.ok(offset >= 0 && offset + length <= contents[index.get(sha256)!]!.size);
      underWay.set(source, (underWay.get(source) ?? 0) + 1);
      assert.ok((underWay.get(source) ?? 0) <= SCHEDULE_LIMITS.requests);
      const starts = Math.max(now, busyUntil.get(source) ?? 0);
      const done = starts + behaviour.latency + (behaviour.slowness * length) / 100_000;
      busyUntil.set(source, done);
      if (behaviour.behaviour !== 'silent') events.push({ at: done, act: (at) => answer(request, at) });
    }
  };
  const answer = ({ source, sha256, offset, length }: Request, now: number) => {
    if (gone.has(source)) return;
    underWay.set(source, (underWay.get(source) ?? 0) - 1);
    const { behaviour, has } = peers[source]!;
    if (behaviour === 'vanishes') {
      gone.add(source);
      schedule.removeSource(source);
      return;
    }
    const present = (has & (1 << index.get(sha256)!)) !== 0;
    if (behaviour === 'refuses' || !present) {
      assert.notEqual(schedule.refused(source, sha256, undefined, now), 'unasked');
      return;
    }
    const reception = schedule.begin(source, sha256, offset, length, now);
    assert.notEqual(reception, 'unasked');
    if (behaviour === 'short') {
      schedule.refused(source, sha256, { start: offset, end: offset + length }, now);
      return;
    }
    const taint = tainted.get(sha256) ?? new Set();
    tainted.set(sha256, taint);
    const outcome = schedule.delivered(source, sha256, offset, length, now);
    if (outcome === 'late') return;
    if (behaviour === 'liar') taint.add(offset);
    else taint.delete(offset);
    if (outcome === 'part') return;
    if (taint.size === 0) {
      assert.equal(schedule.progress(sha256), contents[index.get(sha256)!]!.size);
      placed.add(sha256);
      schedule.drop(sha256);
      return;
    }
    taint.clear();
    const culprit = schedule.mismatch(sha256);
    if (culprit !== undefined) blamed.add(culprit);
  };

  for (let id = 0; id < peers.length; id++) schedule.addSource(id, 0);
  for (const content of contents) schedule.want(content);
  const waiting = new Set<string>();
  // Half an hour is enough for the slowest of these peers to deliver everything alone, several times.
  for (let now = 0; now < 1_800_000 && placed.size + waiting.size < contents.length; ) {
    const { requests, exhausted } = schedule.tick(now);
    issue(requests, now);
    for (const { sha256 } of exhausted) waiting.add(sha256);
    const until = now + 1_000;
    for (;;) {
      events.sort((a, b) => a.at - b.at);
      const event = events[0];
      if (event === undefined || event.at > until) break;
      events.shift();
      event.act(event.at);
      issue(schedule.next(event.at), event.at);
    }
    now = until;
  }
  for (const { sha256 } of contents) {
    const bit = 1 << index.get(sha256)!;
    const available = peers.some(({ behaviour, has }) => behaviour === 'honest' && (has & bit) !== 0);
    if (available) assert.ok(placed.has(sha256), `content ${index.get(sha256)} did not arrive`);
    else assert.ok(!placed.has(sha256));
  }
  for (const id of blamed) assert.equal(peers[id]?.behaviour, 'liar');
}

describe('limits of what is asked', () => {
  it('asks only while it may, and for pieces of the length that it may', () => {
    let left = 3;
    const allowance = { mayAsk: () => left-- > 0, piece: 32_768 };
    const schedule = new Schedule(always('ask'), SCHEDULE_LIMITS, allowance);
    schedule.addSource(1, 0);
    schedule.want({ sha256: B, size: 60_000 });
    schedule.want({ sha256: A, size: MIB });
    const lengths = schedule.next(0).map(({ length }) => length);
    assert.deepEqual(lengths, [60_000, 32_768, 32_768], 'small contents come whole');
    assert.ok(schedule.underWay >= 125_536);
    assert.deepEqual(schedule.next(0), []);
    left = 1;
    assert.equal(schedule.next(0).length, 1, 'nothing was forgotten meanwhile');
  });

  it('heeds what a peer wants to be asked for at a time, within reason', () => {
    const schedule = new Schedule(always('ask'));
    schedule.addSource(1, 0);
    for (const [said, length] of [
      [32_768, 32_768],
      [1, 16_384],
      [1_000_000_000, 524_288],
      [undefined, 524_288],
    ] as const) {
      schedule.limitRange(1, said);
      schedule.want({ sha256: A, size: 8 * MIB });
      assert.equal(schedule.next(0)[0]?.length, length);
      schedule.removeSource(1);
      schedule.addSource(1, 0);
    }
  });

  it('gives no second opinion that it may not ask for', () => {
    let isAllowed = true;
    const schedule = new Schedule(always('ask'), SCHEDULE_LIMITS, {
      mayAsk: () => isAllowed,
      piece: Number.POSITIVE_INFINITY,
    });
    schedule.addSource(1, 0);
    schedule.want({ sha256: A, size: 400_000 });
    assert.equal(schedule.next(0).length, 1);
    schedule.addSource(2, 0);
    isAllowed = false;
    assert.deepEqual(schedule.tick(SCHEDULE_LIMITS.secondOpinion).requests, []);
    isAllowed = true;
    assert.equal(schedule.tick(SCHEDULE_LIMITS.secondOpinion).requests.length, 1);
  });
});

describe('a peer that is slower than anybody waits', () => {
  const silent = SCHEDULE_LIMITS.stalled + 1;

  it('is of use when it answers at last, unless another was asked meanwhile', () => {
    const schedule = new Schedule(always('ask'));
    schedule.addSource(1, 0);
    schedule.want({ sha256: A, size: 400_000 });
    const [first] = schedule.next(0);
    assert.ok(first);
    schedule.tick(silent);
    assert.deepEqual(schedule.next(silent), [], 'it is not asked again');
    assert.equal(schedule.begin(1, A, first.offset, first.length, silent), 'useful');
    schedule.addSource(2, silent);
    assert.deepEqual(schedule.next(silent), [], 'it is on its way');
    assert.equal(schedule.delivered(1, A, first.offset, first.length, silent), 'complete');
  });

  it('is late when another was asked', () => {
    const schedule = new Schedule(always('ask'));
    schedule.addSource(1, 0);
    schedule.want({ sha256: A, size: 400_000 });
    const [first] = schedule.next(0);
    assert.ok(first);
    schedule.tick(silent);
    schedule.addSource(2, silent);
    assert.equal(schedule.next(silent)[0]?.source, 2);
    assert.equal(schedule.begin(1, A, first.offset, first.length, silent), 'late');
  });
});
