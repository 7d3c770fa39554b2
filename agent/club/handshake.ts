/**
 * How two peers introduce themselves inside a secure channel (core.md, "Handshake" and "Key Exchange"; docs/protocol.md,
 * section 4). Runs in a browser.
 *
 *     server: core.greeting        client: core.start          and, on a connection that was opened with an access code,
 *     who made the code: core.keys        who joins: core.keys_acknowledgment, once the keys are on durable storage
 */

import { peerError, type SkylarkError } from '../base/errors.ts';
import { decode, encode, type MessageSpec } from '../wire/message.ts';
import type { IncomingMessage, MessageStream } from '../wire/message-stream.ts';
import type { KeysMessage } from './keys.ts';
import { coreGreeting, coreKeys, coreKeysAcknowledgment, corePing, coreStart, PROTOCOL } from './messages.ts';
import type { AccessLevel, PeerIdentity } from './session.ts';

/** How we introduce ourselves. */
export interface SelfIdentity {
  /** Our peer ID in the club. */
  readonly peer: string;
  /** Random for this process. */
  readonly instance: string;
  readonly name: string | undefined;
  readonly software: string;
  /** Names of the extensions that we have. */
  readonly extensions: readonly string[];
}

/** The right to give the keys of a club to the peer on the other side. */
export interface Grant {
  readonly level: AccessLevel;
  readonly keys: KeysMessage;
  /** Called just before the keys are sent. @throws SkylarkError (peer) if the right has ended. */
  sending(): void;
  /** The peer has stored the keys. */
  acknowledged(): Promise<void>;
  /** It came to nothing, whether the keys were sent or not. */
  release(): Promise<void>;
}

/** With what the connection was opened, and so what has to be done on it. */
export type Purpose =
  /** With the key of a level. */
  | { readonly kind: 'member'; readonly level: AccessLevel }
  /** With a code that we made. `claim` rejects if the peer may not have the keys now. */
  | { readonly kind: 'grant'; readonly claim: (peer: PeerIdentity) => Promise<Grant> }
  /** With a code that we were given. `store` checks the keys and resolves once they are durable. */
  | {
      readonly kind: 'join';
      readonly store: (keys: KeysMessage, peer: PeerIdentity) => Promise<AccessLevel>;
    };

export interface HandshakeOptions {
  readonly role: 'client' | 'server';
  readonly self: SelfIdentity;
  readonly purpose: Purpose;
  /** Where the connection leads, for people. */
  readonly address: string;
}

export interface Introduction {
  readonly peer: PeerIdentity;
  readonly level: AccessLevel;
  /** Names of the extensions that both sides have. */
  readonly extensions: ReadonlySet<string>;
}

/** Messages of unknown types that are passed over before the introduction is complete. */
const MAX_UNKNOWN = 16;
const CORE_TYPES = new Set(
  [coreGreeting, coreStart, coreKeys, coreKeysAcknowledgment].map(({ type }) => type),
);

/**
 * Ends when either side may speak freely. The caller bounds the time, by aborting the stream below.
 * @throws SkylarkError (peer) `session.version`, `session.loopback`, `session.cloned` (our own peer ID, in another process),
 *   `session.closed_early`, `session.out_of_turn`, `session.too_many_messages`, `schema.mismatch`, `wire.*`; and whatever the
 *   functions of the purpose throw.
 */
export async function shakeHands(messages: MessageStream, options: HandshakeOptions): Promise<Introduction> {
  const next = expecter(messages, options.self);
  const theirs =
    options.role === 'server' ? await greet(messages, options, next) : await start(messages, options, next);
  const peer: PeerIdentity = {
    id: theirs.peer,
    name: theirs.name ?? undefined,
    software: theirs.software ?? 'unknown',
    instance: theirs.instance,
    address: options.address,
  };
  const extensions = common(options.self, theirs.extensions);
  const level = await exchangeKeys(messages, options.purpose, peer, next);
  return { peer, level, extensions };
}

type Expect = <T>(spec: MessageSpec<T>) => Promise<T>;

