/** The open connections of this device: one for each peer of each club. */

import { type Clock, sleep } from '../base/clock.ts';
import { peerError, SkylarkError } from '../base/errors.ts';
import { BucketTable } from '../discovery/token-bucket.ts';
import type { SecureChannel } from '../secure-channel/channel.ts';
import { encode } from '../wire/message.ts';
import type { IncomingMessage, MessageStream } from '../wire/message-stream.ts';
import { InstanceHistory, judgeDuplicate } from './duplicates.ts';
import type { Introduction } from './handshake.ts';
import { peerCopied } from './messages.ts';
import type { MeteredStream } from './meter.ts';
import type { RunningSession } from './open-session.ts';
import type { AccessLevel, PeerIdentity } from './session.ts';

export interface ConnectionStatus {
  /** Our own name for the club. */
  readonly club: string;
  readonly peer: PeerIdentity;
  readonly level: AccessLevel;
  readonly channel: Pick<SecureChannel, 'version' | 'cipher'>;
  readonly dialledBy: 'us' | 'them';
  /** Nanoseconds since 1970. */
  readonly since: bigint;
  /** Bytes a second, averaged over some seconds. */
  readonly rateUp: number;
  readonly rateDown: number;
  readonly bytesUp: number;
  readonly bytesDown: number;
  readonly unknownMessages: number;
}

/** A message that is being received before the session begins. */
export type OpeningMessage = Promise<IncomingMessage | null> | undefined;

/** A connection whose peer has introduced itself. */
export interface Newcomer {
  readonly club: string;
  /** Our peer ID in the club. */
  readonly self: string;
  readonly introduction: Introduction;
  readonly dialledBy: 'us' | 'them';
  readonly channel: SecureChannel;
  readonly messages: MessageStream;
  readonly meter: MeteredStream;
  /** Begins the session; may throw. */
  readonly open: (first: OpeningMessage) => RunningSession;
}

interface Entry {
  readonly newcomer: Newcomer;
  readonly running: RunningSession;
  readonly since: bigint;
}

/** A second connection to a peer, where the first one stays. */
export class AlreadyConnected extends SkylarkError {
  /** Peer ID. */
  readonly peer: string;

  constructor(peer: string) {
    super('peer', 'session.duplicate', 'there is a connection to this peer already');
    this.peer = peer;
  }
}

/** How long a peer that dialled twice has to show which connection it means, milliseconds. */
const WAIT_MS = 10_000;
/**
 * Sessions of one club with one access level. Peer IDs cost nothing: without it, whoever has the keys of one share could take
 * all connections of the device, and whoever may only read those of members who may write.
 */
const MAX_SESSIONS = 256;

/** Of one peer that is there twice. It comes again and again, and anybody can make it look so. */
const REPORTS = { burst: 1, perSecond: 1 / 3_600 };
const MAX_REPORTED = 1_024;

export class ConnectionTable {
  readonly #clock: Clock;
  readonly #onPeerCloned: (newcomer: Newcomer) => void;
  readonly #entries = new Map<string, Entry>();
  readonly #waiting = new Set<string>();
  readonly #history = new InstanceHistory();
  readonly #reports = new BucketTable(REPORTS, MAX_REPORTED);
  /** Peers that may write and are there twice, as long as this process runs: whoever goes by such an ID is told. */
  readonly #copied = new Set<string>();

  constructor(clock: Clock, onPeerCloned: (newcomer: Newcomer) => void) {
    this.#clock = clock;
    this.#onPeerCloned = onPeerCloned;
  }

  /**
   * Opens the session of a newcomer, in the place of an older one if need be.
   * @throws SkylarkError (peer) `session.duplicate`, `session.peer_cloned`: it must go.
   */
  admit(newcomer: Newcomer): Promise<RunningSession> {
    return this.#admit(newcomer, undefined);
  }

  async #admit(newcomer: Newcomer, first: OpeningMessage): Promise<RunningSession> {
    const { peer } = newcomer.introduction;
    const key = keyOf(newcomer.club, peer.id);
    const older = this.#entries.get(key);
    if (older === undefined) {
      this.#checkRoom(newcomer);
      return this.#enter(key, newcomer, first);
    }
    const olderInstance = older.newcomer.introduction.peer.instance;
    if (this.#history.wasReplaced(processKey(newcomer), peer.instance) && peer.instance !== olderInstance) {
      if (this.#reports.take(key, this.#clock.monotonic())) this.#onPeerCloned(newcomer);
      this.#noteCopied(newcomer, older);
      throw peerError('session.peer_cloned', 'two processes go by the peer ID of this peer');
    }
    switch (judgeDuplicate(candidate(older.newcomer), candidate(newcomer), newcomer.self, peer.id)) {
      case 'older':
        throw new AlreadyConnected(peer.id);
      case 'newer':
        return this.#replace(key, newcomer, first);
      case 'wait':
        return this.#wait(key, newcomer, older, first);
    }
  }

