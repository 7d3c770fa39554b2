/**
 * The Nth system call fails, or is the last one: short sequences of changes, again and again, with the fault one call later
 * each time, until a sequence is through before it comes to the fault. strace injects it. The calls are such as an agent
 * makes for its state and its shares only; while it starts, they are limited to the paths of its state.
 */

import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type PeerNeeds, startProgram } from '../support/peers.ts';
import { Ledger } from './ledger.ts';
import { Owner } from './owner.ts';
import { openPair, type Pair, type Tally } from './pair.ts';
import { seeded } from './random.ts';
import type { Scene } from './scene.ts';

export const STRACE: PeerNeeds = { programs: ['strace'] };

export type Fault = 'error=EIO' | 'error=ENOSPC' | 'retval=0' | 'signal=SIGKILL';

/** Each file call of the agent with what can befall it. `retval=0` is a write that writes nothing. */
export const CALLS: Readonly<Record<string, readonly Fault[]>> = {
  pwrite64: ['error=EIO', 'error=ENOSPC', 'retval=0', 'signal=SIGKILL'],
  fsync: ['error=EIO', 'error=ENOSPC', 'signal=SIGKILL'],
  link: ['error=EIO', 'error=ENOSPC', 'signal=SIGKILL'],
  rename: ['error=EIO', 'error=ENOSPC', 'signal=SIGKILL'],
  unlink: ['error=EIO', 'signal=SIGKILL'],
  mkdir: ['error=EIO', 'error=ENOSPC', 'signal=SIGKILL'],
  openat: ['error=EIO', 'error=ENOSPC', 'signal=SIGKILL'],
};

/** Three changes: at the other side, to be received; or here, to be noticed. */
export type Sequence = 'received' | 'noticed';

export interface Sweep {
  readonly call: string;
  readonly fault: Fault;
  readonly sequence: Sequence;
  /** The first N, the step from one to the next, and the last at most. */
  readonly from?: number;
  readonly step?: number;
  readonly to?: number;
}

/** One pair, for several sweeps. */
export class FaultyAgent {
  readonly #scene: Scene;
  readonly #pair: Pair;
  readonly #tally: Tally;
  readonly #ledger: Ledger;
  readonly #owners: Readonly<Record<Sequence, Owner>>;
  #settled: ReadonlyMap<string, string>;
  #round = 0;

