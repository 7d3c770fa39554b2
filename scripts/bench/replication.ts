/**
 * One folder brought into another, side by side in one run: Skylark, Debian's syncthing with its defaults, and rsync
 * without encryption. The rounds are interleaved; printed are medians and their ratio to syncthing's.
 *
 *     node scripts/bench/replication.ts [--rounds N] [--files N] [--mib N] [--only NAME] [--folder DIR]
 *
 * Needs root: everything runs in a network namespace of its own, so that the bytes on its loopback are those of one
 * program. syncthing and rsync are Debian's packages; one that is missing is said to be.
 */

import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { countFiles, cpuOf, exactCpuOf, median, timed, until } from './measuring.ts';
import { type Replicator, rsync, skylark, syncthing } from './replicators.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    files: { type: 'string', default: '10000' },
    mib: { type: 'string', default: '512' },
    only: { type: 'string' },
    folder: { type: 'string', default: tmpdir() },
  },
});
const MIB = 1_048_576;

if (process.env.REPLICATION_BENCH_INSIDE === undefined) {
  const script = 'ip link set lo up && exec "$0" "$@"';
  const again = [process.execPath, fileURLToPath(import.meta.url), ...process.argv.slice(2)];
  const { status } = spawnSync('unshare', ['--net', 'sh', '-c', script, ...again], {
    stdio: 'inherit',
    env: { ...process.env, REPLICATION_BENCH_INSIDE: '1' },
  });
  process.exit(status ?? 1);
}

type Figures = Map<string, number[]>;

const makers = [skylark, syncthing, rsync].filter(({ name }) => {
  if (values.only !== undefined && values.only !== name) return false;
  const isThere = name === 'skylark' || spawnSync('which', [name]).status === 0;
  if (!isThere) console.log(`${name} is not installed and left out`);
  return isThere;
});
const results = new Map<string, Figures>(makers.map(({ name }) => [name, new Map()]));

for (let round = 0; round < Number(values.rounds); round++) {
  for (const make of makers) {
    const top = await mkdtemp(join(values.folder, 'skylark-bench-'));
    const replicator = make(top);
    try {
      await replicator.start();
      await measure(replicator, results.get(replicator.name) ?? new Map());
    } finally {
      await replicator.end();
      rmSync(top, { recursive: true, force: true });
    }
  }
}
print();

async function measure(replicator: Replicator, figures: Figures): Promise<void> {
  const note = (what: string, value: number) => figures.set(what, [...(figures.get(what) ?? []), value]);
  const { left, right } = replicator;
  const large = join(left, 'large');

  await replicator.hold();
  fillLarge(large, Number(values.mib));
  await replicator.indexed(1);
  note(
    `${values.mib} MiB cold, ms`,
    await syncing(replicator, () => sizeOf(join(right, 'large')) === sizeOf(large)),
  );

  await replicator.hold();
  editLarge(large);
  await replicator.indexed(1);
  const before = loopbackBytes();
  const edited = timeOf(large);
  note('1 MiB changed in it, ms', await syncing(replicator, () => timeOf(join(right, 'large')) === edited));
  note('1 MiB changed in it, MB on the wire', (loopbackBytes() - before) / 1e6);

  await replicator.hold();
  const files = Number(values.files);
  fillSmall(left, files);
  await replicator.indexed(files + 1);
  // A daemon of rsync's has no process that stays.
  const cpuOfB = () => (replicator.pid === undefined ? undefined : cpuOf(replicator.pid));
  const cpu = cpuOfB();
  note(`${files} files of 4 KiB cold, ms`, await syncing(replicator, () => countFiles(right) === files + 1));
  if (cpu !== undefined) note(`${files} files of 4 KiB cold, ms of B's CPU`, (cpuOfB() ?? 0) - cpu);

  if (replicator.rescan !== undefined) note('rescan, ms', await timed(replicator.rescan));
  if (replicator.restart === undefined) return;
  note('start to answering, ms', await replicator.restart());
  // Both clean up after their start for half a minute.
  await wait(60_000);
  note('idle, MB of PSS', pssOf(replicator.pid));
  const { pid } = replicator;
  if (pid !== undefined) {
    const idle = exactCpuOf(pid);
    await wait(20_000);
    note('idle, ms of CPU a minute', (exactCpuOf(pid) - idle) * 3);
  }
  const arrivals: number[] = [];
  for (let i = 0; i < 5; i++) {
    const name = `new ${i}`;
    await writeFile(join(left, name), Buffer.alloc(65_536, name));
    arrivals.push(await timed(() => until(() => sizeOf(join(right, name)) === 65_536, 2)));
    await wait(500 * Math.random());
  }
  note('one new 64 KiB file until on B, ms', median(arrivals));
}

/** Milliseconds from letting B go until it has everything. */
async function syncing(replicator: Replicator, isThere: () => boolean): Promise<number> {
  return timed(async () => {
    await replicator.release();
    await until(isThere, 10);
  });
}

function fillLarge(path: string, mebibytes: number): void {
  const file = openSync(path, 'w');
  for (let i = 0; i < mebibytes; i++) writeSync(file, randomBytes(MIB));
  fsyncSync(file);
  closeSync(file);
}

function editLarge(path: string): void {
  const file = openSync(path, 'r+');
  writeSync(file, randomBytes(MIB), 0, MIB, Math.floor((Number(values.mib) / 2) * MIB));
  fsyncSync(file);
  closeSync(file);
}

function fillSmall(folder: string, count: number): void {
  const bytes = Buffer.alloc(4_096);
  for (let i = 0; i < count; i++) {
    const inside = join(folder, `folder ${Math.floor(i / 100)}`);
    if (i % 100 === 0) mkdirSync(inside);
    bytes.writeUInt32LE(i);
    const file = openSync(join(inside, `${i}`), 'w');
    writeSync(file, bytes);
    closeSync(file);
  }
}

function sizeOf(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.size;
}

/** Whole milliseconds: more than that is not kept by all three. */
function timeOf(path: string): number | undefined {
  const ms = statSync(path, { throwIfNoEntry: false })?.mtimeMs;
  return ms === undefined ? undefined : Math.floor(ms);
}

function loopbackBytes(): number {
  return Number(/lo:\s*(\d+)/.exec(readFileSync('/proc/net/dev', 'utf8'))?.[1] ?? 0);
}

function pssOf(pid: number | undefined): number {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  return (Number(/^Pss:\s+(\d+)/m.exec(text)?.[1] ?? 0) * 1_024) / 1e6;
}

function print(): void {
  const scenarios = new Set([...results.values()].flatMap((figures) => [...figures.keys()]));
  for (const scenario of scenarios) {
    const medians = Object.fromEntries(
      Array.from(results, ([name, figures]) => [name, figures.get(scenario)] as const)
        .filter(([, all]) => all !== undefined)
        .map(([name, all]) => [name, Number(median(all ?? []).toPrecision(4))]),
    );
    const ratio =
      medians.skylark !== undefined && medians.syncthing !== undefined
        ? { toSyncthing: Number((medians.skylark / medians.syncthing).toFixed(2)) }
        : {};
    console.log(JSON.stringify({ scenario, ...medians, ...ratio }));
  }
}
