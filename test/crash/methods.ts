/** Every way in which an agent is made to crash here, in a short and a long form: for the tests, and for the report. */

import type { PeerNeeds } from '../support/peers.ts';
import { CALLS, FaultyAgent, type Sequence, STRACE } from './call-faults.ts';
import {
  FAULTY_LIBRARY,
  runFaultyLibrary,
  runFullDisk,
  runSickDisk,
  SICK_DISK,
  SMALL_DISK,
} from './disk-faults.ts';
import { DISK_NEEDS } from './ext4-disk.ts';
import type { Tally } from './pair.ts';
import { runPowerCuts } from './power-cuts.ts';
import { Scene } from './scene.ts';

export interface Method {
  readonly name: string;
  readonly needs: PeerNeeds;
  /** Milliseconds that the long form may take at most. */
  readonly timeout: number;
  run(tally: Tally, seed: number, isLong: boolean): Promise<void>;
}

const MINUTE = 60_000;
const SEQUENCES: readonly Sequence[] = ['received', 'noticed'];

/** Everything of one run is removed at its end, whatever that is. */
async function inScene(work: (scene: Scene) => Promise<void>): Promise<void> {
  const scene = new Scene();
  try {
    await work(scene);
  } finally {
    await scene.close();
  }
}

export const METHODS: readonly Method[] = [
  {
    name: 'power cuts',
    needs: DISK_NEEDS,
    timeout: 60 * MINUTE,
    async run(tally, seed, isLong) {
      const sessions = isLong ? 20 : 1;
      for (let session = 0; session < sessions; session++)
        await inScene((scene) => runPowerCuts(scene, tally, { seed: seed + session, cuts: isLong ? 10 : 3 }));
    },
  },
  {
    name: 'failing system calls',
    needs: STRACE,
    timeout: 120 * MINUTE,
    async run(tally, seed, isLong) {
      await inScene(async (scene) => {
        const agent = await FaultyAgent.open(scene, tally);
        if (!isLong) {
          const to = 1 + (seed % 2);
          await agent.sweep({ call: 'link', fault: 'signal=SIGKILL', sequence: 'received', from: to, to });
          await agent.sweep({ call: 'fsync', fault: 'error=EIO', sequence: 'noticed', from: to, to });
          return;
        }
        for (const [call, faults] of Object.entries(CALLS))
          for (const fault of faults) {
            // A commit writes many pages, one like the other.
            const step = call === 'pwrite64' ? 5 : call === 'openat' ? 3 : 1;
            for (const sequence of SEQUENCES) await agent.sweep({ call, fault, sequence, step });
          }
      });
    },
  },
  {
    name: 'system calls that fail at the start',
    needs: STRACE,
    timeout: 60 * MINUTE,
    async run(tally, seed, isLong) {
      await inScene(async (scene) => {
        const agent = await FaultyAgent.open(scene, tally);
        if (!isLong) {
          const to = 1 + (seed % 2);
          await agent.sweepStart({ call: 'fsync', fault: 'signal=SIGKILL', from: to, to });
          return;
        }
        for (const call of ['openat', 'pwrite64', 'fsync', 'rename', 'ftruncate', 'unlink'])
          for (const fault of ['error=EIO', 'error=ENOSPC', 'signal=SIGKILL'] as const)
            await agent.sweepStart({ call, fault, step: call === 'pwrite64' ? 5 : 1 });
      });
    },
  },
  {
    name: 'full disks',
    needs: SMALL_DISK,
    timeout: 30 * MINUTE,
    run: (tally, seed, isLong) =>
      inScene((scene) => runFullDisk(scene, tally, { seed, rounds: isLong ? 25 : 1 })),
  },
  {
    name: 'failing block device',
    needs: SICK_DISK,
    timeout: 30 * MINUTE,
    run: (tally, seed, isLong) =>
      inScene((scene) => runSickDisk(scene, tally, { seed, rounds: isLong ? 20 : 1 })),
  },
  {
    name: 'failing C library',
    needs: FAULTY_LIBRARY,
    timeout: 60 * MINUTE,
    run: (tally, seed, isLong) =>
      inScene((scene) => runFaultyLibrary(scene, tally, { seed, rounds: isLong ? 60 : 1 })),
  },
];
