/**
 * Disks that are full, or fail: a small tmpfs without bytes or inodes, ext4 on a block device that answers with EIO, and a C
 * library whose fsync, rename and writes fail at random. A is told of it, says so, and goes on by itself when it is over.
 */

import { existsSync, mkdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type PeerNeeds, runProgram, startProgram } from '../support/peers.ts';
import { DISK_NEEDS, openExt4 } from './ext4-disk.ts';
import { Ledger } from './ledger.ts';
import { Owner } from './owner.ts';
import { openPair, type Pair, statusOf, type Tally } from './pair.ts';
import { type Random, seeded } from './random.ts';
import { must, type Scene } from './scene.ts';

export interface Rounds {
  readonly seed: number;
  readonly rounds: number;
}

interface Setting {
  readonly pair: Pair;
  readonly ledger: Ledger;
  readonly random: Random;
  /** At A, and at B. */
  readonly owners: readonly [Owner, Owner];
}

/** A pair with all of A in `home`. */
async function openSetting(scene: Scene, tally: Tally, random: Random, home: string): Promise<Setting> {
  const pair = await openPair(scene, 'pair', tally, {
    state: join(home, 'a', 'state'),
    share: join(home, 'a'),
  });
  const ledger = new Ledger();
  const shared = { ledger, random, flushed: 1, largest: 60_000 };
  const owners = [
    new Owner({ ...shared, name: 'a', folder: pair.left, desk: join(home, 'a', 'desk') }),
    new Owner({ ...shared, name: 'b', folder: pair.right, desk: join(scene.root, 'desk b') }),
  ] as const;
  return { pair, ledger, random, owners };
}

/** Round by round, from being in step to being in step again; ends with the first round that finds something wrong. */
async function eachRound(
  { pair, ledger }: Setting,
  what: string,
  { seed, rounds }: Rounds,
  round: () => Promise<void>,
): Promise<void> {
  const { tally } = pair;
  let settled = await pair.inStep();
  for (let i = 0; i < rounds; i++) {
    const before = tally.violations.length;
    ledger.settle(settled.values());
    try {
      await round();
      const now = await pair.inStep();
      await pair.noPartialFile(ledger, () => false);
      await pair.nothingLost(ledger, settled, now);
      pair.checkRevisions();
      settled = now;
    } catch (thrown) {
      tally.violate(`${thrown instanceof Error ? thrown.stack : thrown}\n${pair.a.log.slice(-3000)}`);
    }
    tally.count('rounds');
    for (let at = before; at < tally.violations.length; at++)
      tally.violations[at] = `${what}, seed ${seed}, round ${i + 1}: ${tally.violations[at]}`;
    if (tally.violations.length > before) return;
  }
}

/** The agent says that something is wrong, or everything worked nevertheless. */
async function told({ pair }: Setting, codes: RegExp): Promise<void> {
  const deadline = Date.now() + 20_000;
  for (;;) {
    const status = await statusOf(pair.a);
    if (status.problems.some(({ code }) => codes.test(code))) {
      pair.tally.count('faults met');
      pair.tally.count('faults told');
      return;
    }
    if (typeof (await pair.look()) !== 'string') return;
    if (Date.now() > deadline) {
      pair.tally.violate(`20 s with a fault and nothing is told: ${pair.explain()}`);
      return;
    }
    await pause(50);
  }
}

export const SMALL_DISK: PeerNeeds = { programs: ['mount', 'umount'], root: true };

const SIZE = 48 * 2 ** 20;
const INODES = 600;
/** `no_room`: there is some left, and it is the reserve. */
const NO_SPACE = /no_space|no_room|disk_full|write_failed|files\.failed|io$/;

/** State and share of A on a tmpfs that is filled to a few pages or inodes, and made room on again. */
export async function runFullDisk(scene: Scene, tally: Tally, rounds: Rounds): Promise<void> {
  const random = seeded(rounds.seed);
  const home = join(scene.root, 'small');
  mkdirSync(home);
  must('mount', '-t', 'tmpfs', '-o', `size=${SIZE},nr_inodes=${INODES}`, 'none', home);
  const setting = await openSetting(scene, tally, random, home);
  const ballast = join(home, 'ballast');
  await eachRound(setting, 'a full disk', rounds, async () => {
    const { pair, owners } = setting;
    mkdirSync(ballast);
    if (random.chance(0.5)) fillBytes(home, ballast, random.below(40));
    else fillInodes(home, ballast, random.below(4));
    for (let i = 0; i < 4; i++) owners[1].act();
    owners[1].create(`/large ${tally.of('rounds')}`, true);
    await told(setting, NO_SPACE);
    if (random.chance(0.4)) {
      await pair.a.end('SIGKILL');
      await tryToStart(setting);
    }
    rmSync(ballast, { recursive: true });
    await startIfDead(setting);
  });
}

/** Leaves so many pages of 4 KiB. */
function fillBytes(home: string, ballast: string, pages: number): void {
  const { bavail, bsize } = statfsSync(home);
  try {
    writeFileSync(join(ballast, 'bytes'), Buffer.alloc(Math.max(0, (bavail - pages) * bsize)));
  } catch (thrown) {
    // The agent has written meanwhile: then nothing is left.
    if ((thrown as NodeJS.ErrnoException).code !== 'ENOSPC') throw thrown;
  }
}

