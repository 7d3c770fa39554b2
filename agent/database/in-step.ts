/**
 * Which members have everything that we have, by the extension `.io.skylark.in_step` (docs/protocol.md, section 5). When
 * all that we have was sent, a mark follows it; when the other side has stored what came before the mark, and has every
 * file of it in its place, it answers with the mark. It is the word of a member, who could lie about it as about
 * anything that it promises to keep.
 */

import type { Clock, Timer } from '../base/clock.ts';
import { asError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { AttachedExtension, Extension, Session } from '../club/session.ts';
import { decode, encode } from '../wire/message.ts';
import type { IncomingMessage } from '../wire/message-stream.ts';
import type { ReplicatedDatabase } from './club-database.ts';
import type { Holder } from './holders.ts';
import { IN_STEP, inStepHeld, inStepMark } from './messages.ts';
import type { Replication } from './replication.ts';

export type { Holder } from './holders.ts';

/**
 * What is here of the files of all records that are known: all of them; not all of them yet, or it can't be told at the
 * moment; or a part, and it is not to become all by itself.
 */
export type Holding = 'all' | 'not_yet' | 'part';

export interface InStepOptions {
  readonly database: Pick<ReplicatedDatabase, 'feed' | 'holders' | 'onStored'>;
  readonly replication: Pick<Replication, 'flow'>;
  readonly holding: () => Holding;
  readonly clock: Clock;
  readonly log: Logger;
}

export interface InStep extends Extension {
  /** The members that are known to have everything that is recorded here, connected or not. */
  holders(): readonly Holder[];
  /** What is here may have become more or less. */
  disturb(): void;
  close(): void;
}

/** Between two looks at what may be said now, milliseconds: longer each time until something happens. */
const LOOK = { first: 500, longest: 60_000 };
/** Peer IDs cost nothing. */
const MAX_HOLDERS = 256;
/** Flash wears: it is written down so often at most, and at the end, milliseconds. */
const WRITE_MS = 6 * 3_600_000;

export function openInStep(options: InStepOptions): InStep {
  return new OpenInStep(options);
}

class OpenInStep implements InStep {
  readonly name = IN_STEP;
  readonly payloadLimits = {};
  readonly #options: InStepOptions;
  readonly #peers = new Set<Peer>();
  readonly #stopListening: () => void;
  /** By peer ID, whose word is the oldest first. */
  readonly #holders = new Map<string, Holder>();
  /** The place of the club's newest record, or a later one. */
  #place: number;
  #timer: Timer | undefined;
  #due = 0;
  #wait = LOOK.first;
  #writtenAt: number;
  #isChanged = false;

  constructor(options: InStepOptions) {
    this.#options = options;
    const { database, clock } = options;
    this.#place = database.feed.last();
    this.#writtenAt = clock.monotonic();
    for (const holder of database.holders.load())
      this.#holders.set(holder.id, { ...holder, place: this.#moved(holder.place) });
    this.#stopListening = database.onStored(() => {
      this.#place = database.feed.last();
      this.disturb();
    });
  }

  attach(session: Session): AttachedExtension {
    const peer = new Peer(session);
    this.#peers.add(peer);
    this.disturb();
    return {
      receive: async (message) => this.#receive(peer, message),
      detach: () => void this.#peers.delete(peer),
    };
  }

  holders(): readonly Holder[] {
    return [...this.#holders.values()].filter(({ place }) => place >= this.#place);
  }

  disturb(): void {
    this.#wait = LOOK.first;
    if (this.#peers.size === 0) return;
    if (this.#timer !== undefined && this.#due - this.#options.clock.monotonic() <= LOOK.first) return;
    this.#lookLater();
  }

  close(): void {
    this.#timer?.cancel();
    this.#stopListening();
    this.#peers.clear();
    this.#write();
  }

  /** The same place, counted so that what was stored for other clubs since does not matter. */
  #moved(place: number): number {
    const { feed } = this.#options.database;
    const { items, next } = feed.bySequence(place, { items: 1, size: 1 });
    return items.length === 0 && next >= this.#place ? this.#place : place;
  }

  #lookLater(): void {
    const { clock } = this.#options;
    this.#timer?.cancel();
    this.#due = clock.monotonic() + this.#wait;
    this.#timer = clock.after(this.#wait, () => {
      this.#timer = undefined;
      this.#wait = Math.min(LOOK.longest, this.#wait * 2);
      if (this.#peers.size > 0) this.#lookLater();
      this.#look();
    });
  }

  /** Never throws: nobody could catch it. */
  #look(): void {
    const { holding, replication, clock, log } = this.#options;
    try {
      const here = this.#peers.size === 0 ? 'not_yet' : holding();
      for (const peer of this.#peers) {
        const flow = replication.flow(peer.session);
        if (flow?.hasSentAll) peer.mark(this.#place);
        if (here === 'all' && flow?.hasStoredAll) peer.answer();
        else if (here === 'part') peer.takeBack();
      }
    } catch (thrown) {
      log.warn('members could not be told what is here', { error: asError(thrown) });
    }
    if (clock.monotonic() - this.#writtenAt >= WRITE_MS) this.#write();
  }

  #receive(peer: Peer, message: IncomingMessage): void {
    if (message.type === inStepMark.type) {
      peer.marked(decode(inStepMark, message).mark);
      this.disturb();
    } else if (message.type === inStepHeld.type) {
      this.#onHeld(peer, decode(inStepHeld, message).mark);
    }
  }

  #onHeld({ session, lastMark }: Peer, mark: bigint): void {
    const { id } = session.peer;
    const { level } = session;
    const known = this.#holders.get(id);
    // Any member may go by any ID: who may only read says nothing about one who may write.
    if (known?.level === 'read_write' && level === 'read_only') return;
    if (mark === 0n) {
      this.#isChanged = this.#holders.delete(id) || this.#isChanged;
      return;
    }
    // About an earlier mark: there is more by now, and it will be told of.
    if (lastMark === undefined || mark !== lastMark.number) return;
    const { place } = lastMark;
    const since = known !== undefined && known.place >= place ? known.since : this.#options.clock.now();
    this.#holders.delete(id);
    this.#holders.set(id, { id, level, place, since });
    this.#isChanged = true;
    for (const oldest of this.#holders.keys()) {
      if (this.#holders.size <= MAX_HOLDERS) break;
      this.#holders.delete(oldest);
    }
  }

  /** What is not written is asked for again. */
  #write(): void {
    const { database, clock, log } = this.#options;
    this.#writtenAt = clock.monotonic();
    if (!this.#isChanged) return;
    try {
      const last = database.feed.last();
      const upToDate = (holder: Holder) =>
        holder.place >= this.#place ? { ...holder, place: last } : holder;
      database.holders.save(Array.from(this.#holders.values(), upToDate));
      this.#isChanged = false;
    } catch (thrown) {
      log.warn('what other members have could not be written down', { error: asError(thrown) });
    }
  }
}

/** One session. */
class Peer {
  readonly session: Session;
  /** The last one that we sent, and the place that it stands for. */
  lastMark: { readonly number: bigint; readonly place: number } | undefined;
  /** The last one that came. */
  #theirMark = 0n;
  #answered = 0n;
  /** One message at a time: a peer that does not read makes no queue. */
  #isSending = false;

  constructor(session: Session) {
    this.session = session;
  }

  marked(mark: bigint): void {
    this.#theirMark = mark;
  }

  mark(place: number): void {
    if (this.lastMark?.place === place || this.#isSending) return;
    const number = (this.lastMark?.number ?? 0n) + 1n;
    this.lastMark = { number, place };
    this.#send(encode(inStepMark, { mark: number }));
  }

  answer(): void {
    if (this.#theirMark === this.#answered || this.#isSending) return;
    this.#answered = this.#theirMark;
    this.#send(encode(inStepHeld, { mark: this.#answered }));
  }

  takeBack(): void {
    if (this.#answered === 0n || this.#isSending) return;
    this.#answered = 0n;
    this.#send(encode(inStepHeld, { mark: 0n }));
  }

  #send(json: ReturnType<typeof encode>): void {
    this.#isSending = true;
    const sent = () => {
      this.#isSending = false;
    };
    // A session that can't send ends by itself.
    this.session.send({ json }).then(sent, sent);
  }
}
