/**
 * Crashes, counted: runs every method of test/crash in its long form and prints what each of them met and found.
 *
 *     node scripts/crash-report.ts [--seed N] [--only NAME] [--short]
 *
 * Needs root, strace, e2fsprogs, nbdkit, nbdfuse and libfiu (scripts/install-test-peers); takes an hour or two. Ends with 1
 * if anything was violated.
 */

import { parseArgs } from 'node:util';
import { METHODS } from '../test/crash/methods.ts';
import { Tally } from '../test/crash/pair.ts';
import { chosenSeed } from '../test/crash/random.ts';
import { missingOf } from '../test/support/peers.ts';

const { values } = parseArgs({
  options: { seed: { type: 'string' }, only: { type: 'string' }, short: { type: 'boolean', default: false } },
});
const seed = values.seed === undefined ? chosenSeed() : Number(values.seed);
const chosen = METHODS.filter(({ name }) => values.only === undefined || name === values.only);
let found = 0;

console.log(`seed ${seed}`);
for (const { name, needs, run } of chosen) {
  const missing = missingOf(needs);
  if (missing !== undefined) {
    console.log(`\n${name}: not run, ${missing}`);
    continue;
  }
  const tally = new Tally();
  const started = performance.now();
  await run(tally, seed, !values.short).catch((thrown: unknown) => {
    tally.violate(thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown));
  });
  console.log(`\n${name}, ${Math.round((performance.now() - started) / 1_000)} s`);
  for (const [what, count] of tally.counts) console.log(`${String(count).padStart(9)}  ${what}`);
  console.log(`${String(tally.violations.length).padStart(9)}  violations`);
  for (const violation of tally.violations) console.log(violation.replaceAll(/^/gm, '           '));
  found += tally.violations.length;
}
process.exit(found === 0 ? 0 : 1);