function fillInodes(home: string, ballast: string, left: number): void {
  for (let i = 0; statfsSync(home).ffree > left; i++) writeFileSync(join(ballast, String(i)), '');
}

/** On a disk that refuses: it may decline, with a reason, but must not do any harm. */
async function tryToStart({ pair }: Setting): Promise<void> {
  try {
    await pair.a.start();
    pair.tally.count('restarts');
  } catch {
    pair.tally.count('starts declined');
    if (!/skylark run: \S/.test(pair.a.log))
      pair.tally.violate(`it did not say why it can't start: ${pair.a.log}`);
    await pair.a.end('SIGKILL');
  }
}

async function startIfDead({ pair }: Setting): Promise<void> {
  if (await statusOf(pair.a).then(Boolean, () => false)) return;
  await pair.a.end('SIGKILL');
  await pair.a.start();
  pair.tally.count('restarts');
}

export const SICK_DISK: PeerNeeds = {
  ...DISK_NEEDS,
  programs: [...DISK_NEEDS.programs, 'nbdkit', 'nbdfuse', 'e2fsck'],
};

/** State and share of A on ext4 on a device whose writes fail with EIO for a while. */
export async function runSickDisk(scene: Scene, tally: Tally, rounds: Rounds): Promise<void> {
  const random = seeded(rounds.seed);
  const trigger = join(scene.root, 'sick');
  const device = join(scene.root, 'device');
  mkdirSync(device);
  const server = ['nbdkit', '-s', '--exit-with-parent', '--filter=error', 'memory', '96M'];
  const failing = ['error-pwrite=EIO', 'error-pwrite-rate=100%', `error-pwrite-file=${trigger}`];
  const ending = { after: (work: () => Promise<void>) => scene.defer(work) };
  startProgram(ending, 'nbdfuse', [device, '--command', ...server, ...failing]);
  for (let tries = 0; !existsSync(join(device, 'nbd')); tries++) {
    if (tries > 200) throw new Error('nbdfuse does not come up');
    await pause(20);
  }
  const disk = openExt4(scene, 'disk', { image: join(device, 'nbd') });
  const setting = await openSetting(scene, tally, random, disk.path);
  await eachRound(setting, 'a failing device', rounds, async () => {
    const { pair, owners } = setting;
    for (let i = 0; i < random.below(4); i++) owners[1].act();
    writeFileSync(trigger, '');
    for (let i = 0; i < 4; i++) owners[1].act();
    owners[1].create(`/another ${tally.of('rounds')}`, true);
    await told(setting, /files\.|sqlite\.|share\.|state\./);
    rmSync(trigger);
    await pair.a.end('SIGKILL');
    disk.repair();
    await pair.a.start();
    tally.count('restarts');
  });
}

const LIBRARIES = ['fiu_run_preload.so', 'fiu_posix_preload.so'].map((name) => `/usr/lib/fiu/${name}`);

export const FAULTY_LIBRARY: PeerNeeds = {
  programs: ['fiu-ctrl'],
  also: () => (LIBRARIES.every((path) => existsSync(path)) ? undefined : 'libfiu is not installed'),
};

/** libfiu's names of what fails, with the errors that it may fail with (EIO, ENOSPC). */
const FAILURES: readonly (readonly [string, readonly number[]])[] = [
  ['posix/io/sync/fsync', [5, 28]],
  ['posix/io/sync/fdatasync', [5, 28]],
  ['posix/io/dir/rename', [5, 28]],
  ['posix/io/dir/unlink', [5]],
  ['posix/io/rw/pwrite', [5, 28]],
  // Writes less than it was asked to.
  ['posix/io/rw/pwrite/reduce', [0]],
];

/** A runs on a C library that fails at random, for a while. */
export async function runFaultyLibrary(scene: Scene, tally: Tally, rounds: Rounds): Promise<void> {
  const random = seeded(rounds.seed);
  const home = join(scene.root, 'home');
  mkdirSync(home);
  const setting = await openSetting(scene, tally, random, home);
  const { pair, owners } = setting;
  const control = join(scene.root, 'fiu');
  pair.a.environment = { LD_PRELOAD: LIBRARIES.join(' '), FIU_CTRL_FIFO: control, FIU_ENABLE: '' };
  await pair.a.restart();
  const order = async (command: string) => {
    const ending = { after: (work: () => Promise<void>) => scene.defer(work) };
    const args = ['-f', control, '-c', command, String(pair.a.pid)];
    const { code, output } = await runProgram(ending, 'fiu-ctrl', args);
    if (code !== 0) throw new Error(`fiu-ctrl ${command}: ${output}`);
  };
  await eachRound(setting, 'a failing library', rounds, async () => {
    const [name, errors] = random.of(FAILURES);
    const error = random.of(errors);
    const probability = random.of([0.05, 0.3, 1]);
    await order(`enable_random name=${name},probability=${probability},failinfo=${error}`);
    tally.count(`${name.slice(name.indexOf('/', 6) + 1)} failing`);
    for (let i = 0; i < 6; i++) {
      random.of(owners).act();
      await pause(random.below(150));
    }
    await pause(random.below(600));
    if (random.chance(0.25)) {
      await pair.a.end('SIGKILL');
      await pair.a.start();
      tally.count('restarts');
    } else {
      try {
        await order(`disable name=${name}`);
      } catch (thrown) {
        tally.violate(`the agent ended: ${String(thrown)}`);
        await startIfDead(setting);
      }
    }
  });
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
