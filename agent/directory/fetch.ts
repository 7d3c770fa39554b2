/**
 * Brings the contents that pending records lack: from a copy that is here already, or else from the peers, from several
 * at the same time, as the schedule says. What arrives is verified before it takes its place; what does not fit is its
 * sender's fault, and asked of another.
 */

import { asError, errorCode } from '../base/errors.ts';
import { encode, type MessageOf } from '../wire/message.ts';
import type { Payload } from '../wire/message-stream.ts';
import { Backlog } from './backlog.ts';
import { BusyContents } from './busy-contents.ts';
import { type Delivered, Delivery } from './deliver.ts';
import type { FetcherOptions } from './fetch-options.ts';
import { type FetchSource, Source, type SourcePeer } from './fetch-source.ts';
import { Incoming } from './incoming.ts';
import { type Interval, totalLength } from './intervals.ts';
import type { Allowance } from './manners/flow.ts';
import * as messages from './messages.ts';
import type { PendingRow } from './pending.ts';
import { readFilter } from './receive.ts';
import { Retries } from './retries.ts';
import { type Request, SCHEDULE_LIMITS, Schedule } from './schedule.ts';
import { SMALL_CONTENT } from './supply.ts';
import { Ticking } from './ticking.ts';
import { isOfOneFile } from './troubles.ts';

/** Rows that are looked at in one go. */
const REFILL = 128;
/** Contents that are copied from elsewhere in the share at the same time. */
const COPIES_AT_ONCE = 16;
/** Portions that are looked at before anything else gets its turn. */
const PORTIONS = 4;

export class Fetcher {
  readonly #options: FetcherOptions;
  readonly #schedule: Schedule;
  readonly #backlog: Backlog;
  readonly #delivery: Delivery;
  readonly #incoming: Incoming;
  readonly #sources = new Map<number, Source>();
  readonly #busy: BusyContents;
  readonly #retries: Retries;
  readonly #allowance: Allowance;
  #nextSource = 1;
  #copies = 0;
  #isScheduled = false;
  #isPaused = false;
  #isClosed = false;
  readonly #ticking: Ticking;

