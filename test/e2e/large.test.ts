/** Size: one sparse file of gigabytes in little memory, and very many small ones. */

import assert from 'node:assert/strict';
import { mkdir, open, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { agentsFor, joined, type TestAgent } from '../support/agents.ts';
import { eventually } from '../support/eventually.ts';
import { sameTree } from '../support/folder-tree.ts';

/** Largest resident set so far, bytes (proc(5), VmHWM). */
async function peakMemory(agent: TestAgent): Promise<number> {
  const status = await readFile(`/proc/${agent.pid}/status`, 'utf8');
  return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]) * 1024;
}

/** 4 GiB is what was promised; 512 MiB shows the same in the ordinary test run, where the rest is waited for. */
const GIGABYTES = process.env.SKYLARK_LONG === '1' ? 4 : 0.5;
const FILES = process.env.SKYLARK_LONG === '1' ? 20_000 : 3_000;

test(`a sparse file of ${GIGABYTES} GiB arrives whole, in less than 150 MB of memory on either side`, async (t) => {
  const [a, b] = await agentsFor(t, { name: 'a' }, { name: 'b' });
  assert.ok(a && b);
  const [left, right] = await joined(a, b);
  const size = GIGABYTES * 2 ** 30;
  const file = await open(join(left, 'large.bin'), 'w');
  await file.write(Buffer.from('begin'), 0, 5, 0);
  await file.write(Buffer.from('middle'), 0, 6, size / 2);
  await file.write(Buffer.from('end'), 0, 3, size - 3);
  await file.close();
  await eventually(
    'it is there',
    () =>
      stat(join(right, 'large.bin')).then(
        () => true,
        () => false,
      ),
    600_000,
  );
  assert.equal((await stat(join(right, 'large.bin'))).size, size);
  assert.ok(await sameTree(left, right));
  for (const agent of [a, b] as const) {
    const peak = await peakMemory(agent);
    t.diagnostic(`${agent.name}: at most ${(peak / 1e6).toFixed(0)} MB resident`);
    assert.ok(peak < 150e6, `${agent.name} used ${(peak / 1e6).toFixed(0)} MB`);
  }
});

test(`${FILES} small files arrive`, async (t) => {
  const [a, b] = await agentsFor(t, { name: 'a' }, { name: 'b' });
  assert.ok(a && b);
  const [left, right] = await joined(a, b);
  for (let folder = 0; folder < 20; folder++) {
    await mkdir(join(left, `folder ${folder}`));
    await Promise.all(
      Array.from({ length: FILES / 20 }, (_, i) =>
        writeFile(join(left, `folder ${folder}`, `file ${i}.txt`), `content ${folder}/${i} `.repeat(20)),
      ),
    );
  }
  await eventually(
    'all are there',
    async () => {
      const counts = await Promise.all(
        Array.from({ length: 20 }, (_, i) =>
          readdir(join(right, `folder ${i}`)).then(
            (names) => names.length,
            () => 0,
          ),
        ),
      );
      return counts.reduce((sum, count) => sum + count, 0) === FILES;
    },
    600_000,
  );
  await eventually('both hold the same', () => sameTree(left, right));
});
