/**
 * A folder of its own for one run of crash tests, and all that must be undone at its end: processes, mounts, loop devices.
 * Undone also when the run fails or is interrupted; what a killed run left behind, the next one removes.
 */

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findProgram } from '../support/peers.ts';

/** Whatever calls back at its end: a test's context. */
export interface Ending {
  after(work: () => Promise<void>): void;
}

const PREFIX = 'skylark-crash-';
const SIGNALS = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const;

const open = new Set<Scene>();
process.on('exit', () => {
  for (const scene of open) scene.abandon();
});
for (const [signal, number] of Object.entries(SIGNALS)) process.on(signal, () => process.exit(128 + number));

export class Scene {
  readonly root: string;
  readonly #undo: (() => Promise<unknown> | unknown)[] = [];

  constructor() {
    removeAbandoned();
    this.root = mkdtempSync(join(tmpdir(), `${PREFIX}${process.pid}-`));
    open.add(this);
  }

  /** To be undone at the end, the last first. What it begins, it must begin synchronously. */
  defer(undo: () => Promise<unknown> | unknown): void {
    this.#undo.push(undo);
  }

  async close(): Promise<void> {
    for (let undo = this.#undo.pop(); undo !== undefined; undo = this.#undo.pop()) await undo();
    this.#remove();
  }

  /** The process ends now: nothing can be waited for. */
  abandon(): void {
    for (let undo = this.#undo.pop(); undo !== undefined; undo = this.#undo.pop()) void undo();
    this.#remove();
  }

  #remove(): void {
    removeFolder(this.root);
    open.delete(this);
  }
}

/** Closed with the test. */
export function openScene(ending: Ending): Scene {
  const scene = new Scene();
  ending.after(() => scene.close());
  return scene;
}

/** Runs a program to its end. @throws with what it said if it fails. */
export function must(program: string, ...args: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(findProgram(program) ?? program, args, {
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${error?.message ?? stderr}`);
  return stdout;
}

/** Mount points below a folder, the deepest first. */
export function mountsBelow(folder: string): string[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => (line.split(' ')[4] ?? '').replaceAll('\\040', ' '))
    .filter((path) => path.startsWith(`${folder}/`))
    .reverse();
}

function removeFolder(folder: string): void {
  for (const path of mountsBelow(folder)) spawnSync(findProgram('umount') ?? 'umount', ['-l', path]);
  if (mountsBelow(folder).length === 0) rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
}

function removeAbandoned(): void {
  for (const name of readdirSync(tmpdir())) {
    const pid = new RegExp(`^${PREFIX}([0-9]+)-`).exec(name)?.[1];
    if (pid === undefined || isAlive(Number(pid))) continue;
    removeFolder(join(tmpdir(), name));
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (thrown) {
    return (thrown as NodeJS.ErrnoException).code === 'EPERM';
  }
}
