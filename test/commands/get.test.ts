import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fetchedShown } from '../../agent/commands/get.ts';
import { virtualClock } from '../support/virtual-clock.ts';

test('what comes from a member is shown with how much there is, and how long the rest will take', async () => {
  const clock = virtualClock();
  const shown: (readonly [number, string])[] = [];
  const onFetched = fetchedShown({ show: async (...args) => void shown.push(args) }, clock);
  await onFetched(0, 0);
  for (let bytes = 500_000; bytes <= 4_000_000; bytes += 500_000) {
    await onFetched(bytes, 10_000_000);
    await clock.pass(500);
  }
  assert.deepEqual(shown[0], [0, '0 bytes fetched']);
  assert.deepEqual(shown[1], [0.05, '500 kB of 10 MB fetched']);
  assert.equal(shown.at(-1)?.[0], 0.4);
  assert.match(shown.at(-1)?.[1] ?? '', /^4.0 MB of 10 MB fetched, about [56] seconds left$/);
});
