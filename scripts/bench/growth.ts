/**
 * How the cost of a share grows with the number of its files: two real agents, A with all files, B which joins. For each
 * size: records per second, memory, start, the time to notice, send and place one edit, what is in `records.db`, and an
 * idle minute; and beside each figure its ratio to the size before.
 *
 *     node scripts/bench/growth.ts [--folder DIR] [--whole N] [--edits N] [--idle SECONDS] [--json] [FILES...]
 *
 * Sizes are 1000 10000 100000 1000000 by default. Up to `--whole` files (100,000) B takes everything; of more it keeps one
 * folder (`join --only`), so that records rather than contents are measured: such a column is marked. Files are 64 bytes
 * each, 1,000 to a folder. Everything lies in `--folder`, by default in memory (/dev/shm): a million files with A, and
 * `records.db` twice, take 8 GB there. Where it is a disk, edits take its flushes longer.
 */

import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { connectControl } from '../../agent/control/client.ts';
import { type Answers, COMMANDS } from '../../agent/control/messages.ts';
import { TestAgent } from '../../test/support/agents.ts';
import { cpuOf, exactCpuOf, median, memoryOf, timed, until } from './measuring.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    folder: { type: 'string', default: '/dev/shm' },
    whole: { type: 'string', default: '100000' },
    edits: { type: 'string', default: '25' },
    idle: { type: 'string', default: '60' },
    json: { type: 'boolean', default: false },
  },
});
const IN_FOLDER = 1_000;
/** For a million files on a busy machine. */
const LONGEST_MIN = 60;
const SHARE = 'Music';
/** What B keeps of a share that it does not take whole; the edits are in it. */
const KEPT = 'folder 0';

type Status = Answers['fullStatus'];
type Share = Status['shares'][number];
type Pair = readonly [TestAgent, TestAgent];
type Figures = Map<string, number>;

const sizes = positionals.length > 0 ? positionals.map(Number) : [1_000, 10_000, 100_000, 1_000_000];
const columns: { readonly files: number; readonly isWhole: boolean; readonly figures: Figures }[] = [];
for (const files of sizes) {
  const isWhole = files <= Number(values.whole);
  const top = await mkdtemp(join(values.folder, 'skylark-bench-'));
  const pair: Pair = [agentIn(top, 'a'), agentIn(top, 'b')];
  // They tell how long a scan took.
  const again: Pair = [agentIn(top, 'a', 'debug'), agentIn(top, 'b', 'debug')];
  const figures: Figures = new Map();
  try {
    await measureFilling(pair, files, isWhole, figures);
    await measureFull(again, files, isWhole, figures);
  } finally {
    for (const agent of [...pair, ...again]) await agent.end('SIGKILL');
    rmSync(top, { recursive: true, force: true });
  }
  columns.push({ files, isWhole, figures });
  if (values.json) console.log(JSON.stringify({ files, isWhole, ...Object.fromEntries(figures) }));
}
if (!values.json) print();

function agentIn(top: string, name: string, level = 'info'): TestAgent {
  return new TestAgent(join(top, name), { name, settings: { 'log.level': level } });
}

/** A gets the files, then B does. */
async function measureFilling(
  [a, b]: Pair,
  files: number,
  isWhole: boolean,
  figures: Figures,
): Promise<void> {
  const note = (what: string, value: number) => figures.set(what, value);
  const [left, right] = [a.folder(SHARE), b.folder(SHARE)];
  fill(left, files);
  // What is only just written would be too fresh to be read at once.
  await wait(200);

  await a.start();
  const scanning = await timed(async () => {
    await a.run('share', left, '--name', SHARE);
    await until(() => isSynced(a, (share) => share.files === files), 250, LONGEST_MIN);
  });
  note('A: files hashed and noted a second', (files / scanning) * 1_000);
  note('A: microseconds of CPU for a file', (cpuOf(a.pid) * 1_000) / files);
  note('A: peak memory of the first scan, MB', memoryOf(a.pid).peak);

  await b.start();
  const kept = keptOf(files, isWhole);
  const joining = await timed(async () => {
    const code = await a.code(SHARE);
    const part = isWhole ? [] : ['--only', KEPT];
    await b.run('join', code, right, '--name', SHARE, '--peer', a.listen, ...part);
    const hasAll = (share: Share) => share.files === kept && kept + share.unwantedFiles === files;
    await until(() => isSynced(b, hasAll), 250, LONGEST_MIN);
  });
  note(isWhole ? 'B: files taken a second' : 'B: records taken a second', (files / joining) * 1_000);
  note('B: microseconds of CPU for a file', (cpuOf(b.pid) * 1_000) / files);
  note('B: peak memory of joining, MB', memoryOf(b.pid).peak);

  for (const agent of [a, b]) {
    await agent.end();
    note(`${of(agent)}: records.db, bytes a file`, statSync(join(agent.state, 'records.db')).size / files);
  }
}

