/** A day of a device's life, over and over, without growth of memory. */

import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { keptPiano, liveThrough } from './kept-piano.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

test('24 hours of simulated life, six times, grow neither memory nor open files', async () => {
  const heaps: number[] = [];
  const descriptors: number[] = [];
  for (let day = 0; day < 6; day++) {
    const stage = keptPiano(day);
    await liveThrough(stage, 2_900, day + 100);
    await stage.clock.run(stage.keeper.close());
    collect();
    heaps.push(process.memoryUsage().heapUsed);
    descriptors.push(readdirSync('/proc/self/fd').length);
  }
  // The first days warm up caches and compilers.
  const [, , third = 0] = heaps;
  assert.ok((heaps.at(-1) ?? 0) < third + 8e6, heaps.join());
  assert.equal(descriptors.at(-1), descriptors[1]);
});
