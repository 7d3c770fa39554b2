import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  advance,
  compareClocks,
  EMPTY_CLOCK,
  isBefore,
  MAX_CLOCK_ENTRIES,
  mergeClocks,
  type VectorClock,
} from '../../agent/database/vector-clock.ts';

const MAX = 2n ** 63n - 1n;
const clocks: fc.Arbitrary<VectorClock> = fc
  .array(fc.tuple(fc.constantFrom('a', 'b', 'c', 'd'), fc.constantFrom(0n, 1n, 2n, 3n, MAX - 1n, MAX)))
  .map((entries) => new Map(entries));

const same = (a: VectorClock, b: VectorClock) => isBefore(a, b) && isBefore(b, a);

test('missing components count as zero', () => {
  assert.ok(same(new Map([['a', 0n]]), EMPTY_CLOCK));
  assert.equal(compareClocks(new Map([['a', 1n]]), EMPTY_CLOCK), 'after');
  assert.equal(compareClocks(new Map([['a', 1n]]), new Map([['b', 1n]])), 'concurrent');
});

test('merging is commutative, associative and idempotent, and the least clock that knows both', () => {
  fc.assert(
    fc.property(clocks, clocks, clocks, (a, b, c) => {
      const both = mergeClocks(a, b);
      assert.ok(same(both, mergeClocks(b, a)));
      assert.ok(same(mergeClocks(both, c), mergeClocks(a, mergeClocks(b, c))));
      assert.ok(same(mergeClocks(a, a), a));
      assert.ok(isBefore(a, both) && isBefore(b, both));
      if (isBefore(a, c) && isBefore(b, c)) assert.ok(isBefore(both, c));
    }),
  );
});

test('merging gives the same object back when nothing is new, which callers rely on', () => {
  fc.assert(
    fc.property(clocks, clocks, (a, b) => {
      if (isBefore(b, a)) assert.equal(mergeClocks(a, b), a);
    }),
  );
});

test('a change makes a clock strictly later, also of a full component', () => {
  fc.assert(
    fc.property(clocks, fc.constantFrom('a', 'e'), (clock, peer) => {
      const next = advance(clock, peer);
      const isStuck = clock.has(peer) && [...clock.values()].every((count) => count === MAX);
      assert.equal(compareClocks(next, clock), isStuck ? 'equal' : 'after');
      for (const count of next.values()) assert.ok(count <= MAX);
    }),
  );
});

test('a clock that a hostile peer has filled to the last entry does not grow and can still be advanced', () => {
  const full = new Map(Array.from({ length: MAX_CLOCK_ENTRIES }, (_, i) => [`peer${i}`, MAX - 1n] as const));
  const next = advance(full, 'us');
  assert.equal(next.size, MAX_CLOCK_ENTRIES);
  assert.equal(compareClocks(next, full), 'after');
});
