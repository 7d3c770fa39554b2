/**
 * An idle pair of real agents: how long until one is ready, and how long until one edit on the left is whole on the
 * right. Beside them, in the same run: a bare Node process's start, and inotify with a copy (no network, no safety),
 * the floor for noticing a file.
 *
 *     node scripts/bench/pair.ts [edits, default 40]
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, watch } from 'node:fs';
import { copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { joined, TestAgent } from '../../test/support/agents.ts';
import { median, timed } from './measuring.ts';

const edits = Number(process.argv[2] ?? 40);
const root = await mkdtemp(join(tmpdir(), 'skylark-bench-'));

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

/** Milliseconds from closing the written file until `target` holds the same bytes, seen within a millisecond. */
async function arrival(source: string, target: string, bytes: Buffer): Promise<number> {
  await writeFile(source, bytes);
  const start = performance.now();
  for (;;) {
    if (existsSync(target) && readFileSync(target).equals(bytes)) return performance.now() - start;
    if (performance.now() - start > 30_000) throw new Error('the file has not arrived within 30 s');
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

const agents = [
  new TestAgent(join(root, 'a'), { name: 'a' }),
  new TestAgent(join(root, 'b'), { name: 'b' }),
] as const;
try {
  const starts: number[] = [];
  const bare: number[] = [];
  for (let i = 0; i < 5; i++) {
    starts.push(await timed(() => agents[0].start()));
    await agents[0].end();
    bare.push(await timed(() => once(spawn(process.execPath, ['-e', '0']), 'exit')));
  }
  console.log(
    `start to ready: median ${median(starts).toFixed(0)} ms; a bare node process ${median(bare).toFixed(0)} ms; ` +
      `ratio ${(median(starts) / median(bare)).toFixed(1)}`,
  );

  await agents[0].start();
  await agents[1].start();
  const [left, right] = await joined(agents[0], agents[1]);
  const floorFrom = join(root, 'floor-from');
  const floorTo = join(root, 'floor-to');
  await mkdir(floorFrom);
  await mkdir(floorTo);
  // One after the other: two copies of one file at the same time can leave less than all of it.
  let copying = Promise.resolve();
  const watcher = watch(floorFrom, (_event, name) => {
    if (name === null) return;
    copying = copying.then(() => copyFile(join(floorFrom, name), join(floorTo, name))).catch(() => {});
  });
  const times: number[] = [];
  const floor: number[] = [];
  for (let i = 0; i < edits; i++) {
    // Not in step with anything periodic.
    await new Promise((resolve) => setTimeout(resolve, 200 + 100 * Math.random()));
    const bytes = Buffer.alloc(65_536, `edit ${i}`);
    times.push(await arrival(join(left, `file ${i}`), join(right, `file ${i}`), bytes));
    floor.push(await arrival(join(floorFrom, `file ${i}`), join(floorTo, `file ${i}`), bytes));
  }
  watcher.close();
  console.log(
    `one new 64 KiB file on an idle pair: mean ${mean(times).toFixed(0)} ms, median ${median(times).toFixed(0)} ms, ` +
      `worst ${Math.max(...times).toFixed(0)} ms; watch and copy alone: median ${median(floor).toFixed(1)} ms`,
  );
} finally {
  for (const agent of agents) await agent.end('SIGKILL');
  await rm(root, { recursive: true, force: true });
}