interface TheirIdentity {
  readonly peer: string;
  readonly name?: string | null | undefined;
  readonly software?: string | undefined;
  readonly instance?: string | undefined;
  readonly extensions?: readonly string[] | undefined;
}

async function greet(
  messages: MessageStream,
  { self }: HandshakeOptions,
  next: Expect,
): Promise<TheirIdentity> {
  const { peer, instance, name, software, extensions } = self;
  await messages.send({
    json: encode(coreGreeting, { software, name, protocol: [PROTOCOL], extensions, peer, instance }),
  });
  const theirs = await next(coreStart);
  if (theirs.protocol !== PROTOCOL) throw wrongVersion();
  refuseSelf(self, theirs);
  return theirs;
}

async function start(
  messages: MessageStream,
  { self }: HandshakeOptions,
  next: Expect,
): Promise<TheirIdentity> {
  const theirs = await next(coreGreeting);
  if (!theirs.protocol.includes(PROTOCOL)) throw wrongVersion();
  refuseSelf(self, theirs);
  const { peer, instance, name, software } = self;
  const extensions = [...common(self, theirs.extensions)];
  await messages.send({
    json: encode(coreStart, { software, protocol: PROTOCOL, extensions, peer, name, instance }),
  });
  return theirs;
}

async function exchangeKeys(
  messages: MessageStream,
  purpose: Purpose,
  peer: PeerIdentity,
  next: Expect,
): Promise<AccessLevel> {
  switch (purpose.kind) {
    case 'member':
      return purpose.level;
    case 'grant': {
      const grant = await purpose.claim(peer);
      try {
        grant.sending();
        await messages.send({ json: encode(coreKeys, grant.keys) });
        await next(coreKeysAcknowledgment);
        await grant.acknowledged();
      } catch (thrown) {
        await grant.release();
        throw thrown;
      }
      return grant.level;
    }
    case 'join': {
      const level = await purpose.store(await next(coreKeys), peer);
      await messages.send({ json: encode(coreKeysAcknowledgment, {}) });
      return level;
    }
  }
}

/** Waits for one type of message; what is known but not due breaks the introduction off, what is unknown is passed over. */
function expecter(messages: MessageStream, self: SelfIdentity): Expect {
  let unknown = 0;
  return async (spec) => {
    for (;;) {
      const received = await messages.receive();
      if (received === null) throw closedEarly();
      if (received.type === spec.type) return decode(spec, received);
      if (isKnown(received, self)) {
        throw peerError('session.out_of_turn', `the peer sent ${received.type} where ${spec.type} was due`);
      }
      unknown += 1;
      if (unknown > MAX_UNKNOWN) {
        throw peerError('session.too_many_messages', `the peer sends everything but ${spec.type}`);
      }
    }
  };
}

function isKnown({ type }: IncomingMessage, self: SelfIdentity): boolean {
  if (type === corePing.type) return false;
  return CORE_TYPES.has(type) || self.extensions.some((name) => type.startsWith(`${name}.`));
}

function common(self: SelfIdentity, theirs: readonly string[] = []): ReadonlySet<string> {
  return new Set(self.extensions.filter((name) => theirs.includes(name)));
}

/**
 * "This is used to avoid accidental loopback": the same process is a loop; the same peer ID in another process means that
 * the device's storage was copied.
 */
function refuseSelf(self: SelfIdentity, theirs: TheirIdentity): void {
  if (theirs.instance === self.instance) throw loopback();
  if (theirs.peer !== self.peer) return;
  if (theirs.instance === undefined) throw loopback();
  throw peerError(
    'session.cloned',
    'another process goes by our peer ID: the storage of this device was copied',
  );
}

function loopback(): SkylarkError {
  return peerError('session.loopback', 'the connection leads back to ourselves');
}

function wrongVersion(): SkylarkError {
  return peerError('session.version', `the peer does not speak version ${PROTOCOL} of the protocol`);
}

function closedEarly(): SkylarkError {
  return peerError('session.closed_early', 'the peer closed the connection before it was introduced');
}