  private constructor(scene: Scene, pair: Pair, ledger: Ledger, settled: ReadonlyMap<string, string>) {
    this.#scene = scene;
    this.#pair = pair;
    this.#tally = pair.tally;
    this.#ledger = ledger;
    this.#settled = settled;
    const shared = { ledger, random: seeded(1), flushed: 1, largest: 20_000 };
    this.#owners = {
      noticed: new Owner({ ...shared, name: 'a', folder: pair.left, desk: join(scene.root, 'desk a') }),
      received: new Owner({ ...shared, name: 'b', folder: pair.right, desk: join(scene.root, 'desk b') }),
    };
  }

  static async open(scene: Scene, tally: Tally): Promise<FaultyAgent> {
    const places = { state: join(scene.root, 'a', 'state'), share: join(scene.root, 'a') };
    mkdirSync(places.share);
    const pair = await openPair(scene, 'pair', tally, places);
    // Counts are by thread: with fewer of them, the Nth call is more often the same one.
    pair.a.environment = { UV_THREADPOOL_SIZE: '1' };
    await pair.a.restart();
    return new FaultyAgent(scene, pair, new Ledger(), await pair.inStep());
  }

  /** @returns how many sequences met the fault; the next one did not, or `to` was reached. */
  async sweep({ call, fault, sequence, from = 1, step = 1, to = 10_000 }: Sweep): Promise<number> {
    let met = 0;
    for (let nth = from; nth <= to; nth += step) {
      const before = this.#tally.violations.length;
      let isMet = false;
      try {
        isMet = await this.#once(`${call}:${fault}:when=${nth}`, sequence);
      } catch (thrown) {
        this.#tally.violate(
          `${thrown instanceof Error ? thrown.stack : thrown}\n${this.#pair.a.log.slice(-3000)}`,
        );
      }
      for (let i = before; i < this.#tally.violations.length; i++)
        this.#tally.violations[i] = `${call} ${nth}, ${fault}, ${sequence}: ${this.#tally.violations[i]}`;
      if (this.#tally.violations.length > before) {
        await this.#pair.a.restart('SIGKILL');
        this.#settled = await this.#pair.inStep();
        continue;
      }
      if (!isMet) break;
      met += 1;
    }
    return met;
  }

  /**
   * The same while A starts, limited to its state and its share's folder: it may decline to start, with a reason, and starts
   * the next time.
   */
  async sweepStart({
    call,
    fault,
    from = 1,
    step = 1,
    to = 10_000,
  }: Omit<Sweep, 'sequence'>): Promise<number> {
    const { a, left } = this.#pair;
    let met = 0;
    for (let nth = from; nth <= to; nth += step) {
      this.#round += 1;
      // Something that is not noted yet, and something that is to come.
      this.#ledger.settle(this.#settled.values());
      await a.end('SIGKILL');
      this.#owners.noticed.create(`/${this.#round} noticed`, true);
      this.#owners.received.create(`/${this.#round} received`, true);
      const out = join(this.#scene.root, `start ${this.#round}`);
      const files = ['', '-wal', '-shm', '.new'].map((suffix) => join(a.state, `records.db${suffix}`));
      const documents = ['', '.new', '.previous'].map((suffix) => join(a.state, `state.json${suffix}`));
      const paths = [a.state, left, join(left, '.clearskies'), join(left, '.clearskies', 'tmp')];
      const limits = [...files, ...documents, ...paths].flatMap((path) => ['-P', path]);
      const injection = ['-e', `trace=${call}`, '-e', `inject=${call}:${fault}:when=${nth}`];
      // The tracer is a child of the traced: what we started stays the agent.
      a.through = ['strace', '-D', '-f', '-qq', '-o', out, ...limits, ...injection];
      const before = this.#tally.violations.length;
      const isUp = await a.start().then(
        () => true,
        () => false,
      );
      // It may be ready, and come to the fault only then.
      const isDead = !isUp || (await this.#isOver());
      if (!isUp && !fault.includes('SIGKILL') && !/skylark run: \S|"level":"error"/.test(a.log))
        this.#tally.violate(`it did not say why it can't start: ${a.log}`);
      if (isUp && isDead && !fault.includes('SIGKILL')) this.#tally.violate(`it ended: ${a.log}`);
      await a.end('SIGKILL');
      a.through = [];
      const isMet = fault.includes('SIGKILL')
        ? isDead
        : count(readFileSync(out, 'latin1'), /\(INJECTED\)/) > 0;
      this.#tally.count('starts');
      try {
        await a.start();
        this.#tally.count('restarts');
        const now = await this.#pair.inStep();
        await this.#pair.noPartialFile(this.#ledger, () => false);
        await this.#pair.nothingLost(this.#ledger, this.#settled, now);
        this.#pair.checkRevisions();
        this.#settled = now;
      } catch (thrown) {
        this.#tally.violate(`${thrown instanceof Error ? thrown.stack : thrown}\n${a.log.slice(-3000)}`);
      }
      for (let i = before; i < this.#tally.violations.length; i++)
        this.#tally.violations[i] = `start: ${call} ${nth}, ${fault}: ${this.#tally.violations[i]}`;
      if (!isMet || this.#tally.violations.length > before) break;
      met += 1;
      this.#tally.count('faults met');
    }
    return met;
  }

  async #once(injection: string, sequence: Sequence): Promise<boolean> {
    const { a } = this.#pair;
    this.#round += 1;
    this.#ledger.settle(this.#settled.values());
    const owner = this.#owners[sequence];
    owner.create(`/${this.#round} to replace`, true);
    owner.create(`/${this.#round} to remove`, true);
    this.#settled = await this.#pair.inStep();
    this.#ledger.settle(this.#settled.values());
    const out = join(this.#scene.root, `calls ${this.#round}`);
    const args = ['-f', '-o', out, '-e', `trace=${injection.split(':')[0]}`, '-e', `inject=${injection}`];
    const ending = { after: (work: () => Promise<void>) => this.#scene.defer(work) };
    const strace = startProgram(ending, 'strace', [...args, '-p', String(a.pid)]);
    await strace.waitFor(/attached/);
    owner.create(`/${this.#round} folder/new`, true);
    owner.overwrite(`/${this.#round} to replace`, true);
    owner.remove(`/${this.#round} to remove`, true);
    this.#tally.count('sequences');
    const isDead = await this.#isOver();
    const now = isDead ? undefined : await this.#pair.inStep();
    await strace.end('SIGINT');
    const met = count(readFileSync(out, 'latin1'), /\(INJECTED\)|killed by SIGKILL/);
    this.#tally.count('faults met', met === 0 ? 0 : 1);
    if (isDead !== injection.includes('SIGKILL') && (isDead || met > 0))
      this.#tally.violate(isDead ? 'the agent ended' : 'the agent was killed and goes on');
    await this.#pair.noPartialFile(this.#ledger, () => false);
    if (isDead) {
      await a.end('SIGKILL');
      await a.start();
      this.#tally.count('restarts');
    }
    const settled = now ?? (await this.#pair.inStep());
    await this.#pair.noPartialFile(this.#ledger, () => false);
    await this.#pair.nothingLost(this.#ledger, this.#settled, settled);
    this.#pair.checkRevisions();
    this.#settled = settled;
    return met > 0;
  }

  /** Waits until the two are in step, or A has ended: whether it has. */
  async #isOver(): Promise<boolean> {
    const { pid } = this.#pair.a;
    let isGivenUp = false;
    const ended = (async () => {
      while (!isGivenUp && isRunning(pid)) await new Promise((resolve) => setTimeout(resolve, 20));
      return !isGivenUp;
    })();
    const inStep = this.#pair.inStep().then(
      () => false,
      () => false,
    );
    const isDead = await Promise.race([ended, inStep]);
    isGivenUp = true;
    return isDead;
  }
}

function isRunning(pid: number): boolean {
  const path = `/proc/${pid}/stat`;
  if (!existsSync(path)) return false;
  const state = /\) (.) /.exec(readFileSync(path, 'latin1'))?.[1];
  return state !== 'Z' && state !== 'X';
}

function count(text: string, pattern: RegExp): number {
  return text.split('\n').filter((line) => pattern.test(line)).length;
}
