/** The power fails at a random moment: nothing that was acknowledged is lost. */

import assert from 'node:assert/strict';
import { peerTest } from '../support/peers.ts';
import { DISK_NEEDS } from './ext4-disk.ts';
import { Tally } from './pair.ts';
import { runPowerCuts } from './power-cuts.ts';
import { chosenSeed } from './random.ts';
import { openScene } from './scene.ts';

const isLong = process.env.SKYLARK_LONG === '1';
const SESSIONS = isLong ? 8 : 1;
const CUTS = isLong ? 25 : 4;

peerTest(
  `${SESSIONS * CUTS} power cuts: all that was acknowledged is there, whole, and no revision is used twice`,
  { ...DISK_NEEDS, timeout: SESSIONS * CUTS * 60_000 },
  async (t) => {
    const seed = chosenSeed();
    t.diagnostic(`CRASH_SEED=${seed}`);
    const tally = new Tally();
    for (let session = 0; session < SESSIONS; session++) {
      const scene = openScene(t);
      await runPowerCuts(scene, tally, { seed: seed + session, cuts: CUTS });
      await scene.close();
    }
    t.diagnostic([...tally.counts].map(([what, count]) => `${what} ${count}`).join(', '));
    assert.deepEqual(tally.violations, []);
    assert.equal(tally.of('power cuts'), SESSIONS * CUTS);
  },
);
