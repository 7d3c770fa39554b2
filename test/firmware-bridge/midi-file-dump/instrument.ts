/** The instrument of `instrument.py`, as a child process: its line, and its player. */

import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { fromHex, toHex } from '../../../agent/base/bytes.ts';

export interface SendOptions {
  readonly name: string;
  /** Four characters. */
  readonly type?: string;
  readonly bytes: Uint8Array;
  /** Packets whose first copy comes damaged, or that come twice. */
  readonly damaged?: readonly number[];
  readonly doubled?: readonly number[];
  /** Another length than the true one. */
  readonly announced?: number;
  /** Packets after which it falls silent. */
  readonly stop_after?: number;
}

export interface Got {
  readonly name: string;
  readonly type: string;
  readonly announced: number;
  readonly bytes: Uint8Array;
}

export class Instrument {
  readonly port: number;
  readonly #child: ChildProcess;
  readonly #answers: AsyncIterator<string>;

  private constructor(child: ChildProcess, answers: AsyncIterator<string>, port: number) {
    this.#child = child;
    this.#answers = answers;
    this.port = port;
  }

  static async start(t: Pick<TestContext, 'after'>): Promise<Instrument> {
    const script = fileURLToPath(new URL('./instrument.py', import.meta.url));
    const child = spawn('python3', [script], { stdio: ['pipe', 'pipe', 'inherit'] });
    t.after(() => void child.kill('SIGKILL'));
    const answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const { value } = await answers.next();
    const { port } = JSON.parse(value ?? '{}') as { port: number };
    return new Instrument(child, answers, port);
  }

  /** Whether the instrument takes its file for stored. */
  async send({ bytes, type = 'MIDI', ...rest }: SendOptions): Promise<boolean> {
    return (await this.#ask({ do: 'send', type, hex: toHex(bytes), ...rest })) === true;
  }

  async receive(options: { readonly refuse_first?: readonly number[] } = {}): Promise<Got | undefined> {
    const got = await this.#ask({ do: 'receive', ...options });
    if (got === null) return undefined;
    const { hex, ...rest } = got as Omit<Got, 'bytes'> & { hex: string };
    return { ...rest, bytes: fromHex(hex) };
  }

  async noise(bytes: Uint8Array): Promise<void> {
    await this.#ask({ do: 'noise', hex: toHex(bytes) });
  }

  async #ask(what: object): Promise<unknown> {
    this.#child.stdin?.write(`${JSON.stringify(what)}\n`);
    const { value } = await this.#answers.next();
    return (JSON.parse(value ?? '{"result":null}') as { result: unknown }).result;
  }
}
