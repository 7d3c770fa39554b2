/** Real agents as processes, run and asked as a user would: `skylark run`, and the other commands against it. */

import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { stringifyJson } from '../../agent/base/json.ts';
import { connectControl } from '../../agent/control/client.ts';
import { COMMANDS } from '../../agent/control/messages.ts';

/** The program under test; the built binary can be put in its place. */
const SKYLARK =
  process.env.SKYLARK_BINARY ?? fileURLToPath(new URL('../../scripts/skylark', import.meta.url));

export interface CommandResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface StatusDocument {
  readonly name: string;
  readonly listen: readonly string[];
  readonly shares: readonly {
    readonly id: string;
    readonly name: string;
    readonly mode: string;
    readonly files: number;
    readonly pending_files: number;
    readonly eta_s: number | null;
    readonly synced: boolean;
    readonly beside_files: number;
    readonly unwanted_files: number;
    readonly selection: {
      readonly direction: string;
      readonly shallow: boolean;
      readonly only: readonly string[];
      readonly ignore: readonly string[];
    };
    readonly put_right_files: number;
    readonly safe_on: readonly {
      readonly id: string;
      readonly name: string | null;
      readonly connected: boolean;
      readonly since: string;
    }[];
  }[];
  readonly peers: readonly { readonly id: string; readonly connected: boolean; readonly name: string }[];
  readonly holds: readonly { readonly code: string; readonly upload: boolean; readonly download: boolean }[];
  readonly month: { readonly up: number; readonly down: number };
  readonly problems: readonly { readonly code: string; readonly remedy?: string }[];
}

export interface AgentOptions {
  readonly name: string;
  /** Runs inside this network namespace. */
  readonly namespace?: string;
  /** Instead of a folder beside its shares. */
  readonly state?: string;
  /** `--set` values; by default loopback only and no broadcast. */
  readonly settings?: Readonly<Record<string, string>>;
}

/** One agent: a state folder, and at times a process. */
export class TestAgent {
  readonly #root: string;
  readonly #options: AgentOptions;
  #process: ChildProcess | undefined;
  /** Where it accepts connections; another after each start unless configured. */
  listen = '';
  /** The command through which its process is started the next time; it must become the process itself. */
  through: readonly string[] = [];
  /** More arguments of `run`, the next time that it is started. */
  arguments: readonly string[] = [];
  /** Beside our own, the next time that it is started. */
  environment: Readonly<Record<string, string>> = {};
  #log = '';

  constructor(root: string, options: AgentOptions) {
    this.#root = root;
    this.#options = options;
  }