  constructor(options: FetcherOptions) {
    this.#options = options;
    this.#backlog = new Backlog(options.pending);
    this.#delivery = new Delivery(options);
    this.#busy = new BusyContents({
      onFailure: (thrown, sha256) => {
        if (!this.#isClosed) this.#onTrouble(thrown, sha256);
      },
      again: (sha256) => this.#copyAll(sha256),
      onDone: () => this.wake(),
    });
    this.#retries = new Retries({
      clock: options.clock,
      onAll: () => this.lookAgain(),
      onDue: (due) => this.#guarded(() => this.#retry(due)),
    });
    this.#allowance = options.download.open({
      underWay: () => this.#schedule.underWay,
      onRoom: () => this.wake(),
      onRegulated: () => this.lookAgain(),
    });
    this.#schedule = new Schedule(
      (number, sha256) => this.#likelihood(number, sha256),
      SCHEDULE_LIMITS,
      this.#allowance,
    );
    this.#ticking = new Ticking(options.clock, this.#schedule, () => this.#guarded(() => this.#onTick()));
    this.#incoming = new Incoming({ ...options, schedule: this.#schedule, now: () => this.#now() });
  }

  /** Something may have become pending. */
  wake(): void {
    if (this.#isScheduled || this.#isClosed) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      this.#guarded(() => this.#advance());
    });
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    this.#retries.hope();
    this.lookAgain();
  }

  attach(peer: SourcePeer): FetchSource {
    const number = this.#nextSource++;
    const source = new Source(number, peer);
    this.#sources.set(number, source);
    this.#schedule.addSource(number, this.#now());
    this.#schedule.limitRange(number, SCHEDULE_LIMITS.firstRange);
    this.#retries.reset();
    this.#backlog.restart();
    source.send({ json: encode(messages.getPresence, {}) });
    this.#ticking.next();
    this.wake();
    return {
      data: (message, payload) => this.#onData(source, message, payload),
      notPresent: ({ sha256 }) => void this.#onRefused(source, sha256),
      getError: ({ sha256, message }) => {
        source.peer.log.debug('a peer can not serve a file', { sha256, message });
        // Written down only if it was asked: whoever answers unasked must not make us write.
        const size = this.#schedule.sizeOf(sha256);
        if (this.#onRefused(source, sha256)) this.#options.refusals.add(source.peer.id, sha256, size);
      },
      bloomFilter: async ({ kValue, range }, payload) => {
        source.presence.setFilter(await readFilter(payload), kValue);
        this.#schedule.limitRange(number, range);
        this.#schedule.reconsider(number);
        this.#backlog.restart();
        this.wake();
      },
      present: ({ sha256 }) => this.#onPresent(source, sha256),
      has: (sha256) => source.presence.hasAnnounced(sha256),
      detach: () => {
        this.#sources.delete(number);
        this.#schedule.removeSource(number);
        this.wake();
      },
    };
  }

  /** No record may need these contents any more. */
  obsolete(sha256: string): void {
    if (this.#busy.has(sha256) || this.#options.pending.isWanted(sha256)) return;
    this.#retries.settled(sha256);
    this.#options.absences.over(sha256);
    this.#drop(sha256);
    if (this.#options.partials.has(sha256))
      void this.#busy.run(sha256, () => this.#options.partials.discard(sha256));
  }

  /** There is more room on the disk. */
  lookAgain(): void {
    this.#backlog.restart();
    this.wake();
  }

  /** Resolves when nothing is under way on our own disk. */
  idle(): Promise<void> {
    return this.#busy.idle();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#ticking.cancel();
    this.#retries.cancel();
    this.#allowance.close();
    this.#delivery.wake();
    await this.idle();
    await this.#options.partials.closeAll();
  }

  /** Bytes that have come of contents that are not whole yet. */
  get partlyHere(): number {
    return this.#schedule.done;
  }

  get #mayRun(): boolean {
    return !this.#isPaused && !this.#isClosed && !this.#retries.isTrouble && this.#options.mayFetch();
  }

  #now(): number {
    return this.#options.clock.monotonic();
  }

  /** For what is called by nobody who could catch: the database may refuse at any time. */
  #guarded(work: () => void): void {
    try {
      work();
    } catch (thrown) {
      if (!this.#isClosed) this.#onTrouble(thrown);
    }
  }

  #advance(): void {
    if (!this.#mayRun) return;
    const { room, pending } = this.#options;
    // Where the folder is not there, that is told elsewhere.
    if (!room.isFresh && pending.has('content'))
      return void room
        .look()
        .catch(() => this.#retries.trouble())
        .then(() => this.wake());
    // Half empty: so that rows are read in portions, not one by one.
    for (let portion = 0; this.#schedule.room >= SCHEDULE_LIMITS.contents / 2; portion++) {
      if (portion === PORTIONS) this.wake();
      if (portion === PORTIONS || this.#copies >= COPIES_AT_ONCE) break;
      const rows = this.#backlog.next(REFILL);
      if (rows.length === 0) break;
      for (const row of rows) this.#consider(row);
    }
    this.#issue(this.#schedule.next(this.#now()));
  }

  #consider({ uuid, sha256, size }: PendingRow): void {
    if (sha256 === undefined || this.#retries.isHopeless(sha256, size)) return;
    if (this.#busy.has(sha256)) this.#busy.repeat(sha256);
    if (this.#busy.has(sha256) || this.#schedule.has(sha256)) return;
    if (size === 0n || this.#options.local.mayHave(sha256))
      void this.#busy.run(sha256, () => this.#copy(uuid, sha256, size));
    else this.#fetch(sha256, size);
  }

  #fetch(sha256: string, size: bigint): void {
    if (this.#busy.has(sha256) || this.#schedule.has(sha256)) return;
    const { partials } = this.#options;
    if (size > SMALL_CONTENT && partials.has(sha256))
      void this.#busy.run(sha256, () => this.#goOn(sha256, Number(size)));
    else this.#want(sha256, size);
  }

  #want(sha256: string, size: bigint, have: readonly Interval[] = []): void {
    const { room, download } = this.#options;
    // Without anybody to ask, or leave to, there is no use in choosing what to ask for.
    if (this.#sources.size === 0 || download.isHeld) return;
    const left = size - BigInt(totalLength(have));
    // What is large takes room when it begins to come: announcing it must not take any from others.
    const isRoom = size <= SMALL_CONTENT ? room.begin(sha256, left) : room.fits(sha256, left);
    if (isRoom) this.#schedule.want({ sha256, size: Number(size), have: [...have] });
    this.#ticking.next();
  }

  #drop(sha256: string): void {
    this.#schedule.drop(sha256);
    this.#options.room.end(sha256);
  }

  async #copy(uuid: string, sha256: string, size: bigint): Promise<void> {
    this.#copies += 1;
    try {
      const outcome = await this.#options.placer.apply(uuid);
      if (outcome === 'content') this.#want(sha256, size);
      else this.#account(sha256, outcome);
    } finally {
      this.#copies -= 1;
    }
  }

  /** Each record once: what is blocked waits for its time. */
  async #copyAll(sha256: string): Promise<void> {
    for (const { uuid, size } of this.#options.pending.waitingFor(sha256))
      await this.#copy(uuid, sha256, size);
  }

  /** An interrupted transfer: asks for what is left of it. */
  async #goOn(sha256: string, size: number): Promise<void> {
    const { have } = await this.#options.partials.open(sha256, size);
    const [all] = have;
    if (all !== undefined && all.start === 0 && all.end === size) {
      // It was complete, but could not be placed then.
      const outcome = await this.#delivery.file(sha256, size);
      if (outcome === 'wrong') this.#want(sha256, BigInt(size));
      else this.#account(sha256, outcome);
      return;
    }
    this.#want(sha256, BigInt(size), have);
    if (!this.#schedule.has(sha256)) await this.#options.partials.close(sha256);
  }

  #issue(requests: readonly Request[]): void {
    for (const { source, sha256, offset, length } of requests) {
      const range = [BigInt(offset), BigInt(length)] as const;
      this.#sources.get(source)?.send({ json: encode(messages.get, { sha256, range }) });
    }
  }

  async #onData(source: Source, message: MessageOf<typeof messages.data>, payload: Payload | undefined) {
    const { sha256 } = message;
    const arrival = await this.#incoming.receive(source, message, payload);
    if (arrival.kind === 'unasked') return source.answeredUnasked();
    if (arrival.kind === 'failed') return this.#onTrouble(arrival.error, sha256, arrival.size);
    this.wake();
    if (arrival.kind === 'part') return undefined;
    const { bytes, size } = arrival;
    void this.#busy.run(sha256, () =>
      this.#deliver(sha256, bytes ? this.#delivery.bytes(sha256, bytes) : this.#delivery.file(sha256, size)),
    );
    // What is in memory waits for its place.
    return bytes === undefined ? undefined : this.#delivery.room();
  }

  /** What became of contents that had arrived. */
  async #deliver(sha256: string, delivering: Promise<Delivered>): Promise<void> {
    let outcome: Delivered = 'blocked';
    try {
      outcome = await delivering;
    } finally {
      if (outcome !== 'wrong') this.#drop(sha256);
    }
    if (outcome === 'wrong') this.#onMismatch(sha256);
    else this.#account(sha256, outcome);
  }

  #account(sha256: string, outcome: Delivered): void {
    // Of several records with the same contents, some may have them and others not.
    if (this.#options.pending.isWanted(sha256)) this.#retries.later(sha256, 'blocked');
    else this.#retries.settled(sha256);
    this.#options.absences.over(sha256);
    if (outcome !== 'done') return;
    this.#retries.worked();
    this.#options.onPlaced();
  }

  #onMismatch(sha256: string): void {
    const culprit = this.#schedule.mismatch(sha256);
    const source = culprit === undefined ? undefined : this.#sources.get(culprit);
    const size = this.#schedule.sizeOf(sha256);
    if (source !== undefined) this.#options.refusals.add(source.peer.id, sha256, size);
    source?.lied(sha256);
    this.#options.room.end(sha256);
    this.wake();
  }

  /** @returns whether it was asked, and the answer is still of use. */
  #onRefused(source: Source, sha256: string): boolean {
    const reception = this.#schedule.refused(source.number, sha256, undefined, this.#now());
    if (reception === 'unasked') source.answeredUnasked();
    else this.wake();
    return reception === 'useful';
  }

  #onPresent(source: Source, sha256: string): void {
    const { pending, refusals } = this.#options;
    source.presence.announce(sha256);
    refusals.remove(source.peer.id, sha256);
    this.#schedule.reconsider(source.number, sha256);
    const [row] = this.#schedule.has(sha256) ? [] : pending.waitingFor(sha256);
    if (row !== undefined && this.#mayRun && this.#schedule.room > 0) this.#consider(row);
    this.wake();
  }

  #likelihood(number: number, sha256: string) {
    const source = this.#sources.get(number);
    const size = this.#schedule.sizeOf(sha256);
    if (source === undefined || this.#options.refusals.has(source.peer.id, sha256, size)) return 'never';
    return source.presence.likelihood(sha256);
  }

  #onTick(): void {
    if (this.#sources.size === 0 || this.#isClosed) return;
    this.#ticking.next();
    if (!this.#mayRun) return;
    const { requests, exhausted } = this.#schedule.tick(this.#now());
    this.#issue(requests);
    for (const { sha256, size } of exhausted) this.#onExhausted(sha256, BigInt(size));
    this.#advance();
  }

  /** Nobody has them, or nobody has them of this size. */
  #onExhausted(sha256: string, size: bigint): void {
    this.#options.room.end(sha256);
    const other = this.#options.absences.note(sha256, size);
    if (other === undefined) this.#retries.later(sha256, 'absent');
    void this.#busy
      .run(sha256, () => this.#options.partials.close(sha256))
      .then(() => {
        if (other !== undefined && this.#mayRun) this.#guarded(() => this.#fetch(sha256, other));
      });
  }

  #retry(due: readonly string[]): void {
    for (const sha256 of due) {
      const rows = this.#options.pending.waitingFor(sha256);
      if (rows.length === 0) this.#retries.settled(sha256);
      if (!this.#mayRun) this.#retries.later(sha256, 'blocked');
      else for (const row of rows) this.#consider(row);
    }
    this.wake();
  }

  #onTrouble(thrown: unknown, sha256?: string, size?: number): void {
    const code = errorCode(thrown);
    this.#options.log.debug('a file could not be put into its place', { code, error: asError(thrown) });
    this.#options.onTrouble(asError(thrown));
    if (sha256 === undefined || !isOfOneFile(code)) this.#retries.trouble();
    else if (code === 'files.too_big') this.#retries.never(sha256, size);
    else this.#retries.later(sha256, 'blocked');
    if (sha256 === undefined || this.#schedule.has(sha256)) return;
    const { partials } = this.#options;
    const isHopeless = code === 'files.too_big';
    void this.#busy.run(sha256, () => (isHopeless ? partials.discard(sha256, size) : partials.close(sha256)));
  }
}
