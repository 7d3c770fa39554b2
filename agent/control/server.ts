/**
 * The daemon's side of the control socket (control.md; messages.ts). Whoever can open the socket is the owner: its permissions are
 * 0600. Still nothing that comes in can exhaust the daemon: a command at a time for each client, lines and clients bounded, a
 * client that does not read is not answered further.
 */

import { utf8 } from '../base/bytes.ts';
import { systemClock } from '../base/clock.ts';
import { asError, EXIT, environmentError, internalError, peerError, SkylarkError } from '../base/errors.ts';
import { isJsonObject, type JsonObject, jsonObject, parseJson, stringifyJson } from '../base/json.ts';
import type { Logger } from '../base/log.ts';
import { printable } from '../base/printable.ts';
import type { ByteStream } from '../base/stream.ts';
import { listenUnix } from '../platform/unix-socket.ts';
import type { CommandSpec } from './command.ts';
import type { EventFeed } from './event-feed.ts';
import { LineReader } from './lines.ts';
import {
  type Answers,
  agentEvent,
  COMMANDS,
  CONTROL_PROTOCOL,
  CONTROL_SERVICE,
  type CommandName,
  failure,
  greeting,
  NOT_UNDERSTOOD,
  type Requests,
  SUBSCRIBE,
} from './messages.ts';
import { type AgentStreams, decodeRequest, openStreams, type RunningStream } from './streams.ts';

/**
 * What the socket controls: one function for each command. What one throws is the answer; a SkylarkError's code and message are
 * told to the client, so they must hold no secrets. `stop` resolves when the stopping has begun: its end closes this server,
 * which waits for the answer.
 */
export type ControlledAgent = AgentCommands & AgentStreams;

type AgentCommands = {
  readonly [K in CommandName]: (request: Requests[K]) => Promise<Answers[K]>;
};

export interface ControlServerOptions {
  /** Of the socket. */
  readonly path: string;
  readonly agent: ControlledAgent;
  readonly events: EventFeed;
  /** Name and version, for the greeting: `Skylark 0.1.0`. */
  readonly software: string;
  readonly log: Logger;
}

export interface ControlServer {
  /** Takes no more commands, answers those that run, within a bound, and removes the socket. Idempotent. */
  close(): Promise<void>;
}

/** Bytes in a line of a client. */
const LONGEST_LINE = 1_048_576;
const MAX_CLIENTS = 64;
/** What is read of a client that is sent away. */
const HANGING_UP_BYTES = 67_108_864;
const HANGING_UP_MS = 5_000;
/** A client that reads nothing for so long loses its place, milliseconds. */
const STALLED_MS = 60_000;
/** The same while it is sent a file, which it may be playing. */
const PATIENCE_MS = 3_600_000;
/** Running commands have this long to end when the server closes, milliseconds. */
const CLOSING_MS = 1_000;

/** @throws SkylarkError (environment) `control.in_use` and what `listenUnix` throws. */
export async function openControlServer(options: ControlServerOptions): Promise<ControlServer> {
  const clients = new Set<Client>();
  let closing: Promise<void> | undefined;
  const listener = await listenUnix(
    { path: options.path, mode: 0o600, maxConnections: MAX_CLIENTS },
    (stream) => {
      const client = new Client(stream, options);
      clients.add(client);
      void client.run().finally(() => clients.delete(client));
    },
  ).catch((thrown: unknown) => {
    if (!(thrown instanceof SkylarkError && thrown.code === 'net.socket_taken')) throw thrown;
    throw environmentError('control.in_use', 'another daemon uses this state folder', {
      remedy: "stop it with 'skylark stop', or choose another folder with --state",
      exitCode: EXIT.cannotCreate,
      cause: thrown,
    });
  });
  return {
    close() {
      closing ??= (async () => {
        await listener.close();
        await Promise.all(Array.from(clients, (client) => client.close()));
      })();
      return closing;
    },
  };
}

class Client {
  readonly #stream: ByteStream;
  readonly #options: ControlServerOptions;
  readonly #lines: LineReader;
  readonly #commands: ReadonlyMap<string, (json: JsonObject) => Promise<JsonObject>>;
  readonly #streams: ReturnType<typeof openStreams>;
  readonly #ending = new AbortController();
  #running: Promise<void> | undefined;
  #isBusy = false;

