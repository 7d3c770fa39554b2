/** From a secure channel to an open session: introduction, keys if need be, and the place among the connections. */

import type { Clock } from '../base/clock.ts';
import { asError, environmentError, internalError, peerError } from '../base/errors.ts';
import type { Logger, Secret } from '../base/log.ts';
import type { SecureChannel } from '../secure-channel/channel.ts';
import { type MessageStream, openMessageStream } from '../wire/message-stream.ts';
import type { Attempt } from './attempt.ts';
import type { Club } from './club.ts';
import type { ConnectionTable, OpeningMessage } from './connection-table.ts';
import { type Grant, type Purpose, type SelfIdentity, shakeHands } from './handshake.ts';
import type { Joining } from './joining.ts';
import { keysFor } from './keys.ts';
import { MAX_NAME } from './messages.ts';
import { MeteredStream } from './meter.ts';
import { openSession, payloadLimits, type RunningSession } from './open-session.ts';
import type { Registry, Resolved } from './registry.ts';
import type { Extension } from './session.ts';

/** What a channel's ID stands for. */
export type Target =
  | Resolved
  | { readonly kind: 'join'; readonly joining: Joining; readonly secret: Secret<string> };

/** What all connections of a device have in common. */
export interface OpeningOptions {
  readonly registry: Registry;
  /** Names of the extensions that we have, as offered to every peer. */
  readonly extensionNames: readonly string[];
  /** The extensions of a club: asked for when a session begins. */
  readonly extensions: (club: Club) => readonly Extension[];
  /** Random for this process: 32 hexadecimal digits. */
  readonly instance: string;
  readonly software: string;
  /** The device's name as its owner set it, as of now. */
  readonly name: () => string | undefined;
  readonly clock: Clock;
  readonly log: Logger;
  /** What we announce in pings, seconds. Default 60. */
  readonly timeout?: number | undefined;
}

export interface OpeningChannel {
  readonly channel: SecureChannel;
  /** Undefined: what the ID stood for has ended while the channel was made. */
  readonly target: Target | undefined;
  readonly dialledBy: 'us' | 'them';
  readonly address: string;
  readonly attempt: Attempt;
}

export interface Opened {
  readonly club: Club;
  readonly running: RunningSession;
}

/** An orderly refusal waits this long for its last bytes to leave, milliseconds. */
const REFUSING_MS = 2_000;

/**
 * Resolves when the session is open. Takes over the channel, whatever comes of it.
 * @throws SkylarkError `pool.id_gone`, `pool.club_changed`, `session.*`, `code.*`, `keys.*`, `wire.*`, `schema.*`; what `adopt` of a join
 *   throws; the attempt's reason.
 */
export async function openConnection(
  opening: OpeningChannel,
  options: OpeningOptions & { readonly onCopied: (club: Club) => void },
  table: ConnectionTable,
): Promise<Opened> {
  const { channel, target, dialledBy, address, attempt } = opening;
  const { clock, registry, timeout } = options;
  const meter = new MeteredStream(channel, clock);
  let extensions: readonly Extension[] = [];
  const messages = openMessageStream(meter, { payloadLimit: payloadLimits(() => extensions) });
  const stopAborting = attempt.onAbort((reason) => messages.abort(reason));
  try {
    if (target === undefined) throw peerError('pool.id_gone', 'the ID has ended in the meantime');
    const self = selfIdentity(target, options);
    const introduction = await shakeHands(messages, {
      role: channel.role,
      self,
      purpose: purposeOf(target, channel.id),
      address,
    });
    const club = target.kind === 'join' ? await target.joining.result : target.club;
    extensions = options.extensions(club);
    const open = (first: OpeningMessage): RunningSession => {
      if (registry.get(club.id) === undefined || club.paused || club.peer !== self.peer) {
        throw environmentError('pool.club_changed', 'the share has changed in the meantime');
      }
      const log = options.log.child('session', { share: club.name, peer: introduction.peer.id, address });
      return openSession({
        messages,
        meter,
        introduction,
        club: club.id,
        self: self.peer,
        extensions,
        clock,
        log,
        timeout,
        onCopied: () => options.onCopied(club),
        first,
      });
    };
    const running = await table.admit({
      club: club.id,
      self: self.peer,
      introduction,
      dialledBy,
      channel,
      messages,
      meter,
      open,
    });
    return { club, running };
  } catch (thrown) {
    await refuse(messages, asError(thrown), clock);
    throw thrown;
  } finally {
    stopAborting();
  }
}

function selfIdentity(target: Target, options: OpeningOptions): SelfIdentity {
  const { instance, software, extensionNames, name } = options;
  const peer = target.kind === 'join' ? target.joining.peer : target.club.peer;
  const ownName = name();
  return {
    peer,
    instance,
    name: ownName === undefined ? undefined : shortened(ownName),
    software: shortened(software),
    extensions: extensionNames,
  };
}

/** Within what every peer accepts, and without half a character at the end. */
function shortened(text: string): string {
  return text.slice(0, MAX_NAME).toWellFormed();
}

function purposeOf(target: Target, id: string): Purpose {
  switch (target.kind) {
    case 'member':
      return { kind: 'member', level: target.level };
    case 'join':
      return { kind: 'join', store: (keys) => target.joining.store(keys) };
    case 'code':
      return { kind: 'grant', claim: (peer) => claimCode(target.club, id, peer.id) };
  }
}

async function claimCode(club: Club, id: string, peer: string): Promise<Grant> {
  const claim = await club.codes.claim(id, peer);
  const keys = keysFor(club.keys, claim.level);
  if (keys === undefined) {
    await claim.release();
    throw internalError('pool.keys_missing', 'a code promises keys that we do not have');
  }
  return { ...claim, keys };
}

/** Tells the other side by an orderly end, as far as it listens. */
async function refuse(messages: MessageStream, why: Error, clock: Clock): Promise<void> {
  const { promise: late, resolve } = Promise.withResolvers<void>();
  const timer = clock.after(REFUSING_MS, resolve);
  await Promise.race([messages.close(), late]).catch(() => {});
  timer.cancel();
  messages.abort(why);
}
