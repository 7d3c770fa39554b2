/**
 * What peers send us: decoded, verified where it must be, and stored, many updates to a durable commit when they come
 * fast, and at once when they come alone. How far a peer has told us is stored in the same commit.
 */

import type { Clock, Timer } from '../base/clock.ts';
import { asError, internalError, SkylarkError } from '../base/errors.ts';
import type { Session } from '../club/session.ts';
import type { ClubSigner } from '../club/signer.ts';
import type { IncomingMessage } from '../wire/message-stream.ts';
import type { ReplicatedDatabase } from './club-database.ts';
import { decodeUpdate } from './messages.ts';
import type { Version } from './record.ts';
import type { Remote } from './since.ts';
import type { Signed } from './store.ts';

export interface InflowOptions {
  readonly database: ReplicatedDatabase;
  readonly signer: ClubSigner;
  readonly clock: Clock;
  readonly counters: InflowCounters;
}

export interface InflowCounters {
  /** Updates that were taken, new to us or not. */
  received: number;
  /** Updates that a read-only connection brought without a valid signature. */
  refused: number;
}

/** Updates in one commit. */
const BATCH = 512;
/** What one peer may have waiting before it has to wait itself. */
const MAX_WAITING = 1_024;
const MAX_WAITING_BYTES = 4_194_304;

interface Arrival {
  readonly source: Source;
  readonly version: Version;
  readonly signed: Signed | undefined;
  /** Bytes of the message. */
  readonly size: number;
}

export interface SourceListener {
  /** The place of a version that is now the current one and came from this connection. */
  readonly onStored: (sequence: number) => void;
  /** An update that says that we made it, verified where it must be, and stored. */
  readonly onOwnRevision: (revision: bigint) => void;
}

/** For all connections of a club. */
export class Inflow {
  readonly #options: InflowOptions;
  readonly #queue: Arrival[] = [];
  #timer: Timer | undefined;
  #closed = false;

  constructor(options: InflowOptions) {
    this.#options = options;
  }

  open(session: Session, listener: SourceListener): Source {
    return new Source(this.#options, session, listener, (arrival) => this.#push(arrival));
  }

  #push(arrival: Arrival): void {
    if (this.#closed) {
      arrival.source.release(arrival.size);
      return;
    }
    this.#queue.push(arrival);
    this.#flushSoon();
  }

  /** What else has been received already is decoded before a timer can fire, and goes into the same commit. */
  #flushSoon(): void {
    this.#timer ??= this.#options.clock.after(0, () => this.#flush());
  }

  #flush(): void {
    this.#timer = undefined;
    const batch = this.#queue.splice(0, BATCH);
    try {
      this.#store(batch);
    } catch {
      // What one peer sends must not keep the others' from being stored.
      for (const arrival of batch) this.#storeAlone(arrival);
    }
    for (const { source, size } of batch) source.release(size);
    if (this.#queue.length > 0) this.#flushSoon();
  }

  #storeAlone(arrival: Arrival): void {
    try {
      this.#store([arrival]);
    } catch (thrown) {
      arrival.source.fail(thrown);
    }
  }

  #store(batch: readonly Arrival[]): void {
    const { database, counters, clock } = this.#options;
    // Behind something that could not be stored, nothing of that connection may be: we would never ask for it again.
    const arrivals = batch.filter(({ source }) => !source.hasFailed);
    const applied = database.transaction(() => {
      const told = new Map<Source, Map<string, bigint>>();
      const results = arrivals.map(({ source, version, signed }) => {
        const authors = told.get(source) ?? new Map<string, bigint>();
        told.set(source, authors);
        const { lastUpdatedBy, lastUpdatedRev } = version;
        if (lastUpdatedRev > (authors.get(lastUpdatedBy) ?? -1n)) authors.set(lastUpdatedBy, lastUpdatedRev);
        return { source, applied: database.receive(version, source.remote.id, signed) };
      });
      for (const [{ remote }, authors] of told) {
        if (!database.since.admit(remote, clock.now())) continue;
        for (const [author, revision] of authors) database.since.advance(remote, author, revision);
      }
      return results;
    });
    counters.received += applied.length;
    for (const { source, applied: result } of applied) {
      if (result.isCurrent) source.listener.onStored(result.sequence);
    }
    for (const { source, version } of arrivals) {
      if (version.lastUpdatedBy === source.self) source.listener.onOwnRevision(version.lastUpdatedRev);
    }
  }

  /** What is not stored yet will be asked for again. */
  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
    for (const { source, size } of this.#queue.splice(0)) source.release(size);
  }
}

/** One connection that updates come from. */
export class Source {
  readonly remote: Remote;
  /** Our peer ID on this connection. */
  readonly self: string;
  readonly listener: SourceListener;
  readonly #options: InflowOptions;
  readonly #session: Session;
  readonly #push: (arrival: Arrival) => void;
  /** Verifications end in any order; what they verify is stored in the order in which it came. */
  #verified: Promise<void> = Promise.resolve();
  #waiting = 0;
  #waitingBytes = 0;
  #wake: (() => void) | undefined;
  #hasFailed = false;
  #hasRefused = false;

  constructor(
    options: InflowOptions,
    session: Session,
    listener: SourceListener,
    push: (arrival: Arrival) => void,
  ) {
    this.#options = options;
    this.#session = session;
    this.#push = push;
    this.listener = listener;
    this.self = session.self;
    this.remote = { id: session.peer.id, level: session.level };
  }

  get hasFailed(): boolean {
    return this.#hasFailed;
  }

  /** Whether all that has come is stored: nothing waits, and nothing was refused. */
  get hasStoredAll(): boolean {
    return this.#waiting === 0 && !this.#hasFailed && !this.#hasRefused;
  }

  /**
   * Takes an update; resolves when there is room for another one.
   * @throws SkylarkError (peer) for a malformed one.
   */
  async receive(message: IncomingMessage): Promise<void> {
    const version = decodeUpdate(message);
    const { body, signature } = message;
    const size = body.length;
    this.#waiting += 1;
    this.#waitingBytes += size;
    if (this.#session.level === 'read_write') {
      this.#push({ source: this, version, signed: undefined, size });
    } else {
      const verdict = signature === undefined ? false : this.#options.signer.verify(body, signature);
      this.#verified = this.#verified.then(async () => {
        if (signature !== undefined && (await verdict)) {
          this.#push({ source: this, version, signed: { body, signature }, size });
        } else {
          this.#refuse(size);
        }
      });
    }
    while (this.#waiting > MAX_WAITING || this.#waitingBytes > MAX_WAITING_BYTES) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  #refuse(size: number): void {
    this.#options.counters.refused += 1;
    this.release(size);
    if (this.#hasRefused) return;
    this.#hasRefused = true;
    this.#session.log.warn('refused an update that no read-write member has signed');
  }

  /** An update is dealt with, whatever became of it. */
  release(size: number): void {
    this.#waiting -= 1;
    this.#waitingBytes -= size;
    this.#wake?.();
  }

  fail(thrown: unknown): void {
    this.#hasFailed = true;
    const error = asError(thrown);
    this.#session.log.error('an update could not be stored', { error });
    this.#session.close(
      error instanceof SkylarkError
        ? error
        : internalError('database.not_stored', 'an update could not be stored', { cause: error }),
    );
  }
}