  /** The peer shows which of its two connections it means: it closes the one, or speaks on the other. */
  async #wait(key: string, newcomer: Newcomer, older: Entry, begun: OpeningMessage): Promise<RunningSession> {
    if (this.#waiting.has(key)) throw new AlreadyConnected(newcomer.introduction.peer.id);
    this.#waiting.add(key);
    const first = begun ?? newcomer.messages.receive();
    // It may fail after the race, when nobody waits for it any more.
    first.catch(() => {});
    const over = new AbortController();
    try {
      const said = await Promise.race([
        first,
        older.running.ended.then(() => undefined),
        sleep(this.#clock, WAIT_MS, over.signal).then(() => undefined),
      ]);
      if (said === null) throw peerError('session.duplicate', 'the peer keeps its older connection');
    } finally {
      over.abort(new AlreadyConnected(newcomer.introduction.peer.id));
      this.#waiting.delete(key);
    }
    // Another one may have come in between.
    return this.#entries.get(key) === older
      ? this.#replace(key, newcomer, first)
      : this.#admit(newcomer, first);
  }

  #replace(key: string, newcomer: Newcomer, first: OpeningMessage): RunningSession {
    const older = this.#entries.get(key);
    if (older !== undefined) {
      const { instance } = older.newcomer.introduction.peer;
      const isAnother = instance !== newcomer.introduction.peer.instance;
      if (isAnother) this.#history.replaced(processKey(older.newcomer), instance);
      this.#entries.delete(key);
      older.running.session.close(undefined);
    }
    return this.#enter(key, newcomer, first);
  }

  #enter(key: string, newcomer: Newcomer, first: OpeningMessage): RunningSession {
    const running = newcomer.open(first);
    const entry = { newcomer, running, since: this.#clock.now() };
    this.#entries.set(key, entry);
    if (this.#copied.has(processKey(newcomer))) tellCopied(running.session);
    void running.ended.then(() => {
      if (this.#entries.get(key) === entry) this.#entries.delete(key);
    });
    return running;
  }

  /** They may never meet, and only who is told takes another ID. Who may only read gives out no revisions, and needs none. */
  #noteCopied(newcomer: Newcomer, older: Entry): void {
    if (newcomer.introduction.level !== 'read_write') return;
    if (this.#copied.size < MAX_REPORTED) this.#copied.add(processKey(newcomer));
    tellCopied(newcomer.messages);
    tellCopied(older.running.session);
  }

  #checkRoom({ club, introduction }: Newcomer): void {
    let count = 0;
    for (const { newcomer } of this.#entries.values())
      if (newcomer.club === club && newcomer.introduction.level === introduction.level) count += 1;
    if (count >= MAX_SESSIONS)
      throw peerError('session.too_many', `there are ${MAX_SESSIONS} connections to this share already`);
  }

  has(club: string, peer: string): boolean {
    return this.#entries.has(keyOf(club, peer));
  }

  /** Ends the sessions of a club, or all. Resolves when they have let go of their connections. */
  async close(club?: string): Promise<void> {
    const ending = [...this.#entries.values()].filter(
      ({ newcomer }) => club === undefined || newcomer.club === club,
    );
    for (const { running } of ending) running.session.close(undefined);
    await Promise.all(ending.map(({ running }) => running.ended));
  }

  list(): readonly ConnectionStatus[] {
    return Array.from(this.#entries.values(), ({ newcomer, running, since }) => ({
      club: newcomer.club,
      peer: newcomer.introduction.peer,
      level: newcomer.introduction.level,
      channel: { version: newcomer.channel.version, cipher: newcomer.channel.cipher },
      dialledBy: newcomer.dialledBy,
      since,
      rateUp: newcomer.meter.sent.rate,
      rateDown: newcomer.meter.received.rate,
      bytesUp: newcomer.meter.sent.total,
      bytesDown: newcomer.meter.received.total,
      unknownMessages: running.unknownMessages,
    }));
  }
}

function tellCopied(to: Pick<MessageStream, 'send'>): void {
  // A connection that breaks comes again.
  to.send({ json: encode(peerCopied, {}) }).catch(() => {});
}

function keyOf(club: string, peer: string): string {
  return `${club} ${peer}`;
}

/** With the level: what happens on read-only connections says nothing about those who may write. */
function processKey({ club, introduction }: Newcomer): string {
  return `${keyOf(club, introduction.peer.id)} ${introduction.level}`;
}

function candidate({ introduction, dialledBy }: Newcomer) {
  return { level: introduction.level, instance: introduction.peer.instance, dialledBy };
}
