/** A session at work: hands messages to the extensions, keeps the connection alive, ends it. Runs in a browser. */

import type { Clock, Timer } from '../base/clock.ts';
import { asError, environmentError, internalError, SkylarkError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { decode, encode } from '../wire/message.ts';
import type { IncomingMessage, MessageStream, OutgoingMessage } from '../wire/message-stream.ts';
import type { Introduction } from './handshake.ts';
import { coreKeys, corePing, peerCopied } from './messages.ts';
import type { MeteredStream } from './meter.ts';
import type { AccessLevel, AttachedExtension, Extension, PeerIdentity, Session } from './session.ts';

export interface SessionOptions {
  readonly messages: MessageStream;
  /** The stream below the messages. */
  readonly meter: MeteredStream;
  readonly introduction: Introduction;
  /** Our own name for the club. */
  readonly club: string;
  /** Our peer ID. */
  readonly self: string;
  /** Those that the other side has too are attached. */
  readonly extensions: readonly Extension[];
  readonly clock: Clock;
  readonly log: Logger;
  /** What we announce in our pings, seconds. Default 60. */
  readonly timeout?: number | undefined;
  /** A member who may write says that another process goes by our peer ID. */
  readonly onCopied?: (() => void) | undefined;
  /** A message that is being received already. */
  readonly first?: Promise<IncomingMessage | null> | undefined;
}

/** A session with its owner's side. */
export interface RunningSession {
  readonly session: Session;
  /** Resolves, never rejects, when the session has ended and let go of the stream: with the reason, if there was one. */
  readonly ended: Promise<Error | undefined>;
  /** Messages of types that nobody here understands. */
  readonly unknownMessages: number;
}

const DEFAULT_TIMEOUT = 60;
/** Seconds; a shorter one would only make noise, a longer one hold dead connections for ever. */
const MIN_TIMEOUT = 10;
const MAX_TIMEOUT = 3_600;
/** An orderly end waits this long for the last bytes to leave, milliseconds. */
const CLOSING_MS = 2_000;

/** Largest payload of a message that nobody here understands; it is skipped, not kept. */
const MAX_UNKNOWN_PAYLOAD = 67_108_864n;

/** What a peer that was killed, or a cable that was pulled, leaves behind: no rule was broken on purpose. */
const BROKEN_OFF: ReadonlySet<string> = new Set(['channel.truncated', 'wire.truncated']);

/** Most payload bytes for each type of message, with these extensions. */
export function payloadLimits(extensions: () => readonly Extension[]): (type: string) => bigint {
  return (type) => {
    if (type.startsWith('core.')) return 0n;
    const extension = extensionOf(type, extensions());
    if (extension === undefined) return MAX_UNKNOWN_PAYLOAD;
    const limits = extension.payloadLimits;
    return Object.hasOwn(limits, type) ? (limits[type] ?? 0n) : 0n;
  };
}

/** Attaches the extensions and begins to receive. */
export function openSession(options: SessionOptions): RunningSession {
  const session = new LiveSession(options);
  return {
    session,
    ended: session.run(),
    get unknownMessages() {
      return session.unknownMessages;
    },
  };
}

class LiveSession implements Session {
  readonly club: string;
  readonly self: string;
  readonly peer: PeerIdentity;
  readonly level: AccessLevel;
  readonly extensions: ReadonlySet<string>;
  readonly log: Logger;
  unknownMessages = 0;
  readonly #options: SessionOptions;
  readonly #messages: MessageStream;
  readonly #controller = new AbortController();
  readonly #attached = new Map<Extension, AttachedExtension>();
  readonly #ended = Promise.withResolvers<Error | undefined>();
  readonly #timeout: number;
  #theirTimeout = 0;
  /** When our last ping was due, by the monotonic clock. */
  #lastPing = 0;
  #pingTimer: Timer | undefined;
  #silenceTimer: Timer | undefined;
  #pinging = false;
  #keysOffered = false;

  constructor(options: SessionOptions) {
    const { introduction, club, self, log, first } = options;
    // If the session ends before it is waited for, nobody else would hear of its failure.
    first?.catch(() => {});
    this.#options = options;
    this.#messages = options.messages;
    this.#timeout = clampTimeout(options.timeout ?? DEFAULT_TIMEOUT);
    this.club = club;
    this.self = self;
    this.peer = introduction.peer;
    this.level = introduction.level;
    this.extensions = introduction.extensions;
    this.log = log;
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  run(): Promise<Error | undefined> {
    this.#receiveAll().then(
      () => this.#end(undefined),
      (thrown: unknown) => this.#end(asError(thrown)),
    );
    return this.#ended.promise;
  }

  async send(message: OutgoingMessage): Promise<void> {
    this.signal.throwIfAborted();
    try {
      await this.#messages.send(message);
    } catch (thrown) {
      // Why the session ended says more than that the stream is gone.
      this.signal.throwIfAborted();
      throw thrown;
    }
  }

  close(reason: SkylarkError | undefined): void {
    this.#end(reason);
  }

  async #receiveAll(): Promise<void> {
    for (const extension of this.#options.extensions) {
      if (!this.extensions.has(extension.name)) continue;
      const attached = extension.attach(this);
      // An extension may have ended the session while it was being attached.
      if (this.signal.aborted) {
        attached.detach();
        return;
      }
      this.#attached.set(extension, attached);
    }
    this.#ping();
    this.#watchSilence();
    let message = await (this.#options.first ?? this.#messages.receive());
    while (message !== null && !this.signal.aborted) {
      await this.#dispatch(message);
      message = await this.#messages.receive();
    }
  }

  async #dispatch(message: IncomingMessage): Promise<void> {
    if (message.type === corePing.type) {
      const { timeout } = decode(corePing, message);
      this.#theirTimeout = clampTimeout(Number(timeout));
      this.#schedulePing();
      return;
    }
    if (message.type === peerCopied.type) {
      if (this.level === 'read_write') this.#options.onCopied?.();
      return;
    }
    if (message.type === coreKeys.type && !this.#keysOffered) {
      this.#keysOffered = true;
      this.log.warn('the peer offers keys outside of joining: ignored');
    }
    const extension = extensionOf(message.type, this.#options.extensions);
    const attached = extension === undefined ? undefined : this.#attached.get(extension);
    if (attached === undefined) this.unknownMessages += 1;
    else await attached.receive(message);
  }

  /** "A peer should adjust its own timeout to be same as the timeout of its peer if the peer's timeout is greater." Seconds. */
  get #commonTimeout(): number {
    return Math.max(this.#timeout, this.#theirTimeout);
  }

  #ping(): void {
    this.#lastPing = this.#options.clock.monotonic();
    this.#schedulePing();
    // One at a time: while the peer does not read, there is no use in a queue of pings.
    if (this.#pinging) return;
    this.#pinging = true;
    const sent = this.#messages.send({ json: encode(corePing, { timeout: BigInt(this.#timeout) }) });
    sent.then(
      () => {
        this.#pinging = false;
      },
      // The reading side ends the session, and knows why.
      () => {},
    );
  }

  #schedulePing(): void {
    this.#pingTimer?.cancel();
    if (this.signal.aborted) return;
    // Counted from our own last ping: theirs come as often, and must not put ours off for ever.
    const due = this.#lastPing + (this.#commonTimeout * 1_000) / 2;
    const { clock } = this.#options;
    this.#pingTimer = clock.after(Math.max(0, due - clock.monotonic()), () => this.#ping());
  }

  #watchSilence(): void {
    if (this.signal.aborted) return;
    const limit = this.#commonTimeout * 1_500;
    const left = limit - this.#options.meter.silence;
    if (left <= 0) {
      this.#end(environmentError('session.silent', `nothing was heard from the peer for ${limit / 1_000} s`));
      return;
    }
    this.#silenceTimer = this.#options.clock.after(left, () => this.#watchSilence());
  }

  #end(reason: Error | undefined): void {
    if (this.signal.aborted) return;
    this.#controller.abort(reason ?? internalError('session.ended', 'the session has ended'));
    this.#pingTimer?.cancel();
    this.#silenceTimer?.cancel();
    for (const attached of this.#attached.values()) {
      try {
        attached.detach();
      } catch (thrown) {
        this.log.error('an extension failed to let go of a session', { error: asError(thrown) });
      }
    }
    this.#report(reason);
    void this.#letGo(reason).then(() => this.#ended.resolve(reason));
  }

  async #letGo(reason: Error | undefined): Promise<void> {
    if (reason === undefined) {
      const { promise: late, resolve } = Promise.withResolvers<void>();
      const timer = this.#options.clock.after(CLOSING_MS, resolve);
      await Promise.race([this.#messages.close(), late]).catch(() => {});
      timer.cancel();
    }
    this.#messages.abort(reason ?? asError(this.signal.reason));
  }

  #report(reason: Error | undefined): void {
    if (reason === undefined) this.log.info('disconnected');
    else if (!(reason instanceof SkylarkError) || reason.fault === 'internal') {
      this.log.error('disconnected by an error of our own', { error: reason });
    } else if (BROKEN_OFF.has(reason.code)) {
      this.log.info('disconnected: the connection broke off', { error: reason });
    } else if (reason.fault === 'peer')
      this.log.warn('disconnected: the peer broke the protocol', { error: reason });
    else this.log.info('disconnected', { error: reason });
  }
}

function extensionOf(type: string, extensions: readonly Extension[]): Extension | undefined {
  return extensions.find(({ name }) => type.startsWith(`${name}.`));
}

function clampTimeout(seconds: number): number {
  return Math.min(MAX_TIMEOUT, Math.max(MIN_TIMEOUT, seconds));
}
