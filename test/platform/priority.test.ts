import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { peerTest } from '../support/peers.ts';

const run = promisify(execFile);
const MODULE = new URL('../../agent/platform/priority.ts', import.meta.url).href;

/** In a process of its own: a priority is not to be had back. */
async function inProcess(body: string, prefix: readonly string[] = []): Promise<string> {
  const program = `
    import { readFile, readdir } from 'node:fs/promises';
    import { getPriority } from 'node:os';
    import { Worker } from 'node:worker_threads';
    import { lowerPriority } from ${JSON.stringify(MODULE)};
    const niceOfThreads = async () => {
      const nices = new Set();
      for (const thread of await readdir('/proc/self/task')) {
        const stat = await readFile('/proc/self/task/' + thread + '/stat', 'utf8').catch(() => undefined);
        // proc(5): field 19, counted behind the name, which may have spaces.
        if (stat !== undefined) nices.add(Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[16]));
      }
      return [...nices].sort((a, b) => a - b).join();
    };
    ${body}`;
  const [first = process.execPath, ...rest] = [
    ...prefix,
    process.execPath,
    '--input-type=module',
    '--eval',
    program,
  ];
  return (await run(first, rest, { timeout: 30_000 })).stdout.trim();
}

test('all threads give way for the processor, also those that are started later', async () => {
  const said = await inProcess(`
    await readFile('/proc/self/stat');
    const lowered = await lowerPriority('/nonexistent/ionice');
    new Worker('setTimeout(() => {}, 1000)', { eval: true });
    console.log(lowered, await niceOfThreads());
    process.exit();`);
  assert.equal(said, 'processor 10');
});

test('a priority that is lower already stays', async () => {
  const said = await inProcess(`await lowerPriority('/nonexistent/ionice'); console.log(getPriority());`, [
    'nice',
    '-n',
    '15',
  ]);
  assert.equal(said, '15');
});

peerTest(
  'the disk is given way to as well, where the program for that is',
  { programs: ['ionice'] },
  async () => {
    const said = await inProcess(`
    import { execFileSync } from 'node:child_process';
    const lowered = await lowerPriority();
    console.log(lowered, String(execFileSync('ionice', ['-p', String(process.pid)])).trim());`);
    assert.equal(said, 'both best-effort: prio 7');
  },
);
