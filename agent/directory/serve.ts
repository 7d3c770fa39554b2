/**
 * Answers other peers' requests for contents, for one session. Contents are streamed from the file that holds them, in
 * chunks; small answers pass large ones; nothing here holds up the receiving of other messages, unless a peer asks for
 * thousands of contents without taking the answers.
 */

import { errorCode } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { type KnownFile, type OpenFile, type ShareRoot, sameFacts } from '../platform/files.ts';
import { encode, type MessageOf } from '../wire/message.ts';
import type { OutgoingMessage } from '../wire/message-stream.ts';
import type { Outflow, Passage } from './manners/flow.ts';
import * as messages from './messages.ts';

/** A file that holds certain contents, as far as we know. */
export interface HeldContent {
  /** In the share. */
  readonly path: string;
  /** On the disk, below the share's root. */
  readonly localPath: string;
  /** What the file looked like when its contents were verified. */
  readonly known: KnownFile;
}

/** Which contents may be given to the other peer, and where they are. */
export interface Holdings {
  /** Only contents of live records of the session's own club. */
  find(sha256: string): Iterable<HeldContent>;
  /** The same, where `find` has nothing; may have to read the file first. Never rejects. */
  findSpare(sha256: string): Promise<HeldContent | undefined>;
  /** The file is not what it was: somebody should look at it. */
  changed(held: HeldContent): void;
}

export interface ServerOptions {
  readonly send: (message: OutgoingMessage) => Promise<void>;
  readonly root: Pick<ShareRoot, 'openFile' | 'readSmall'>;
  readonly holdings: Holdings;
  readonly log: Logger;
  /** Told of bytes on their way out. */
  readonly sent?: (bytes: number) => void;
  /** How much may be sent, and when. */
  readonly upload: Outflow;
}

interface Asked {
  readonly sha256: string;
  readonly range: readonly [bigint, bigint] | undefined;
  /** Which of the rates held then. */
  readonly regulation: number;
}

/** Requests that wait for their turn; a peer that has more waits itself. */
const MAX_WAITING = 16_384;
const CHUNK = 262_144;
/** Answers up to this size are read at once. */
const SMALL = 65_536;
const SMALL_AT_ONCE = 8;
/** Two, so that the next file is opened while one is on its way. */
const LARGE_AT_ONCE = 2;

/** Bytes of an answer that are not held back any more once it has begun. */
const MOST_AT_ONCE = BigInt(messages.MAX_RANGE);

/** What of a file is to be sent. */
interface Extent {
  readonly file: OpenFile;
  readonly held: HeldContent;
  readonly end: bigint;
}

interface Chunk {
  readonly buffer: Uint8Array;
  readonly filled: number;
}

/** One class of answers, worked off by a few at a time. */
interface Lane {
  readonly waiting: Set<Asked>;
  readonly width: number;
  busy: number;
}

export class ContentServer {
  readonly #options: ServerOptions;
  readonly #small: Lane = { waiting: new Set(), width: SMALL_AT_ONCE, busy: 0 };
  readonly #large: Lane = { waiting: new Set(), width: LARGE_AT_ONCE, busy: 0 };
  /** Chunks to read into, while large answers are given. */
  #spare: Uint8Array[] = [];
  #roomWaiters: (() => void)[] = [];
  readonly #controller = new AbortController();
  readonly #stopListening: () => void;
  /** Counts the rates that held, and the holds. */
  #regulation = 0;
  #closed = false;

