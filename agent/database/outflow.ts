/**
 * What one peer is sent: first what it lacks, each author's changes in their order, then everything that comes, in the
 * order in which it came. Both are read from the database as fast as the peer takes them, so a slow peer costs no
 * memory, and a version that was replaced before its turn is not sent at all.
 */

import { asError, SkylarkError } from '../base/errors.ts';
import type { Session } from '../club/session.ts';
import type { ClubSigner } from '../club/signer.ts';
import type { AuthorPlace, Feed, FeedItem } from './feed.ts';
import { updateBody } from './messages.ts';
import type { VectorClock } from './vector-clock.ts';

export interface OutflowOptions {
  readonly feed: Feed;
  readonly signer: ClubSigner;
  readonly session: Session;
  readonly onSent: (count: number) => void;
}

/** What is read, and handed to the connection, at a time. */
const BATCH = { items: 128, size: 262_144 };
/** Runs of places that came from the peer itself and are remembered as such; what is forgotten is sent to it once more. */
const MAX_RUNS = 4_096;

interface Run {
  readonly from: number;
  to: number;
}

export class Outflow {
  readonly #options: OutflowOptions;
  /** What the peer has asked for, until it is begun with. */
  #request: VectorClock | undefined;
  /** Everything up to here was sent; undefined: the peer has not asked, or the first part is still being sent. */
  #place: number | undefined;
  /** Places whose versions the peer has, since they came from it. In order. */
  #runs: Run[] = [];
  #wake: (() => void) | undefined;
  #isRunning = false;
  /** Nothing to do until somebody says so. */
  #isIdle = false;
  #stopped = false;
  #hasSkippedUnsigned = false;

  constructor(options: OutflowOptions) {
    this.#options = options;
  }

  /** The peer asks for everything after these revisions, and for all that follows. Asking again begins again. */
  begin(since: VectorClock): void {
    this.#request = since;
    this.#resume();
    if (this.#isRunning) return;
    this.#isRunning = true;
    void this.#run().catch((thrown: unknown) => this.#fail(thrown));
  }

  /** Records of the club were stored, the first of them at this place. */
  stored(first: number): void {
    // Everything in between belongs to other clubs.
    if (this.#isIdle && this.#place !== undefined) this.#place = Math.max(this.#place, first - 1);
    this.#resume();
  }

  #resume(): void {
    this.#isIdle = false;
    this.#wake?.();
  }

  /** The version at this place came from the peer: it need not be sent back. */
  skip(sequence: number): void {
    const last = this.#runs.at(-1);
    if (last !== undefined && sequence <= last.to) return;
    if (last !== undefined && sequence === last.to + 1) last.to = sequence;
    else this.#runs.push({ from: sequence, to: sequence });
    if (this.#runs.length > MAX_RUNS) this.#runs.shift();
  }

  /** Whether the peer has asked, and everything was handed to the connection. */
  get isCaughtUp(): boolean {
    return this.#isIdle && this.#place !== undefined;
  }

  /** Whether some of it was left out, since a read-only member would not take it without a signature. */
  get hasLeftOut(): boolean {
    return this.#hasSkippedUnsigned;
  }

  stop(): void {
    this.#stopped = true;
    this.#resume();
  }

  async #run(): Promise<void> {
    const { feed } = this.#options;
    while (!this.#stopped) {
      if (this.#request !== undefined) {
        const since = this.#request;
        this.#request = undefined;
        this.#place = undefined;
        this.#place = await this.#sendMissing(since);
      } else if (this.#place !== undefined && this.#place < feed.last()) {
        const { items, next } = feed.bySequence(this.#place, BATCH);
        await this.#send(items);
        this.#place = next;
        this.#runs.splice(0, firstRunAfter(this.#runs, next));
      } else {
        this.#isIdle = true;
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        this.#wake = undefined;
      }
    }
  }

  /** @returns the place up to which the peer has everything then; undefined if it has asked anew. */
  async #sendMissing(since: VectorClock): Promise<number | undefined> {
    const { feed, session } = this.#options;
    const upTo = feed.last();
    // Our own first: a conflict copy that we made should arrive before what it was copied from is replaced.
    for (const author of ourselvesFirst(session.self, feed.authors())) {
      await this.#sendAuthor(author, since.get(author) ?? -1n, upTo);
      if (this.#stopped || this.#request !== undefined) return undefined;
    }
    return upTo;
  }

  async #sendAuthor(author: string, after: bigint, upTo: number): Promise<void> {
    let place: AuthorPlace = { revision: after, sequence: Number.MAX_SAFE_INTEGER };
    for (;;) {
      const items = this.#options.feed.byAuthor(author, place, upTo, BATCH);
      const last = items.at(-1);
      if (last === undefined) return;
      await this.#send(items);
      if (this.#stopped || this.#request !== undefined) return;
      place = { revision: last.version.lastUpdatedRev, sequence: last.sequence };
    }
  }

  async #send(items: readonly FeedItem[]): Promise<void> {
    const { session, onSent } = this.#options;
    const lacking = items.filter(({ sequence }) => !this.#cameFromPeer(sequence));
    const messages = session.level === 'read_only' ? await this.#signed(lacking) : lacking.map(unsigned);
    // One call each, so that the connection can put them together; it takes them in this order.
    await Promise.all(messages.map((message) => session.send(message)));
    onSent(messages.length);
  }

  #cameFromPeer(sequence: number): boolean {
    const run = this.#runs[firstRunAfter(this.#runs, sequence - 1)];
    return run !== undefined && run.from <= sequence;
  }

  async #signed(items: readonly FeedItem[]): Promise<{ body: Uint8Array; signature: string }[]> {
    const { signer, feed, session } = this.#options;
    const made: { sequence: number; signature: string }[] = [];
    const messages = await Promise.all(
      items.map(async ({ sequence, version, body = updateBody(version), signature }) => {
        if (signature !== undefined) return { body, signature };
        if (!signer.canSign) return undefined;
        const fresh = await signer.sign(body);
        made.push({ sequence, signature: fresh });
        return { body, signature: fresh };
      }),
    );
    // Signing costs more than storing: nobody needs to sign this version again.
    if (made.length > 0 && !this.#stopped) feed.keepSignatures(made);
    const complete = messages.filter((message) => message !== undefined);
    if (complete.length < messages.length && !this.#hasSkippedUnsigned) {
      this.#hasSkippedUnsigned = true;
      session.log.warn('records without a signature are not passed on to a read-only member');
    }
    return complete;
  }

  #fail(thrown: unknown): void {
    const { session } = this.#options;
    this.#isRunning = false;
    if (this.#stopped || session.signal.aborted) return;
    const error = asError(thrown);
    session.log.warn('sending updates failed', { error });
    session.close(error instanceof SkylarkError ? error : undefined);
  }
}

function unsigned({ version, body }: FeedItem): { body: Uint8Array } {
  return { body: body ?? updateBody(version) };
}

/** Index of the first run that ends after a place. */
function firstRunAfter(runs: readonly Run[], place: number): number {
  let low = 0;
  let high = runs.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((runs[middle]?.to ?? 0) > place) high = middle;
    else low = middle + 1;
  }
  return low;
}

function* ourselvesFirst(self: string, authors: Iterable<string>): Iterable<string> {
  yield self;
  for (const author of authors) if (author !== self) yield author;
}