  constructor(stream: ByteStream, options: ControlServerOptions) {
    this.#stream = stream;
    this.#options = options;
    this.#lines = new LineReader(stream, LONGEST_LINE);
    this.#commands = new Map(
      commandNames().map((name) => [COMMANDS[name].type, handlerOf(options.agent, name)]),
    );
    this.#streams = openStreams(options.agent);
  }

  run(): Promise<void> {
    this.#running ??= this.#converse()
      .then(
        () => this.#stream.close(),
        (thrown: unknown) => this.#stream.abort(asError(thrown)),
      )
      .finally(() => this.#ending.abort(gone()));
    return this.#running;
  }

  async close(): Promise<void> {
    const stopping = environmentError('control.stopping', 'the daemon is stopping');
    this.#ending.abort(stopping);
    // What was answered goes out first.
    if (!this.#isBusy) void this.#stream.close().then(() => this.#stream.abort(stopping));
    const tooLate = Promise.withResolvers<void>();
    const timer = systemClock.after(CLOSING_MS, tooLate.resolve);
    // A command that does not end can't keep the daemon from it.
    await Promise.race([this.run(), tooLate.promise]);
    timer.cancel();
    this.#stream.abort(stopping);
  }

  async #converse(): Promise<void> {
    const { software } = this.#options;
    await this.#send(greeting.encode({ service: CONTROL_SERVICE, software, protocol: CONTROL_PROTOCOL }));
    while (!this.#ending.signal.aborted) {
      const json = await this.#nextCommand();
      if (json === null) return;
      if (json === undefined) continue;
      if (json.type === SUBSCRIBE.type) {
        await this.#sendEvents();
        return;
      }
      this.#isBusy = true;
      const stream = this.#streams.get(String(json.type));
      if (stream === undefined) await this.#send(await this.#answer(json));
      else await this.#sendStream(String(json.type), stream(json, this.#ending.signal));
      this.#isBusy = false;
    }
  }

  /** Null at the end; undefined for a line that was answered already. */
  async #nextCommand(): Promise<JsonObject | null | undefined> {
    let line: string | null;
    try {
      line = await this.#lines.next();
      if (line === null) return null;
      // Programs that end lines with CR LF, and people who press return.
      if (line.trim() === '') return undefined;
      const json = parseJson(line);
      if (!isJsonObject(json)) throw peerError('control.not_an_object', 'a command is a JSON object');
      return json;
    } catch (thrown) {
      if (!(thrown instanceof SkylarkError && thrown.fault === 'peer')) throw thrown;
      await this.#send(notUnderstood(thrown.message));
      if (thrown.code !== 'line.too_long') return undefined;
      // What follows can't be told from the next command.
      await this.#hangUp();
      return null;
    }
  }

  /** Ends the conversation with a client that still talks: reads on for a while, or it would not see the last answer. */
  async #hangUp(): Promise<void> {
    const abort = () => this.#stream.abort(environmentError('control.hung_up', 'the line was too long'));
    const timer = systemClock.after(HANGING_UP_MS, abort);
    await this.#stream.close();
    for (let skipped = 0; skipped < HANGING_UP_BYTES; ) {
      const bytes = await this.#stream.read().catch(() => null);
      if (bytes === null) break;
      skipped += bytes.length;
    }
    timer.cancel();
    abort();
  }

  async #answer(json: JsonObject): Promise<JsonObject> {
    const { type } = json;
    if (typeof type !== 'string') return notUnderstood('a command has a "type"');
    const handler = this.#commands.get(type);
    if (handler === undefined) return notUnderstood(`there is no command ${printable(type, 100)}`);
    this.#options.log.debug('a command', { type });
    try {
      return await handler(json);
    } catch (thrown) {
      return this.#failed(type, thrown);
    }
  }

  /** What fails is the answer; a client that has gone ends the work. */
  async #sendStream(type: string, items: RunningStream): Promise<void> {
    this.#options.log.debug('a command', { type });
    try {
      for (;;) {
        const step = await items.next().catch((thrown: unknown) => {
          return { done: true, value: this.#failed(type, thrown) } as const;
        });
        if (step.done) return await this.#send(step.value);
        await this.#send(jsonObject([['more', step.value]]), PATIENCE_MS);
      }
    } finally {
      await items[Symbol.asyncDispose]();
    }
  }

  #failed(type: string, thrown: unknown): JsonObject {
    const error =
      thrown instanceof SkylarkError
        ? thrown
        : internalError('internal', asError(thrown).message, { cause: thrown });
    if (error.fault === 'internal') this.#options.log.error('a command failed', { type, error });
    const { code, message, remedy, fault, exitCode } = error;
    return failure.encode({ error: code, message, remedy, fault, exitCode });
  }

  async #sendEvents(): Promise<void> {
    const { signal } = this.#ending;
    const events = this.#options.events.subscribe(signal);
    await this.#send({});
    for await (const event of events) await this.#send(agentEvent.encode(event));
  }

  async #send(json: JsonObject, patience = STALLED_MS): Promise<void> {
    const timer = systemClock.after(patience, () =>
      this.#stream.abort(environmentError('control.stalled', 'the client does not read')),
    );
    try {
      await this.#stream.write(utf8(`${stringifyJson(json)}\n`));
    } finally {
      timer.cancel();
    }
  }
}

function gone(): SkylarkError {
  return environmentError('control.client_gone', 'the client has gone');
}

function commandNames(): CommandName[] {
  return Object.keys(COMMANDS) as CommandName[];
}

const SPECS: { readonly [K in CommandName]: CommandSpec<Requests[K], Answers[K]> } = COMMANDS;

function handlerOf<K extends CommandName>(
  agent: AgentCommands,
  name: K,
): (json: JsonObject) => Promise<JsonObject> {
  const spec: CommandSpec<Requests[K], Answers[K]> = SPECS[name];
  return async (json) => {
    return spec.answer.encode(await agent[name](decodeRequest(spec, json)));
  };
}

/** The error of control.md for everything that is no command. */
function notUnderstood(message: string): JsonObject {
  return failure.encode({ error: NOT_UNDERSTOOD, message });
}
