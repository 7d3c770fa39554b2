/** The side of the control socket that asks: the command line, and tests. */

import { utf8 } from '../base/bytes.ts';
import { systemClock } from '../base/clock.ts';
import { EXIT, environmentError, peerError, SkylarkError } from '../base/errors.ts';
import { isJsonObject, type JsonObject, jsonObject, parseJson, stringifyJson } from '../base/json.ts';
import type { ByteStream } from '../base/stream.ts';
import { connectUnix } from '../platform/unix-socket.ts';
import type { CommandSpec, StreamSpec } from './command.ts';
import { LineReader } from './lines.ts';
import {
  type AgentEvent,
  agentEvent,
  CONTROL_PROTOCOL,
  failure,
  type Greeting,
  greeting,
  NOT_UNDERSTOOD,
  SUBSCRIBE,
} from './messages.ts';

/** Answers hold whole lists. */
const LONGEST_LINE = 67_108_864;
/** A daemon that runs greets at once. */
const GREETING_MS = 5_000;

export interface ControlClient {
  readonly greeting: Greeting;
  /**
   * One command and its answer. Calls may overlap: they are sent at once and answered in order.
   * @throws SkylarkError as the daemon answered, with its code, remedy and exit code; `control.connection_lost`,
   *   `control.not_understood` (the daemon is of another version).
   */
  request<Request, Answer>(spec: CommandSpec<Request, Answer>, value: Request): Promise<Answer>;
  /**
   * A command that tells something before its answer, which the generator returns. Not beside other requests; leaving it
   * early leaves the connection of no use but to be closed, which ends the work.
   * @throws as `request`.
   */
  stream<Request, Item, Answer>(
    spec: StreamSpec<Request, Item, Answer>,
    value: Request,
  ): AsyncGenerator<Item, Answer, void>;
  /** Events from now on, until the signal aborts or the daemon ends. No requests after it. */
  events(signal: AbortSignal): AsyncIterable<AgentEvent>;
  close(): Promise<void>;
}

/**
 * @param path of the socket: `control` in the state folder.
 * @throws SkylarkError (environment) `control.not_running` (exit code 69), `net.not_permitted` (77), `control.silent`,
 *   `control.other_protocol`; or the signal's reason.
 */
export async function connectControl(path: string, signal?: AbortSignal): Promise<ControlClient> {
  const stream = await connectUnix(path, { signal }).catch((thrown: unknown) => {
    if (!(thrown instanceof SkylarkError && thrown.code === 'net.refused')) throw thrown;
    throw environmentError('control.not_running', 'the daemon is not running', {
      remedy: "start it with 'skylark run', or name its state folder with --state",
      exitCode: EXIT.daemonNotRunning,
      cause: thrown,
    });
  });
  const onAbort = () => stream.abort(signal?.reason);
  signal?.addEventListener('abort', onAbort, { once: true });
  const client = new Client(stream, () => signal?.removeEventListener('abort', onAbort));
  const timer = systemClock.after(GREETING_MS, () =>
    stream.abort(
      environmentError('control.silent', 'the daemon does not answer', { exitCode: EXIT.tryAgain }),
    ),
  );
  try {
    await client.greet();
    return client;
  } catch (thrown) {
    await client.close();
    throw thrown;
  } finally {
    timer.cancel();
  }
}

class Client implements ControlClient {
  readonly #stream: ByteStream;
  readonly #lines: LineReader;
  readonly #onClose: () => void;
  /** The answer to the last command sent; the next one comes after it. */
  #lastAnswer: Promise<unknown> = Promise.resolve();
  #greeting: Greeting | undefined;

  constructor(stream: ByteStream, onClose: () => void) {
    this.#stream = stream;
    this.#lines = new LineReader(stream, LONGEST_LINE);
    this.#onClose = onClose;
  }