  get name(): string {
    return this.#options.name;
  }
  get state(): string {
    return this.#options.state ?? join(this.#root, 'state');
  }
  /** A folder of this agent's, made when first asked for. */
  folder(name: string): string {
    return join(this.#root, name);
  }
  get pid(): number {
    assert.ok(this.#process?.pid !== undefined, `${this.name} is not running`);
    return this.#process.pid;
  }
  /** All that it said on stderr. */
  get log(): string {
    return this.#log;
  }

  /** The program and the arguments of a command line. */
  argv(args: readonly string[]): [string, string[]] {
    const command = [SKYLARK, ...args];
    const { namespace } = this.#options;
    const whole = namespace === undefined ? command : ['ip', 'netns', 'exec', namespace, ...command];
    return [whole[0]!, whole.slice(1)];
  }

  async start(): Promise<void> {
    await mkdir(this.state, { recursive: true, mode: 0o700 });
    const settings: Record<string, string> = {
      name: this.name,
      ...(this.#options.namespace === undefined ? { listen: '127.0.0.1:0', 'discovery.lan': 'false' } : {}),
      'log.format': 'json',
      // Beside everything else that a test machine does, it would hardly get its turn.
      'manners.priority': 'normal',
      ...this.#options.settings,
    };
    const set = Object.entries(settings).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
    const [program, args] = this.argv(['run', '--state', this.state, ...this.arguments, ...set]);
    const [first = program, ...rest] = [...this.through, program, ...args];
    const child = spawn(first, rest, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...this.environment },
    });
    this.#process = child;
    let stdout = '';
    child.stdout.on('data', (bytes: Buffer) => {
      stdout += bytes.toString();
    });
    await new Promise<void>((resolve, reject) => {
      const onExit = (code: number | null) =>
        reject(new Error(`${this.name} ended with ${code}:\n${this.#log}`));
      child.once('exit', onExit);
      child.stderr.setEncoding('utf8').on('data', (text: string) => {
        this.#log += text;
        const ready = /^.*"message":"ready".*$/m.exec(this.#log);
        if (ready === null) return;
        child.off('exit', onExit);
        const { fields } = JSON.parse(ready[0]) as { fields: { listen: string } };
        this.listen = fields.listen;
        resolve();
      });
    });
    assert.equal(stdout, '', 'the daemon prints nothing on stdout');
  }

  /** Ends the process with a signal and waits for its end. */
  async end(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    const child = this.#process;
    if (child === undefined) return null;
    this.#process = undefined;
    if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
    const ended = once(child, 'exit');
    child.kill(signal);
    await ended;
    this.#log = '';
    return child.exitCode;
  }

  async restart(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    await this.end(signal);
    await this.start();
  }

  /** Runs a command against this agent's state folder; never rejects. */
  command(...args: readonly string[]): Promise<CommandResult> {
    const [program, argv] = this.argv([...args, '--state', this.state]);
    return new Promise((resolve) => {
      execFile(program, argv, { maxBuffer: 64 * 2 ** 20, timeout: 90_000 }, (error, stdout, stderr) => {
        const exitCode = error === null ? 0 : typeof error.code === 'number' ? error.code : -1;
        resolve({ exitCode, stdout, stderr });
      });
    });
  }

  /** As `command`, but must succeed; returns stdout. */
  async run(...args: readonly string[]): Promise<string> {
    const { exitCode, stdout, stderr } = await this.command(...args);
    assert.equal(exitCode, 0, `${this.name}: skylark ${args.join(' ')}: ${stderr}`);
    return stdout;
  }

  /** What `skylark status --json` prints, without the start of a program for it: tests ask often. */
  async status(): Promise<StatusDocument> {
    const client = await connectControl(join(this.state, 'control'));
    try {
      const status = await client.request(COMMANDS.fullStatus, {});
      return JSON.parse(stringifyJson(COMMANDS.fullStatus.answer.encode(status))) as StatusDocument;
    } finally {
      await client.close();
    }
  }

  async code(share: string, ...options: readonly string[]): Promise<string> {
    return (JSON.parse(await this.run('code', share, '--json', ...options)) as { code: string }).code;
  }
}

/** Agents in one temporary folder; ended and removed with the test. */
export async function agentsFor(t: TestContext, ...options: readonly AgentOptions[]): Promise<TestAgent[]> {
  const root = await mkdtemp(join(tmpdir(), 'skylark-e2e-'));
  const agents = options.map((each) => new TestAgent(join(root, each.name), each));
  t.after(async () => {
    for (const agent of agents) await agent.end('SIGKILL');
    await rm(root, { recursive: true, force: true });
  });
  for (const agent of agents) await agent.start();
  return agents;
}

export interface ShareWish {
  readonly share?: string;
  readonly mode?: string;
}

/** `first` shares a folder, `second` joins it by code at the address of `first`. Returns both folders. */
export function joined(first: TestAgent, second: TestAgent, wish: ShareWish = {}): Promise<[string, string]> {
  return joinWith(first, second, wish, ['--peer', first.listen]);
}

/** As `joined`, but they must find each other. */
export function joinedByBroadcast(
  first: TestAgent,
  second: TestAgent,
  wish: ShareWish = {},
): Promise<[string, string]> {
  return joinWith(first, second, wish, []);
}

async function joinWith(
  first: TestAgent,
  second: TestAgent,
  { share = 'Music', mode = 'read_write' }: ShareWish,
  where: readonly string[],
): Promise<[string, string]> {
  const from = first.folder(share);
  const to = second.folder(share);
  if (!(await first.status()).shares.some(({ name }) => name === share)) {
    await mkdir(from, { recursive: true });
    await first.run('share', from, '--name', share);
  }
  const code = await first.code(share, '--mode', mode);
  await mkdir(to, { recursive: true });
  await second.run('join', code, to, '--name', share, ...where);
  return [from, to];
}
