import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Debouncer, openDebouncer } from '../../agent/directory/debounce.ts';
import { type VirtualClock, virtualClock } from '../support/virtual-clock.ts';

interface Recorded {
  readonly clock: VirtualClock;
  readonly debouncer: Debouncer;
  /** When which path was ready, milliseconds. */
  readonly ready: [number, string][];
}

/** Everything that becomes ready is taken, and done at once with what `settle` says. */
function recorded(settle: (path: string) => boolean = () => true): Recorded {
  const clock = virtualClock();
  const ready: [number, string][] = [];
  const debouncer: Debouncer = openDebouncer(clock, () => {
    for (const path of debouncer.take(100)) {
      ready.push([Math.round(clock.monotonic()), path]);
      debouncer.done(path, settle(path));
    }
  });
  return { clock, debouncer, ready };
}

test('a path is ready after 100 ms of quiet', async () => {
  const { clock, debouncer, ready } = recorded();
  debouncer.touch('/a');
  await clock.pass(50);
  debouncer.touch('/b');
  debouncer.touch('/a');
  await clock.pass(500);
  assert.deepEqual(ready, [
    [150, '/a'],
    [150, '/b'],
  ]);
  assert.equal(debouncer.size, 0);
});

test('what keeps changing waits longer and longer, and then for its quiet', async () => {
  const { clock, debouncer, ready } = recorded();
  for (let i = 0; i < 100; i++) {
    debouncer.touch('/log');
    await clock.pass(90);
  }
  assert.deepEqual(ready, []);
  await clock.pass(5_000);
  assert.equal(ready.length, 1);
  // Restless for nine seconds: half of it again.
  assert.ok(ready[0]![0] >= 13_000 && ready[0]![0] <= 13_600, String(ready[0]));
});

test('what never holds still is ready after a minute all the same, and may be taken impatiently', async () => {
  const { clock, debouncer, ready } = recorded((path) => debouncer.isPatient(path));
  for (let i = 0; i < 800; i++) {
    debouncer.touch('/log');
    await clock.pass(80);
  }
  assert.ok(ready.length >= 1 && ready.length <= 3, `${ready.length}`);
  assert.equal(ready[0]![0], 60_000);
  assert.equal(debouncer.isPatient('/log'), false);
});

test('a path that is being looked at is not handed out again, and a change meanwhile is not forgotten', async () => {
  const clock = virtualClock();
  const debouncer = openDebouncer(clock, () => undefined);
  debouncer.hurry('/a');
  assert.deepEqual(debouncer.take(5), ['/a']);
  debouncer.hurry('/a');
  debouncer.touch('/a');
  assert.deepEqual(debouncer.take(5), []);
  await clock.pass(1_000);
  assert.deepEqual(debouncer.take(5), []);
  debouncer.done('/a', true);
  assert.equal(debouncer.size, 1);
  await clock.pass(1_000);
  assert.deepEqual(debouncer.take(5), ['/a']);
  debouncer.done('/a', true);
  assert.equal(debouncer.size, 0);
});

test('what was not settled waits again, longer each time', async () => {
  const { clock, debouncer, ready } = recorded(() => ready.length >= 5);
  debouncer.touch('/a');
  await clock.pass(60_000);
  assert.equal(ready.length, 5);
  const waits = ready.slice(1).map(([at], i) => at - ready[i]![0]);
  assert.deepEqual(
    [...waits].sort((a, b) => a - b),
    waits,
  );
  assert.equal(debouncer.size, 0);
});

test('clearing forgets what waits, but not what is being looked at', async () => {
  const clock = virtualClock();
  const debouncer = openDebouncer(clock, () => undefined);
  for (const path of ['/a', '/b', '/c']) debouncer.hurry(path);
  assert.deepEqual(debouncer.take(1), ['/a']);
  debouncer.clear();
  assert.deepEqual([debouncer.size, debouncer.take(9)], [1, []]);
  debouncer.done('/a', true);
  assert.equal(debouncer.size, 0);
});

test('after any touches, each path is handed out at least once after its last one, by one worker at a time', async () => {
  const act = fc.record({
    path: fc.constantFrom('/a', '/b', '/c'),
    how: fc.constantFrom('touch', 'hurry', 'done', 'unsettled'),
    pause: fc.constantFrom(0, 10, 99, 150, 3_000),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(act, { maxLength: 60 }), async (acts) => {
      const clock = virtualClock();
      const taken = new Set<string>();
      const changed = new Set<string>();
      const debouncer: Debouncer = openDebouncer(clock, () => {
        for (const path of debouncer.take(2)) {
          assert.ok(!taken.has(path));
          taken.add(path);
          changed.delete(path);
        }
      });
      for (const { path, how, pause } of acts) {
        if (how === 'touch' || how === 'hurry') {
          debouncer[how](path);
          changed.add(path);
        } else if (taken.delete(path)) {
          debouncer.done(path, how === 'done');
          if (how === 'unsettled') changed.add(path);
        }
        await clock.pass(pause);
      }
      for (let i = 0; i < 10; i++) {
        for (const path of taken) debouncer.done(path, true);
        taken.clear();
        for (const path of debouncer.take(9)) {
          taken.add(path);
          changed.delete(path);
        }
        await clock.pass(30_000);
      }
      assert.deepEqual([[...changed], debouncer.size], [[], 0]);
    }),
    { numRuns: 60 },
  );
});
