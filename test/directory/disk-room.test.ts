/** How much room there is, and who is told when there is more, by a clock and a file system in memory. */

import assert from 'node:assert/strict';
import { it, type TestContext } from 'node:test';
import { DiskRoom } from '../../agent/directory/disk-room.ts';
import { virtualClock } from '../support/virtual-clock.ts';

const HUGE = 1_000_000_000_000n;
const MINUTE_MS = 60_000;

async function setting(t: TestContext) {
  const clock = virtualClock();
  const seen = { free: 100n, told: 0, isShort: false };
  const wanted = new Set<string>();
  const room = new DiskRoom({
    clock,
    root: { space: async () => ({ free: seen.free, total: 10_000n }) },
    reserve: 0n,
    isWanted: (sha256) => wanted.has(sha256),
    onShort: () => {
      seen.isShort = true;
    },
    onRoom: () => {
      seen.told += 1;
      // What is still wanted asks again, as the fetcher does.
      for (const id of wanted) if (room.fits(id, sizeOf(id))) wanted.delete(id);
    },
    onEnough: () => {
      seen.isShort = false;
    },
  });
  t.after(() => room.close());
  await room.look();
  const want = (id: string) => {
    wanted.add(id);
    assert.equal(room.fits(id, sizeOf(id)), false, id);
  };
  return { clock, seen, wanted, want };
}

const sizeOf = (id: string) => (id.startsWith('huge') ? HUGE : 200n);

for (const count of [10, 1_024, 5_000])
  it(`what fits is tried again however much else does not: beside ${count} that are too large`, async (t) => {
    const { clock, seen, wanted, want } = await setting(t);
    for (let i = 0; i < count; i++) want(`huge${i}`);
    want('small');
    await clock.pass(MINUTE_MS);
    assert.equal(seen.told, 0, 'nothing would fit');
    seen.free = 900n;
    await clock.pass(MINUTE_MS);
    assert.equal(wanted.has('small'), false, 'it was tried again');
    assert.ok(seen.told <= 2, `and nobody was bothered for nothing (${seen.told} times)`);
    assert.equal(seen.isShort, true);
  });

it('what could not be remembered is asked for again when others are not wanted any more, and in the end all is well', async (t) => {
  const { clock, seen, wanted, want } = await setting(t);
  for (let i = 0; i < 3_000; i++) want(`huge${i}`);
  want('small');
  for (const id of wanted) if (id !== 'small' && id !== 'huge2999') wanted.delete(id);
  await clock.pass(MINUTE_MS);
  assert.equal(seen.told, 1);
  assert.equal(seen.isShort, true);
  wanted.delete('huge2999');
  seen.free = 900n;
  await clock.pass(MINUTE_MS);
  assert.deepEqual([...wanted], []);
  assert.equal(seen.isShort, false);
});