  get greeting(): Greeting {
    if (this.#greeting === undefined) throw environmentError('control.silent', 'the daemon did not greet');
    return this.#greeting;
  }

  async greet(): Promise<void> {
    const json = await this.#receive();
    try {
      this.#greeting = greeting.decode(json);
    } catch (cause) {
      throw otherProtocol(cause);
    }
    if (this.#greeting.protocol !== CONTROL_PROTOCOL) throw otherProtocol(undefined);
  }

  request<Request, Answer>(spec: CommandSpec<Request, Answer>, value: Request): Promise<Answer> {
    const json = jsonObject([['type', spec.type], ...Object.entries(spec.request.encode(value))]);
    const sent = this.#stream.write(utf8(`${stringifyJson(json)}\n`));
    // That it could not be sent shows when its answer is waited for.
    sent.catch(() => {});
    const answer = this.#lastAnswer
      .catch(() => {})
      .then(async () => {
        await sent;
        return this.#answer(spec);
      });
    this.#lastAnswer = answer.catch(() => {});
    return answer;
  }

  async *stream<Request, Item, Answer>(
    spec: StreamSpec<Request, Item, Answer>,
    value: Request,
  ): AsyncGenerator<Item, Answer, void> {
    await this.#lastAnswer;
    const json = jsonObject([['type', spec.type], ...Object.entries(spec.request.encode(value))]);
    await this.#stream.write(utf8(`${stringifyJson(json)}\n`));
    for (;;) {
      const answer = await this.#receive();
      if (answer.more === undefined) return this.#decoded(spec, answer);
      yield spec.item.decode(answer.more, spec.type);
    }
  }

  async *events(signal: AbortSignal): AsyncIterable<AgentEvent> {
    await this.request(SUBSCRIBE, {});
    const onAbort = () => this.#stream.abort(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      while (!signal.aborted) yield agentEvent.decode(await this.#receive());
    } catch (thrown) {
      if (!signal.aborted) throw thrown;
    } finally {
      signal.removeEventListener('abort', onAbort);
      await this.close();
    }
  }

  async close(): Promise<void> {
    this.#onClose();
    await this.#stream.close();
    this.#stream.abort(environmentError('control.closed', 'the connection to the daemon was closed'));
  }

  async #answer<Request, Answer>(spec: CommandSpec<Request, Answer>): Promise<Answer> {
    return this.#decoded(spec, await this.#receive());
  }

  #decoded<Request, Answer>(spec: CommandSpec<Request, Answer>, json: JsonObject): Answer {
    if (json.error !== undefined) throw answeredError(failure.decode(json), spec.type);
    return spec.answer.decode(json, spec.type);
  }

  async #receive(): Promise<JsonObject> {
    let line: string | null;
    try {
      line = await this.#lines.next();
    } catch (thrown) {
      if (thrown instanceof SkylarkError && thrown.code === 'net.connection_lost') throw lost(thrown);
      throw thrown;
    }
    if (line === null) throw lost(undefined);
    const json = parseJson(line);
    if (!isJsonObject(json))
      throw peerError('control.not_an_object', 'the daemon sent something that is no answer');
    return json;
  }
}

function answeredError(answer: ReturnType<typeof failure.decode>, type: string): SkylarkError {
  const { error, message = error, remedy, fault = 'environment', exitCode } = answer;
  if (error === NOT_UNDERSTOOD) {
    return environmentError('control.not_understood', `the daemon does not understand ${type}: ${message}`, {
      remedy: 'it is of another version than this program: restart it',
    });
  }
  return new SkylarkError(fault, error, message, {
    ...(remedy === undefined ? {} : { remedy }),
    ...(exitCode === undefined ? {} : { exitCode }),
  });
}

function otherProtocol(cause: unknown): SkylarkError {
  return environmentError(
    'control.other_protocol',
    'what answers on the control socket speaks another protocol',
    {
      remedy: 'it may be of another version than this program: restart it',
      cause,
    },
  );
}

function lost(cause: unknown): SkylarkError {
  return environmentError('control.connection_lost', 'the daemon ended before it answered', {
    remedy: 'look at its log',
    exitCode: EXIT.daemonNotRunning,
    cause,
  });
}
