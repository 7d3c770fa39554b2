/**
 * Power cuts: two agents, one of them with its state, its share or both on a disk that loses power at a random moment of
 * random work on both sides.
 */

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { type Ext4Disk, openExt4 } from './ext4-disk.ts';
import { Ledger } from './ledger.ts';
import { Owner } from './owner.ts';
import { openPair, type Pair, type Tally } from './pair.ts';
import { type Random, seeded } from './random.ts';
import type { Scene } from './scene.ts';

/** What of A is on the disk that loses power. */
const LAYOUTS = ['state and share', 'share', 'state'] as const;
type Layout = (typeof LAYOUTS)[number];

/**
 * `noauto_da_alloc`: without ext4's own precautions for programs that rename without flushing. `data=writeback`: a name may
 * last longer than its contents. `commit=1`: what is not flushed lasts sooner, and so more mixtures occur.
 */
const MOUNTS = ['', 'noauto_da_alloc', 'noauto_da_alloc,commit=1', 'data=writeback,noauto_da_alloc'] as const;

export interface PowerCuts {
  readonly cuts: number;
  readonly seed: number;
  readonly layout?: Layout;
}

/** A session: one disk, one pair, several cuts. Which layout and mount, the seed says. */
export async function runPowerCuts(scene: Scene, tally: Tally, options: PowerCuts): Promise<void> {
  const random = seeded(options.seed);
  const layout = options.layout ?? random.of(LAYOUTS);
  const mount = random.of(MOUNTS);
  const where = `seed ${options.seed}, ${layout} on the disk, mounted ${mount === '' ? 'as usual' : mount}`;
  const name = `session ${options.seed}`;
  const base = join(scene.root, name);
  mkdirSync(base);
  const disk = openExt4(scene, join(name, 'disk'), mount === '' ? {} : { options: mount });
  const pair = await openPair(scene, name, tally, {
    state: join(layout === 'share' ? base : disk.path, 'a', 'state'),
    share: join(layout === 'state' ? base : disk.path, 'a'),
  });
  const ledger = new Ledger();
  const isShareThere = layout !== 'state';
  const shared = { ledger, random };
  const owners = [
    new Owner({
      ...shared,
      name: 'a',
      folder: pair.left,
      desk: join(isShareThere ? disk.path : base, 'a', 'desk'),
      flushed: isShareThere ? 0.6 : 1,
    }),
    new Owner({ ...shared, name: 'b', folder: pair.right, desk: join(base, 'b', 'desk'), flushed: 1 }),
  ] as const;
  const session: Session = { random, disk, pair, ledger, owners };
  let settled = await pair.inStep();
  for (let round = 0; round < options.cuts; round++) {
    const before = tally.violations.length;
    try {
      settled = await oneCut(session, settled);
    } catch (thrown) {
      tally.violate(`${thrown instanceof Error ? thrown.stack : thrown}\n${pair.a.log.slice(-3000)}`);
    }
    tally.violations.splice(
      before,
      Infinity,
      ...tally.violations.slice(before).map((what) => `cut ${round + 1} (${where}): ${what}`),
    );
    if (tally.violations.length > before) return;
  }
}

interface Session {
  readonly random: Random;
  readonly disk: Ext4Disk;
  readonly pair: Pair;
  readonly ledger: Ledger;
  readonly owners: readonly [Owner, Owner];
}

async function oneCut(session: Session, settled: ReadonlyMap<string, string>): Promise<Map<string, string>> {
  const { random, pair, ledger, owners } = session;
  const { tally } = pair;
  ledger.settle(settled.values());
  let known: ReadonlyMap<string, string> = settled;
  const isAtRest = random.chance(0.25);
  const changes = random.below(12);
  for (let change = 0; change < changes; change++) {
    random.of(owners).act();
    if (random.chance(0.5)) await pause(random.below(60));
  }
  tally.count('changes by owners', changes);
  if (isAtRest) {
    // What both say that they have is theirs to keep, whether its writer had flushed it or not.
    const shown = await pair.inStep();
    known = ledger.certain(shown);
    ledger.settle(shown.values());
    tally.count('cuts at rest');
  } else await pause(random.below(400));
  await loseThePower(session);
  tally.count('power cuts');
  await pair.noPartialFile(ledger, (folder, path) => folder === pair.left && ledger.isUncertain('a', path));
  await pair.a.start();
  tally.count('restarts');
  pair.checkRevisions();
  const now = await pair.inStep();
  await pair.noPartialFile(ledger, () => false);
  await pair.nothingLost(ledger, known, now);
  pair.checkRevisions();
  return now;
}

async function loseThePower({ random, disk, pair, owners }: Session): Promise<void> {
  const { a } = pair;
  if (random.chance(0.5)) {
    // Disk and processor stop at the same moment.
    process.kill(a.pid, 'SIGSTOP');
    disk.cut();
  } else {
    // The disk goes first, as when its cable is pulled.
    disk.cut();
    await pause(random.below(150));
    if (random.chance(0.5)) owners[1].act();
    await pause(random.below(150));
  }
  await a.end('SIGKILL');
  disk.restore();
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
