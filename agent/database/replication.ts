/**
 * The ClearSkies extension "database": keeps the records of a club the same on all its members. Each peer is asked once
 * for what it has that we don't, and tells us what comes from then on; and the same the other way round. What we get from
 * one peer goes to all others, so members need not be connected to each other.
 */

import { type Clock, type Timer, YEAR_2020 } from '../base/clock.ts';
import { asError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { MAX_U63 } from '../base/schema.ts';
import type { AttachedExtension, Extension, Session } from '../club/session.ts';
import type { ClubSigner } from '../club/signer.ts';
import { decode, encode } from '../wire/message.ts';
import type { IncomingMessage } from '../wire/message-stream.ts';
import type { ReplicatedDatabase } from './club-database.ts';
import { Inflow, type InflowCounters, type Source } from './inflow.ts';
import { DATABASE, getUpdates, update } from './messages.ts';
import { Outflow } from './outflow.ts';
import type { Remote } from './since.ts';
import { EMPTY_CLOCK, type VectorClock } from './vector-clock.ts';

export interface ReplicationOptions {
  readonly database: ReplicatedDatabase;
  readonly signer: ClubSigner;
  readonly clock: Clock;
  readonly log: Logger;
  /** How long after having been asked for everything a peer is asked for everything again, milliseconds. Default: a day. */
  readonly refreshEvery?: number;
  /**
   * Somebody knows a revision of ours that we never gave out: this device was copied, or put back to an earlier state.
   * It needs another peer ID, and the database be opened with that. The evidence is the word of a member who may write, or an
   * update that one has signed; and since that member may be lying, it is told ever more seldom.
   * @returns whether the device has taken another ID. If not, it is told again when the evidence comes again.
   */
  readonly onRestored?: (evidence: { readonly peer: string; readonly revision: bigint }) => Promise<boolean>;
}

export interface ReplicationCounters extends InflowCounters {
  sent: number;
}

export interface ReplicationPeer {
  readonly session: Session;
  /** Whether the peer has asked for updates and was sent all that we have. */
  readonly isCaughtUp: boolean;
}

/** How far the records of one session have come. */
export interface Flow {
  /** Everything that we have was handed to the connection. */
  readonly hasSentAll: boolean;
  /** Everything that has come is stored. */
  readonly hasStoredAll: boolean;
}

export interface Replication extends Extension {
  readonly counters: Readonly<ReplicationCounters>;
  peers(): readonly ReplicationPeer[];
  /** Of a session that is attached. */
  flow(session: Session): Flow | undefined;
  /** Asks a peer, or all that are connected, for everything again. */
  refresh(peer?: string): void;
  close(): void;
}

const DAY_MS = 86_400_000;
/** Between two times that we hear of changes that we never made, milliseconds. Each costs a commit, and a line in the log. */
const HEARD_AGAIN = { first: 60_000, longest: 3_600_000 };

export function openReplication(options: ReplicationOptions): Replication {
  return new OpenReplication(options);
}

class OpenReplication implements Replication {
  readonly name = DATABASE;
  readonly payloadLimits = {};
  readonly counters: ReplicationCounters = { received: 0, refused: 0, sent: 0 };
  readonly #options: ReplicationOptions;
  readonly #inflow: Inflow;
  readonly #connections = new Set<Connection>();
  readonly #stopListening: () => void;
  #isRestored = false;
  #hearAgainAt = Number.NEGATIVE_INFINITY;
  #hearAgainAfter = HEARD_AGAIN.first;

  constructor(options: ReplicationOptions) {
    this.#options = options;
    this.#inflow = new Inflow({ ...options, counters: this.counters });
    this.#stopListening = options.database.onStored((first) => {
      for (const connection of this.#connections) connection.outflow.stored(first);
    });
  }

  attach(session: Session): AttachedExtension {
    const connection = new Connection(session, this.#options, this.#inflow, {
      onSent: (count) => {
        this.counters.sent += count;
      },
      onOwnRevision: (revision) => this.#checkOwnRevision(session, revision),
    });
    this.#connections.add(connection);
    this.#subscribe(connection.remote);
    return {
      receive: (message) => connection.receive(message),
      detach: () => {
        connection.close();
        this.#connections.delete(connection);
        this.#subscribe(connection.remote);
      },
    };
  }

  /** "Clients may open more than one connection to a server, but only one should be subscribed to updates." */
  #subscribe(remote: Remote): void {
    const same = [...this.#connections].filter(
      (other) => other.remote.id === remote.id && other.remote.level === remote.level,
    );
    if (!same.some(({ isSubscribed }) => isSubscribed)) same[0]?.subscribe();
  }

  #checkOwnRevision(session: Session, revision: bigint): void {
    const { database, onRestored, log, clock } = this.#options;
    // Who may only read has given no revision to anybody.
    if (!database.writable || revision <= database.knownRevision()) return;
    const now = clock.monotonic();
    if (this.#isRestored || now < this.#hearAgainAt) return;
    this.#isRestored = true;
    this.#hearAgainAt = now + this.#hearAgainAfter;
    this.#hearAgainAfter = Math.min(HEARD_AGAIN.longest, 2 * this.#hearAgainAfter);
    log.warn('a peer knows changes of this device that it has never made: it was copied or restored', {
      peer: session.peer.id,
      theirs: revision,
      ours: database.revision(),
    });
    try {
      // Before anything else is changed here: whether and when there will be another ID is not known yet.
      database.skipRevisions(revision);
    } catch (thrown) {
      log.warn('the revisions of changes made elsewhere were not noted', { error: asError(thrown) });
    }
    const taken = onRestored?.({ peer: session.peer.id, revision }) ?? Promise.resolve(false);
    const undecided = () => {
      this.#isRestored = false;
    };
    taken.then((isTaken) => {
      if (!isTaken) undecided();
    }, undecided);
  }

  peers(): readonly ReplicationPeer[] {
    return Array.from(this.#connections, ({ session, outflow }) => ({
      session,
      isCaughtUp: outflow.isCaughtUp,
    }));
  }

  flow(session: Session): Flow | undefined {
    for (const connection of this.#connections) if (connection.session === session) return connection.flow;
    return undefined;
  }

  refresh(peer?: string): void {
    for (const connection of this.#connections) {
      if (connection.isSubscribed && (peer === undefined || connection.remote.id === peer)) {
        connection.refresh();
      }
    }
  }

  close(): void {
    this.#stopListening();
    for (const connection of this.#connections) connection.close();
    this.#connections.clear();
    this.#inflow.close();
  }
}

interface ConnectionListener {
  readonly onSent: (count: number) => void;
  /** The peer names a revision of ours. */
  readonly onOwnRevision: (revision: bigint) => void;
}

class Connection {
  readonly session: Session;
  readonly remote: Remote;
  readonly outflow: Outflow;
  readonly #options: ReplicationOptions;
  readonly #listener: ConnectionListener;
  readonly #source: Source;
  #isSubscribed = false;
  #refreshing: Timer | undefined;

  constructor(session: Session, options: ReplicationOptions, inflow: Inflow, listener: ConnectionListener) {
    this.session = session;
    this.#options = options;
    this.#listener = listener;
    this.remote = { id: session.peer.id, level: session.level };
    const { feed } = options.database;
    this.outflow = new Outflow({ feed, signer: options.signer, session, onSent: listener.onSent });
    this.#source = inflow.open(session, {
      onStored: (sequence) => this.outflow.skip(sequence),
      onOwnRevision: listener.onOwnRevision,
    });
  }

  get isSubscribed(): boolean {
    return this.#isSubscribed;
  }

  get flow(): Flow {
    const { isCaughtUp, hasLeftOut } = this.outflow;
    return { hasSentAll: isCaughtUp && !hasLeftOut, hasStoredAll: this.#source.hasStoredAll };
  }

  async receive(message: IncomingMessage): Promise<void> {
    switch (message.type) {
      case update.type:
        await this.#source.receive(message);
        return;
      case getUpdates.type:
        this.#beginAt(new Map(decode(getUpdates, message).since));
        return;
      default:
      // A message of a later version of the extension.
    }
  }

  #beginAt(since: Map<string, bigint>): void {
    const { self, level } = this.session;
    const own = since.get(self) ?? 0n;
    if (own > this.#options.database.knownRevision()) {
      // What it knows under our ID may be others' changes: of ours it is sent everything.
      since.delete(self);
      // Only the word of a member who may write counts: it could make us believe it by a signature too.
      if (level === 'read_write') this.#listener.onOwnRevision(own);
    }
    this.outflow.begin(since);
  }

  /** Asks for what the peer has and we don't; once in a while for everything, in case something was withheld. */
  subscribe(): void {
    this.#isSubscribed = true;
    const { database, clock, refreshEvery = DAY_MS } = this.#options;
    const now = clock.now();
    const last = database.since.refreshed(this.remote);
    // A clock that says more than can be counted was set wrongly.
    const isSane = now >= YEAR_2020 && now < MAX_U63;
    const age = last === undefined || !isSane ? 0n : now - last;
    const isDue = age >= BigInt(refreshEvery) * 1_000_000n || age < 0n;
    if (isDue) {
      this.refresh();
      return;
    }
    // We know our own changes; and a peer that knows more of them than we do learns of it this way.
    const since = new Map(database.since.load(this.remote)).set(this.session.self, database.knownRevision());
    this.#ask(since);
    this.#refreshLater();
  }

  refresh(): void {
    this.#noteRefresh();
    this.#ask(EMPTY_CLOCK);
    this.#refreshLater();
  }

  #noteRefresh(): void {
    const { database, clock } = this.#options;
    try {
      database.since.setRefreshed(this.remote, clock.now());
    } catch (thrown) {
      // A full disk, say. Then it is done again after the next start: no reason not to ask now.
      this.session.log.warn('could not note when a peer was asked for everything', {
        error: asError(thrown),
      });
    }
  }

  #refreshLater(): void {
    const { clock, refreshEvery = DAY_MS } = this.#options;
    this.#refreshing?.cancel();
    this.#refreshing = clock.after(refreshEvery, () => this.refresh());
  }

  #ask(since: VectorClock): void {
    // If the session has ended, it is told to everybody; there is nothing to be done about it here.
    this.session.send({ json: encode(getUpdates, { since }) }).catch(() => {});
  }

  close(): void {
    this.#isSubscribed = false;
    this.#refreshing?.cancel();
    this.outflow.stop();
  }
}
