/** Whatever happens to the machine under an agent: all that was acknowledged is there afterwards, and nothing else. */

import assert from 'node:assert/strict';
import { peerTest } from '../support/peers.ts';
import { METHODS } from './methods.ts';
import { Tally } from './pair.ts';
import { chosenSeed } from './random.ts';

const isLong = process.env.SKYLARK_LONG === '1';

for (const { name, needs, timeout, run } of METHODS)
  peerTest(
    `${name}: a clean restart, nothing lost, nothing partial, no revision twice`,
    { ...needs, timeout: isLong ? timeout : 120_000 },
    async (t) => {
      const seed = chosenSeed();
      t.diagnostic(`CRASH_SEED=${seed}`);
      const tally = new Tally();
      await run(tally, seed, isLong);
      t.diagnostic([...tally.counts].map(([what, count]) => `${what} ${count}`).join(', '));
      assert.deepEqual(tally.violations, []);
      assert.ok(tally.of('files checked') > 0);
    },
  );
