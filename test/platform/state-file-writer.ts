/** Counts up in a state file and says each number once it is durable, until it is killed. */

import { createHash } from 'node:crypto';
import { silentLogger } from '../../agent/base/log.ts';
import { field, integer, object, text } from '../../agent/base/schema.ts';
import { openStateFile } from '../../agent/platform/state-file.ts';

const path = process.argv[2];
if (path === undefined) throw new Error('no path given');
const file = await openStateFile({
  path,
  schema: object({
    count: field('count', integer({ min: 0, max: Number.MAX_SAFE_INTEGER })),
    filler: field('filler', text({ max: 100_000 })),
  }),
  version: 1,
  initial: () => ({ count: 0, filler: '' }),
  checksum: (bytes) => createHash('sha256').update(bytes).digest('hex'),
  log: silentLogger,
});
for (;;) {
  await file.update(({ count }) => ({ count: count + 1, filler: 'x'.repeat((count * 7919) % 50_000) }));
  process.stdout.write(`${file.value.count}\n`);
}
