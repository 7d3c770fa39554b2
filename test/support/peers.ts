/** Other people's programs as peers: found or skipped visibly, started, watched line by line, and always ended. */

import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { type TestContext, type TestOptions, test } from 'node:test';

export interface PeerNeeds {
  /** Programs that must be on the PATH. */
  readonly programs: readonly string[];
  /** Needs root, for network namespaces and mounts. */
  readonly root?: boolean;
  /** What else is missing; undefined: nothing. */
  readonly also?: () => string | undefined;
  /** Milliseconds for the whole test. Default 60,000. */
  readonly timeout?: number;
}

/**
 * A test against real peers. Without them it is skipped, and says what is missing; with SKYLARK_REQUIRE_PEERS=1 it fails.
 */
export function peerTest(
  name: string,
  needs: PeerNeeds,
  run: (t: TestContext) => Promise<void> | void,
): void {
  const missing = missingOf(needs);
  const options: TestOptions = { timeout: needs.timeout ?? 60_000 };
  if (missing === undefined) {
    void test(name, options, async (t) => {
      await run(t);
    });
  } else if (process.env.SKYLARK_REQUIRE_PEERS === '1') {
    void test(name, options, () => {
      throw new Error(`SKYLARK_REQUIRE_PEERS is set, but ${missing}`);
    });
  } else {
    void test(name, { ...options, skip: missing }, () => {});
  }
}

/** What keeps a test from running here, in words; undefined: nothing. */
export function missingOf(needs: PeerNeeds): string | undefined {
  for (const program of needs.programs) {
    if (findProgram(program) === undefined) return `${program} is not installed`;
  }
  if (needs.root && process.getuid?.() !== 0) return 'this test needs root';
  return needs.also?.();
}

/** Debian keeps `ip` and daemons outside a user's PATH. */
const SYSTEM_FOLDERS = ['/usr/sbin', '/sbin'];

export function findProgram(program: string): string | undefined {
  const folders = (process.env.PATH ?? '').split(delimiter).concat(SYSTEM_FOLDERS);
  return folders.map((folder) => join(folder, program)).find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface ProgramOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** How much of a program's output is kept. */
const KEPT_OUTPUT = 4 * 1024 * 1024;

/** All programs that run, so that none outlives the test process, however it ends. */
const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** A program under a test: its output (stdout and stderr together) and its end. */
export class Program {
  readonly #child: ChildProcess;
  readonly #name: string;
  #output = '';
  #wakeAll: (() => void)[] = [];
  #exit: Exit | undefined;
  /** Resolves when the program has ended and its output is complete. */
  readonly exited: Promise<Exit>;

  constructor(child: ChildProcess, name: string) {
    this.#child = child;
    this.#name = name;
    const seen = (piece: Buffer) => {
      this.#output = (this.#output + piece.toString('latin1')).slice(-KEPT_OUTPUT);
      this.#wake();
    };
    child.stdout?.on('data', seen);
    child.stderr?.on('data', seen);
    // A program that ends before it has read everything is judged by its exit.
    child.stdin?.on('error', () => {});
    const { promise, resolve } = Promise.withResolvers<Exit>();
    this.exited = promise;
    const ended = (exit: Exit) => {
      running.delete(child);
      this.#exit ??= exit;
      this.#wake();
      resolve(this.#exit);
    };
    child.on('error', (error) => {
      this.#output += `\n${error.message}\n`;
      ended({ code: null, signal: null });
    });
    child.on('close', (code, signal) => ended({ code, signal }));
  }

  get pid(): number {
    if (this.#child.pid === undefined) throw new Error(`${this.#name} did not start: ${this.#output}`);
    return this.#child.pid;
  }

  /** Each byte is one character (Latin 1), so that binary data survives. */
  get output(): string {
    return this.#output;
  }

  /**
   * Waits until the output matches.
   * @throws if the program ends, or `timeoutMs` passes, before that; with the output so far.
   */
  async waitFor(pattern: RegExp, timeoutMs = 20_000): Promise<RegExpMatchArray> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const match = this.#output.match(pattern);
      if (match !== null) return match;
      const left = deadline - performance.now();
      if (this.#exit !== undefined || left <= 0) {
        const what = this.#exit === undefined ? 'did not say' : 'ended before it said';
        throw new Error(`${this.#name} ${what} ${pattern}:\n${this.#output}`);
      }
      await this.#change(left);
    }
  }

  /** To its standard input. */
  write(data: string | Uint8Array): void {
    this.#child.stdin?.write(data);
  }

  /** Ends its standard input. */
  endInput(): void {
    this.#child.stdin?.end();
  }

  /** Asks it to end, and makes it end if it does not within two seconds. */
  async end(signal: NodeJS.Signals = 'SIGTERM'): Promise<Exit> {
    if (this.#exit === undefined) this.#child.kill(signal);
    const force = setTimeout(() => this.#child.kill('SIGKILL'), 2000);
    const exit = await this.exited;
    clearTimeout(force);
    return exit;
  }

  #change(withinMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, withinMs);
      this.#wakeAll.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  #wake(): void {
    for (const wake of this.#wakeAll.splice(0)) wake();
  }
}

/** Starts a program that is ended, by its PID, when the test is over. */
export function startProgram(
  t: Pick<TestContext, 'after'>,
  program: string,
  args: readonly string[],
  options: ProgramOptions = {},
): Program {
  const child = spawn(findProgram(program) ?? program, args, {
    cwd: options.cwd,
    env: { ...process.env, ...options.env },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  running.add(child);
  const started = new Program(child, program);
  t.after(async () => {
    await started.end();
  });
  return started;
}

/** Runs a program to its end. */
export async function runProgram(
  t: Pick<TestContext, 'after'>,
  program: string,
  args: readonly string[],
  options: ProgramOptions & { readonly input?: string | Uint8Array } = {},
): Promise<Exit & { readonly output: string }> {
  const started = startProgram(t, program, args, options);
  if (options.input !== undefined) started.write(options.input);
  started.endInput();
  const exit = await started.exited;
  return { ...exit, output: started.output };
}

/**
 * Starts a program in a network of its own, which has nothing but a loopback and goes away with the program. Needs root
 * and the programs of `ISOLATION`. Others can join it by `programInNetworkOf`.
 */
export function startIsolated(
  t: TestContext,
  program: string,
  args: readonly string[],
  options: ProgramOptions = {},
): Program {
  // Each step replaces the one before, so the PID stays that of the program itself.
  const script = `${findProgram('ip') ?? 'ip'} link set lo up && exec "$0" "$@"`;
  return startProgram(
    t,
    'unshare',
    ['--net', 'sh', '-c', script, findProgram(program) ?? program, ...args],
    options,
  );
}

/** Starts a program in the network of one that `startIsolated` started. */
export function programInNetworkOf(
  t: TestContext,
  owner: Program,
  program: string,
  args: readonly string[],
  options: ProgramOptions = {},
): Program {
  const target = ['--target', String(owner.pid), '--net', findProgram(program) ?? program, ...args];
  return startProgram(t, 'nsenter', target, options);
}

/** What `startIsolated` and `programInNetworkOf` need. */
export const ISOLATION = ['unshare', 'nsenter', 'ip'] as const;