  constructor(options: ServerOptions) {
    this.#options = options;
    this.#stopListening = options.upload.listen(() => {
      this.#regulation += 1;
    });
  }

  /** Takes a request. Resolves when another one may be taken, usually at once. */
  async get({ sha256, range }: MessageOf<typeof messages.get>): Promise<void> {
    const asked: Asked = { sha256, range, regulation: this.#regulation };
    const lane = isSmall(asked) ? this.#small : this.#large;
    lane.waiting.add(asked);
    this.#advance(lane);
    while (this.#small.waiting.size + this.#large.waiting.size > MAX_WAITING && !this.#closed)
      await new Promise<void>((resolve) => this.#roomWaiters.push(resolve));
  }

  /** Requests that were not answered are forgotten. */
  close(): void {
    this.#closed = true;
    this.#controller.abort();
    this.#stopListening();
    this.#small.waiting.clear();
    this.#large.waiting.clear();
    this.#spare = [];
    this.#wakeWaiters();
  }

  #advance(lane: Lane): void {
    while (lane.busy < lane.width) {
      const asked = first(lane.waiting);
      if (asked === undefined) return;
      lane.waiting.delete(asked);
      lane.busy += 1;
      void this.#answer(asked).then(() => {
        lane.busy -= 1;
        this.#wakeWaiters();
        this.#advance(lane);
        if (this.#large.busy === 0) this.#spare = [];
      });
    }
  }

  /** Never rejects: when sending fails, the session ends by itself, and us with it. */
  async #answer(asked: Asked): Promise<void> {
    let passage: Passage | undefined;
    try {
      // Before anything is opened or read: it may have to wait for long.
      if (!this.#isOutdated(asked))
        passage = await this.#options.upload.enter(lengthOf(asked), this.#controller.signal);
      // Our filter tells that all contents wait, or to ask for less at a time; this is for what was asked before.
      if (passage === undefined || this.#isOutdated(asked))
        return await this.#send({ json: notPresent(asked) });
      if (isSmall(asked) && (await this.#deliverSmall(asked, passage))) return;
      const opened = await this.#open(asked.sha256);
      if (opened === undefined) return await this.#send({ json: notPresent(asked) });
      try {
        await this.#deliver(asked, opened.file, opened.held, passage);
      } finally {
        await opened.file.close();
      }
    } catch (thrown) {
      if (this.#closed) return;
      this.#options.log.debug('a request for contents was not answered', {
        sha256: asked.sha256,
        reason: thrown instanceof Error ? thrown : String(thrown),
      });
    } finally {
      passage?.end();
    }
  }

  /** It was asked before there was a limit, and is so long that everything else would have to wait behind it. */
  #isOutdated(asked: Asked): boolean {
    const length = lengthOf(asked);
    return asked.regulation !== this.#regulation && length > SMALL && length > this.#options.upload.piece;
  }

  /** The whole of a small file at once; false if that is not what was asked for, or anything is unusual about it. */
  async #deliverSmall(asked: Asked, passage: Passage): Promise<boolean> {
    const { sha256, range } = asked;
    for (const held of this.#options.holdings.find(sha256)) {
      if (range?.[0] !== 0n || range[1] !== held.known.size) return false;
      const file = await this.#options.root.readSmall(held.localPath, SMALL).catch(() => undefined);
      if (file === undefined || !sameFacts(file.facts, held.known)) return false;
      if (!(await passage.pass(file.bytes.length))) return false;
      this.#options.sent?.(file.bytes.length);
      await this.#send({ json: encode(messages.data, { sha256, range }), payload: once(file.bytes) });
      return true;
    }
    return false;
  }

  /** The first file that still is what it was when it was verified. */
  async #open(sha256: string): Promise<{ file: OpenFile; held: HeldContent } | undefined> {
    const { holdings } = this.#options;
    for (const held of holdings.find(sha256)) {
      const opened = await this.#openHeld(held);
      if (opened !== undefined || this.#closed) return opened;
    }
    const spare = await holdings.findSpare(sha256);
    return spare && this.#openHeld(spare);
  }

  async #openHeld(held: HeldContent): Promise<{ file: OpenFile; held: HeldContent } | undefined> {
    try {
      const file = await this.#options.root.openFile(held.localPath);
      if (sameFacts(file.facts, held.known)) return { file, held };
      await file.close();
    } catch (thrown) {
      if (this.#closed) return undefined;
      this.#options.log.debug('a file could not be opened for a peer', {
        path: held.path,
        code: errorCode(thrown),
      });
    }
    this.#options.holdings.changed(held);
    return undefined;
  }

  async #deliver(asked: Asked, file: OpenFile, held: HeldContent, passage: Passage): Promise<void> {
    const { size } = held.known;
    const [start, length] = asked.range ?? [0n, size];
    if (start > size || length > size - start)
      return this.#send({ json: getError(asked, 'the range lies outside the file') });
    const extent: Extent = { file, held, end: start + length };
    let head: Chunk;
    try {
      head = await this.#read(extent, start);
    } catch (thrown) {
      this.#options.holdings.changed(held);
      const full = errorCode(thrown) ?? 'unknown';
      this.#options.log.warn('a file could not be read for a peer', { path: held.path, code: full });
      // No error: the peer would not ask again for hours, and a card that was pulled may be back in a minute.
      return this.#send({ json: notPresent(asked) });
    }
    // From here on the head of the answer is out, and only an early end can tell that something changed.
    if (!this.#isUnchanged(extent)) return this.#send({ json: notPresent(asked) });
    const json = encode(messages.data, { sha256: asked.sha256, range: [start, length] });
    await this.#send({ json, payload: this.#stream(extent, start, head, passage) });
  }

  /** The answer's payload, read one chunk ahead. Ends early if the file is changed meanwhile, or contents are held. */
  async *#stream(
    extent: Extent,
    start: bigint,
    head: Chunk,
    passage: Passage,
  ): AsyncGenerator<Uint8Array, void, void> {
    let position = start;
    let chunk: Chunk | undefined = head;
    let next: Promise<Chunk | undefined> | undefined;
    try {
      while (chunk !== undefined && chunk.filled > 0) {
        position += BigInt(chunk.filled);
        next = position < extent.end ? this.#read(extent, position).catch(() => undefined) : undefined;
        // Of what was asked for in one piece that is too long, the rest waits here, and with it all that comes after it.
        if (!(await passage.pass(chunk.filled))) return;
        this.#options.sent?.(chunk.filled);
        yield chunk.buffer.subarray(0, chunk.filled);
        if (chunk.buffer.length === CHUNK) this.#spare.push(chunk.buffer);
        chunk = await next;
        next = undefined;
        if (chunk !== undefined && !this.#isUnchanged(extent)) return;
      }
    } finally {
      // The file is closed after us.
      await next;
    }
  }

  async #read({ file, end }: Extent, position: bigint): Promise<Chunk> {
    const left = end - position;
    const most = Math.min(CHUNK, this.#options.upload.piece);
    const length = left < BigInt(most) ? Number(left) : most;
    const buffer = length < CHUNK ? new Uint8Array(length) : (this.#spare.pop() ?? new Uint8Array(CHUNK));
    return { buffer, filled: await file.read(buffer, position) };
  }

  #isUnchanged({ file, held }: Extent): boolean {
    if (sameFacts(file.look(), held.known)) return true;
    this.#options.holdings.changed(held);
    return false;
  }

  async #send(message: OutgoingMessage): Promise<void> {
    if (!this.#closed) await this.#options.send(message);
  }

  #wakeWaiters(): void {
    for (const wake of this.#roomWaiters.splice(0)) wake();
  }
}

function isSmall({ range }: Asked): boolean {
  return range !== undefined && range[1] <= BigInt(SMALL);
}

/** Bytes that are let pass together. */
function lengthOf({ range }: Asked): number {
  return range === undefined ? 0 : Number(range[1] < MOST_AT_ONCE ? range[1] : MOST_AT_ONCE);
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, void> {
  yield bytes;
}

function notPresent({ sha256 }: Asked) {
  return encode(messages.notPresent, { sha256 });
}

function getError({ sha256 }: Asked, message: string) {
  return encode(messages.getError, { sha256, message });
}

function first<T>(set: ReadonlySet<T>): T | undefined {
  for (const item of set) return item;
  return undefined;
}
