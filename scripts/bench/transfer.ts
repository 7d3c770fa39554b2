/**
 * How fast contents get from one folder into another: one large file, and many small ones. The sender knows its files
 * already; the clock runs from the connection until the receiver has everything durably in its place. Beside it, in the
 * same run: copying the same files with an fsync for each, which is what the disk needs for it.
 *
 *     node scripts/bench/transfer.ts [memory|agents] [MiB, default 512] [files, default 10000] [runs, default 3]
 *
 * `memory` (default): two shares in this process, joined by real sessions without a channel: what the directory itself
 * costs, both sides on one thread. `agents`: two agents with their own channel on loopback.
 */

import { closeSync, copyFileSync, fsyncSync, mkdirSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, withClub } from '../../test/directory/members.ts';
import { joined, TestAgent } from '../../test/support/agents.ts';
import { countFiles, cpuOf, median, until } from './measuring.ts';

const [mode = 'memory', mebibytes = '512', count = '10000', rounds = '3'] = process.argv.slice(2);
const MIB = 1_048_576;
const SMALL = 4_096;
const SMALL_IN_FOLDER = 100;

interface Scenario {
  readonly name: string;
  readonly files: number;
  fill(folder: string): Promise<void>;
}

interface Measured {
  readonly ms: number;
  /** Processor time of everything that took part (with `agents`, of the receiver), which other load does not blur. */
  readonly cpuMs: number;
  /** Highest resident memory of the receiver (with `memory`, of both together), MiB. */
  readonly peakMiB: number;
}

const scenarios: readonly Scenario[] = [
  {
    name: `1 file of ${mebibytes} MiB`,
    files: 1,
    async fill(folder) {
      const file = await open(join(folder, 'large'), 'w');
      const block = Buffer.alloc(MIB);
      for (let i = 0; i < Number(mebibytes); i++) {
        crypto.getRandomValues(new Uint8Array(block.buffer, block.byteOffset, 65_536));
        block.writeUInt32LE(i, MIB / 2);
        await file.write(block);
      }
      await file.close();
    },
  },
  {
    name: `${count} files of 4 KiB`,
    files: Number(count),
    async fill(folder) {
      const bytes = Buffer.alloc(SMALL);
      for (let i = 0; i < Number(count); i++) {
        const inside = join(folder, `folder ${Math.floor(i / SMALL_IN_FOLDER)}`);
        if (i % SMALL_IN_FOLDER === 0) await mkdir(inside);
        bytes.writeUInt32LE(i);
        await writeFile(join(inside, `${i}`), bytes);
      }
    },
  },
];

// The agent's own timers keep no process alive.
const alive = setInterval(() => undefined, 1_000);
for (const scenario of scenarios) {
  if (scenario.files === 0 || scenario.name.startsWith('1 file of 0')) continue;
  const copies: number[] = [];
  const transfers: Measured[] = [];
  for (let round = 0; round < Number(rounds); round++) {
    copies.push(await inFolder((top) => copied(scenario, top)));
    transfers.push(mode === 'agents' ? await betweenAgents(scenario) : await inMemory(scenario));
  }
  const copy = median(copies);
  const transfer = median(transfers.map(({ ms }) => ms));
  const peak = Math.max(...transfers.map(({ peakMiB }) => peakMiB));
  console.log(
    JSON.stringify({
      mode,
      scenario: scenario.name,
      transferMs: Math.round(transfer),
      filesPerSecond: Math.round(scenario.files / (transfer / 1_000)),
      cpuMs: Math.round(median(transfers.map(({ cpuMs }) => cpuMs))),
      copyMs: Math.round(copy),
      ratio: Number((transfer / copy).toFixed(2)),
      peakMiB: Math.round(peak),
      allMs: transfers.map(({ ms }) => Math.round(ms)),
    }),
  );
}

clearInterval(alive);

async function inMemory(scenario: Scenario): Promise<Measured> {
  let ms = 0;
  let cpuMs = 0;
  await withClub(async (club) => {
    const a = await club.member('a');
    await scenario.fill(a.folder);
    await a.share.rescan();
    const b = await club.member('b');
    const start = performance.now();
    const before = process.cpuUsage();
    connect(a, b);
    await until(() => b.share.status().files === scenario.files && b.share.status().isSynced, 5);
    ms = performance.now() - start;
    const { user, system } = process.cpuUsage(before);
    cpuMs = (user + system) / 1_000;
  });
  return { ms, cpuMs, peakMiB: process.resourceUsage().maxRSS / 1_024 };
}

async function betweenAgents(scenario: Scenario): Promise<Measured> {
  return inFolder(async (top) => {
    const [a, b] = [
      new TestAgent(join(top, 'a'), { name: 'a' }),
      new TestAgent(join(top, 'b'), { name: 'b' }),
    ];
    try {
      await a.start();
      await b.start();
      const [left, right] = await joined(a, b);
      await b.end();
      await scenario.fill(left);
      const isNoted = async () => {
        const [share] = (await a.status()).shares;
        return share?.files === scenario.files && share.synced;
      };
      // Each question starts a program: seldom, so that it does not slow down what is measured.
      await until(isNoted, 1_000);
      const start = performance.now();
      await b.start();
      // A file has its name only when it is whole and on the disk.
      await until(() => countFiles(right) === scenario.files, 20);
      const ms = performance.now() - start;
      const status = readFileSync(`/proc/${b.pid}/status`, 'utf8');
      return { ms, cpuMs: cpuOf(b.pid), peakMiB: Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1_024 };
    } finally {
      await a.end();
      await b.end();
    }
  });
}

async function copied(scenario: Scenario, top: string): Promise<number> {
  const [from, to] = [join(top, 'from'), join(top, 'to')];
  mkdirSync(from);
  mkdirSync(to);
  await scenario.fill(from);
  const start = performance.now();
  copyFolder(from, to);
  return performance.now() - start;
}

function copyFolder(from: string, to: string): void {
  for (const entry of readdirSync(from, { withFileTypes: true })) {
    const [source, target] = [join(from, entry.name), join(to, entry.name)];
    if (entry.isDirectory()) {
      mkdirSync(target);
      copyFolder(source, target);
    } else {
      copyFileSync(source, target);
      const descriptor = openSync(target, 'r+');
      fsyncSync(descriptor);
      closeSync(descriptor);
    }
  }
}

async function inFolder<T>(body: (top: string) => Promise<T>): Promise<T> {
  const top = await mkdtemp(join(tmpdir(), 'skylark-bench-'));
  try {
    return await body(top);
  } finally {
    await rm(top, { recursive: true, force: true });
  }
}
