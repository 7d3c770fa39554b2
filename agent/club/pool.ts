/**
 * All connections to other members of this device's clubs, over one port: who may come in, with whom we are connected,
 * and which of two connections to one peer stays.
 */

import { parseEndpoint } from '../base/endpoint.ts';
import { asError, EXIT, environmentError, errorCode, type SkylarkError, userError } from '../base/errors.ts';
import type { Secret } from '../base/log.ts';
import type { ByteStream } from '../base/stream.ts';
import type { AcceptOptions, ConnectOptions, SecureChannel } from '../secure-channel/channel.ts';
import { noteWhile } from './acquaintances.ts';
import { Attempt } from './attempt.ts';
import type { Club } from './club.ts';
import { type ConnectionStatus, ConnectionTable } from './connection-table.ts';
import type { GuessLimiter } from './guessing.ts';
import { Joining, type JoinRequest } from './joining.ts';
import { heldLevels } from './keys.ts';
import { openLobby, seeOff } from './lobby.ts';
import type { RunningSession } from './open-session.ts';
import { type OpeningOptions, openConnection, type Target } from './opening.ts';
import { randomId } from './random.ts';
import type { RegistryChange } from './registry.ts';
import type { PeerIdentity } from './session.ts';

export interface PoolOptions extends OpeningOptions {
  /** How channels are made secure. */
  readonly channels: {
    accept(stream: ByteStream, options: AcceptOptions): Promise<SecureChannel>;
    connect(stream: ByteStream, options: ConnectOptions): Promise<SecureChannel>;
  };
  /** Opens the connection below: TCP to `HOST:PORT`. */
  readonly connect: (address: string, signal: AbortSignal) => Promise<ByteStream>;
  readonly guesses: GuessLimiter;
}

/** An ID that peers may come with, and our peer ID behind it: what discovery announces. */
export interface AnnouncedId {
  readonly id: string;
  readonly peer: string;
}

export interface Connected {
  readonly club: Club;
  readonly peer: PeerIdentity;
  /** Resolves, never rejects, when the session has ended. */
  readonly ended: Promise<Error | undefined>;
}

export type PoolChange =
  | { readonly kind: 'connected' | 'disconnected'; readonly club: Club; readonly peer: PeerIdentity }
  /** What `ids` returns has changed. */
  | { readonly kind: 'ids' }
  /** Two devices go by one peer ID: ours (then we have taken a new one) or another one's. */
  | {
      readonly kind: 'cloned';
      readonly club: Club;
      readonly peer: string;
      readonly whose: 'ours' | 'theirs';
    };

export interface Pool {
  /** Takes over an incoming connection. */
  accept(stream: ByteStream): void;
  /**
   * Connects to a peer that is said to know the ID. Resolves when the session is open.
   * @throws SkylarkError: `net.*`, `channel.*`, `session.*`, `code.*`, `keys.*`; `pool.id_unknown`, `pool.busy`, `pool.silenced`,
   *   `pool.timeout`, `pool.closed`; or the signal's reason.
   */
  dial(
    id: string,
    address: string,
    options?: { readonly signal?: AbortSignal | undefined },
  ): Promise<Connected>;
  /**
   * Becomes a member of a club. Resolves when its keys are durable; the connection goes on.
   * @throws SkylarkError `join.own_code`, `join.in_progress`, `join.refused`, `join.nobody`, `pool.closed`, and what `adopt` throws.
   */
  join(request: JoinRequest): Promise<Club>;
  /** IDs that we listen on: keys, live codes, and codes that we want to join with. */
  ids(): readonly AnnouncedId[];
  isConnected(club: string, peer: string): boolean;
  connections(): readonly ConnectionStatus[];
  /** Connections that have not introduced themselves yet. */
  readonly pending: number;
  /** Listeners must not throw. @returns how to stop. */
  onChange(listener: (change: PoolChange) => void): () => void;
  /** Ends everything, in order. Later connections are refused. */
  close(): Promise<void>;
}

/** For everything from the first byte to the introduction, milliseconds. */
const HANDSHAKE_MS = 20_000;
const MAX_UNAUTHENTICATED = 64;
const MAX_UNAUTHENTICATED_FROM_HOST = 16;
const MAX_DIALLING = 64;
/** Ends of connections that are part of the game when several ways lead to one peer. */
const EVERYDAY: ReadonlySet<string> = new Set(['session.duplicate', 'session.loopback', 'pool.closed']);
/** Codes of which we remember by which peer ID we tried to join with them. */
const MAX_JOIN_PEERS = 64;

export function openPool(options: PoolOptions): Pool {
  return new ConnectionPool(options);
}

class ConnectionPool implements Pool {
  readonly #options: PoolOptions;
  readonly #table: ConnectionTable;
  readonly #lobby = openLobby({ places: MAX_UNAUTHENTICATED, placesForHost: MAX_UNAUTHENTICATED_FROM_HOST });
  readonly #joinings = new Map<string, Joining>();
  readonly #joinPeers = new Map<string, string>();
  readonly #dialling = new Map<string, Promise<Connected>>();
  readonly #attempts = new Set<Attempt>();
  readonly #tasks = new Set<Promise<unknown>>();
  readonly #listeners = new Set<(change: PoolChange) => void>();
  readonly #stopWatching: () => void;
  #closing: Promise<void> | undefined;