/** Everything is there and nothing happens but what is said. */
async function measureFull(pair: Pair, files: number, isWhole: boolean, figures: Figures): Promise<void> {
  const [a, b] = pair;
  const note = (what: string, value: number) => figures.set(what, value);
  for (const agent of pair) {
    const start = performance.now();
    await agent.start();
    await status(agent);
    note(`${of(agent)}: start to answering, ms`, performance.now() - start);
    const scanned = /"the folder was scanned".*"ms":(\d+)/;
    await until(() => scanned.test(agent.log), 20);
    note(`${of(agent)}: scan of the unchanged folder, ms`, Number(scanned.exec(agent.log)?.[1]));
    note(`${of(agent)}: CPU of start and scan, ms`, exactCpuOf(agent.pid));
  }
  await until(async () => (await status(b)).peers.some(({ connected }) => connected), 50);
  const asking: number[] = [];
  for (let i = 0; i < 9; i++) asking.push(await timed(() => status(b)));
  note('B: status answered, ms', median(asking));

  await wait(10_000);
  const before = pair.map(({ pid }) => exactCpuOf(pid));
  const seconds = Number(values.idle);
  await wait(seconds * 1_000);
  pair.forEach((agent, i) => {
    const { peak, resident, proportional } = memoryOf(agent.pid);
    note(`${of(agent)}: idle, CPU ms a minute`, ((exactCpuOf(agent.pid) - (before[i] ?? 0)) * 60) / seconds);
    note(`${of(agent)}: idle, MB of PSS`, proportional);
    note(`${of(agent)}: idle, MB resident`, resident);
    note(`${of(agent)}: peak memory since the start, MB`, peak);
  });

  const [left, right] = [a.folder(SHARE), b.folder(SHARE)];
  const arrivals: number[] = [];
  const edits = Number(values.edits);
  const busy = exactCpuOf(a.pid) + exactCpuOf(b.pid);
  for (let i = 0; i < edits; i++) {
    const name = join(KEPT, `${(i * 37) % Math.min(keptOf(files, isWhole), IN_FOLDER)}`);
    const text = `edit ${i} of ${Date.now()}`;
    writeFileSync(join(left, name), text);
    arrivals.push(await timed(() => until(() => readFileSync(join(right, name), 'utf8') === text, 2)));
    await wait(200 + 300 * Math.random());
  }
  note('one edit until on B, ms', median(arrivals));
  note('one edit, ms of CPU of both', (exactCpuOf(a.pid) + exactCpuOf(b.pid) - busy) / edits);
}

function of({ name }: TestAgent): string {
  return name.toUpperCase();
}

function keptOf(files: number, isWhole: boolean): number {
  return isWhole ? files : Math.min(files, IN_FOLDER);
}

async function status(agent: TestAgent): Promise<Status> {
  const client = await connectControl(join(agent.state, 'control'));
  try {
    return await client.request(COMMANDS.fullStatus, {});
  } finally {
    await client.close();
  }
}

async function isSynced(agent: TestAgent, holds: (share: Share) => boolean): Promise<boolean> {
  const [share] = (await status(agent)).shares;
  return share?.synced === true && holds(share);
}

function fill(folder: string, count: number): void {
  for (let i = 0; i < count; i++) {
    const inside = join(folder, `folder ${Math.floor(i / IN_FOLDER)}`);
    if (i % IN_FOLDER === 0) mkdirSync(inside, { recursive: true });
    writeFileSync(join(inside, `${i}`), `contents of file ${i}`.padEnd(64));
  }
}

function print(): void {
  const [cell, head] = [18, 38];
  const titles = columns.map(({ files, isWhole }) =>
    `${files}${isWhole ? '' : ' (B a part)'}`.padStart(cell),
  );
  console.log('files'.padEnd(head) + titles.join(''));
  for (const name of new Set(columns.flatMap(({ figures }) => [...figures.keys()]))) {
    const cells = columns.map(({ figures }, i) => {
      const value = figures.get(name);
      const last = columns[i - 1]?.figures.get(name);
      if (value === undefined) return '-';
      const ratio = last === undefined || last === 0 ? '' : ` x${(value / last).toFixed(2)}`;
      return `${value.toFixed(value < 100 ? 1 : 0)}${ratio}`;
    });
    console.log(name.padEnd(head) + cells.map((text) => text.padStart(cell)).join(''));
  }
}