  constructor(options: PoolOptions) {
    this.#options = options;
    this.#table = new ConnectionTable(options.clock, ({ club, introduction }) => {
      const ours = options.registry.get(club);
      if (ours !== undefined) {
        this.#tell({ kind: 'cloned', club: ours, peer: introduction.peer.id, whose: 'theirs' });
      }
    });
    this.#stopWatching = options.registry.onChange((change) => this.#onRegistryChange(change));
  }

  accept(stream: ByteStream): void {
    const host = hostOf(stream.label);
    if (this.#closing !== undefined || this.#options.guesses.isHostSilenced(host)) {
      stream.abort(environmentError('pool.refused', 'connections from there are not accepted now'));
      return;
    }
    this.#track(this.#accept(stream, host));
  }

  async #accept(stream: ByteStream, host: string): Promise<void> {
    const { channels, registry, clock, log } = this.#options;
    const attempt = this.#begin();
    const leave = this.#lobby.enter(host, () =>
      attempt.abort(environmentError('pool.crowded', 'the place was needed for another connection')),
    );
    try {
      const channel = await channels.accept(stream, {
        authenticate: (id) => this.#secretFor(id),
        fakeVerifierKey: registry.fakeVerifierKey,
        signal: attempt.signal,
        onFailure: (id, why) => this.#countFailure(id, host, why),
      });
      await this.#open(channel, 'them', stream.label, attempt);
    } catch (thrown) {
      const fields = { from: stream.label, error: asError(thrown) };
      if (EVERYDAY.has(errorCode(thrown) ?? '')) log.debug('an incoming connection was not needed', fields);
      else log.info('an incoming connection came to nothing', fields);
      // In its place: whoever is refused and does not go would hold a connection outside of all limits.
      await seeOff(stream, attempt, clock);
    } finally {
      leave();
      this.#end(attempt);
    }
  }

  dial(
    id: string,
    address: string,
    { signal }: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<Connected> {
    const key = `${id} ${address}`;
    const running = this.#dialling.get(key);
    if (running !== undefined) return running;
    const dialled = this.#dial(id, address, signal).finally(() => this.#dialling.delete(key));
    this.#dialling.set(key, dialled);
    this.#track(dialled);
    return dialled;
  }

  async #dial(id: string, address: string, outer: AbortSignal | undefined): Promise<Connected> {
    const { channels, connect, guesses } = this.#options;
    if (this.#closing !== undefined) throw closed();
    const target = this.#target(id);
    if (target === undefined) throw environmentError('pool.id_unknown', 'no share of ours has this ID');
    if (target.kind !== 'member' && guesses.isIdSilenced(id)) {
      throw environmentError('pool.silenced', 'the code failed too often lately', {
        remedy: 'try again in an hour',
      });
    }
    if (this.#dialling.size >= MAX_DIALLING) {
      throw environmentError('pool.busy', 'too many connections are being made', { exitCode: EXIT.tryAgain });
    }
    const attempt = this.#begin(outer);
    try {
      const stream = await connect(address, attempt.signal);
      const channel = await channels.connect(stream, { id, secret: target.secret, signal: attempt.signal });
      return await this.#open(channel, 'us', address, attempt);
    } catch (thrown) {
      const why = asError(attempt.signal.aborted ? attempt.signal.reason : thrown);
      this.#countFailure(id, hostOf(address), why);
      if (target.kind === 'join') target.joining.failed(address, why);
      throw why;
    } finally {
      this.#end(attempt);
    }
  }

  async join(request: JoinRequest): Promise<Club> {
    const { registry, clock } = this.#options;
    const { id } = request.access;
    if (this.#closing !== undefined) throw closed();
    if (registry.resolve(id)?.kind === 'code') {
      throw userError('join.own_code', 'this code was made on this device', {
        remedy: 'use it on the device that is to get the files',
      });
    }
    if (this.#joinings.has(id)) throw userError('join.in_progress', 'this code is being used already');
    const joining = new Joining(request, this.#peerToJoinWith(id));
    this.#joinings.set(id, joining);
    this.#tell({ kind: 'ids' });
    try {
      const club = await joining.run((address, signal) => this.dial(id, address, { signal }), clock);
      this.#joinPeers.delete(id);
      return club;
    } finally {
      this.#joinings.delete(id);
      this.#tell({ kind: 'ids' });
    }
  }

  /** The same in all tries with a code, since it gets bound to the first peer ID that comes with it. */
  #peerToJoinWith(id: string): string {
    const peer = this.#joinPeers.get(id) ?? randomId();
    this.#joinPeers.delete(id);
    this.#joinPeers.set(id, peer);
    const [oldest] = this.#joinPeers.keys();
    if (this.#joinPeers.size > MAX_JOIN_PEERS && oldest !== undefined) this.#joinPeers.delete(oldest);
    return peer;
  }

  async #open(
    channel: SecureChannel,
    dialledBy: 'us' | 'them',
    address: string,
    attempt: Attempt,
  ): Promise<Connected> {
    const target = this.#target(channel.id);
    try {
      const { club, running } = await openConnection(
        { channel, target, dialledBy, address, attempt },
        { ...this.#options, onCopied: (copied) => this.#onCloned(copied) },
        this.#table,
      );
      this.#opened(running, club, target?.kind === 'member', dialledBy);
      return { club, peer: running.session.peer, ended: running.ended };
    } catch (thrown) {
      if (target?.kind === 'member' && errorCode(thrown) === 'session.cloned') {
        // A copy of us has the keys that we have: with less, it is somebody else who takes our name.
        if (target.level === target.club.level) this.#onCloned(target.club);
      }
      throw thrown;
    }
  }

  #opened(running: RunningSession, club: Club, byKey: boolean, dialledBy: 'us' | 'them'): void {
    const { session, ended } = running;
    const { peer } = session;
    session.log.info('connected', { name: peer.name, level: session.level, dialledBy });
    this.#tell({ kind: 'connected', club, peer });
    const { registry } = this.#options;
    const address = dialledBy === 'us' ? peer.address : undefined;
    const { id, name, software } = peer;
    const note = async () => {
      try {
        if (registry.get(club.id) === undefined) return;
        await registry.remember(club.id, { id, name, software, address });
        // Whoever comes with a key has the keys that were once sent to it.
        if (byKey) await club.codes.sawMember(id);
      } catch (thrown) {
        session.log.warn('the peer could not be written down', { error: asError(thrown) });
      }
    };
    this.#track(noteWhile(ended, this.#options.clock, note));
    this.#track(ended.then(() => this.#tell({ kind: 'disconnected', club, peer })));
  }

  #onCloned(club: Club): void {
    const { registry, log } = this.#options;
    const { peer } = club;
    const minted = async () => {
      try {
        if (await registry.mintPeer(club.id)) this.#tell({ kind: 'cloned', club, peer, whose: 'ours' });
      } catch (thrown) {
        log.error('no new peer ID could be taken', { share: club.name, error: asError(thrown) });
      }
    };
    this.#track(minted());
  }

  #target(id: string): Target | undefined {
    const joining = this.#joinings.get(id);
    if (joining !== undefined) return { kind: 'join', joining, secret: joining.secret };
    return this.#options.registry.resolve(id);
  }

  #secretFor(id: string): Secret<string> | undefined {
    const target = this.#target(id);
    // A silenced code looks like an unknown one. Keys can't be guessed, so nobody can silence a club's own members.
    if (target?.kind !== 'member' && this.#options.guesses.isIdSilenced(id)) return undefined;
    return target?.secret;
  }

  #countFailure(id: string | undefined, host: string, why: Error): void {
    if (id === undefined || errorCode(why) !== 'channel.authentication_failed') return;
    if (this.#target(id)?.kind !== 'member') this.#options.guesses.failed(id, host);
  }

  #begin(outer?: AbortSignal): Attempt {
    const attempt = new Attempt(this.#options.clock, HANDSHAKE_MS, outer);
    this.#attempts.add(attempt);
    return attempt;
  }

  #end(attempt: Attempt): void {
    attempt.end();
    this.#attempts.delete(attempt);
  }

  #onRegistryChange(change: RegistryChange): void {
    const { kind, club } = change;
    if (kind === 'left' || kind === 'peer' || (kind === 'configured' && club.paused)) {
      this.#track(this.#table.close(club.id));
    }
    this.#tell({ kind: 'ids' });
  }

  ids(): readonly AnnouncedId[] {
    const ids: AnnouncedId[] = [];
    for (const club of this.#options.registry.list()) {
      if (club.paused) continue;
      for (const { id } of heldLevels(club.keys).values()) ids.push({ id, peer: club.peer });
      for (const id of club.codes.liveIds()) ids.push({ id, peer: club.peer });
    }
    for (const { id, peer } of this.#joinings.values()) ids.push({ id, peer });
    return ids;
  }

  isConnected(club: string, peer: string): boolean {
    return this.#table.has(club, peer);
  }

  connections(): readonly ConnectionStatus[] {
    return this.#table.list();
  }

  get pending(): number {
    return this.#lobby.size;
  }

  onChange(listener: (change: PoolChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#stopWatching();
    for (const joining of this.#joinings.values()) joining.giveUp(closed());
    for (const attempt of this.#attempts) attempt.abort(closed());
    await this.#table.close();
    while (this.#tasks.size > 0) await Promise.allSettled(this.#tasks);
    // What was being admitted while the others were closed.
    await this.#table.close();
    this.#listeners.clear();
  }

  #track(task: Promise<unknown>): void {
    const done = () => this.#tasks.delete(task);
    this.#tasks.add(task);
    task.then(done, done);
  }

  #tell(change: PoolChange): void {
    for (const listener of this.#listeners) listener(change);
  }
}

function hostOf(address: string): string {
  try {
    return parseEndpoint(address).host;
  } catch {
    return address;
  }
}

function closed(): SkylarkError {
  return environmentError('pool.closed', 'the agent is shutting down', { exitCode: EXIT.tryAgain });
}
