/**
 * Skylink's answering side, for simulated devices. What a question means is here; what the device has is behind
 * `Endpoint`. It keeps no state for a listing or for reading, as the protocol wants it of small devices.
 */

import type { ByteStream } from '../../agent/base/stream.ts';
import type { MessageOf, MessageSpec } from './fields.ts';
import { CONTENT_OVERHEAD, encodeFrame, type Frame, FrameDecoder } from './frame.ts';
import {
  CLOCK,
  COMMITTED,
  DATA,
  DELETE,
  DIGEST,
  DONE,
  END,
  ERR,
  ERR_CODE,
  EVENT,
  EVENT_KIND,
  FILE,
  HASH,
  HELLO,
  LIST,
  LIST_END,
  LOG,
  READ,
  SHOW,
  SKYLINK_VERSION,
  STAT,
  STATE,
  SUBSCRIBE,
  TIME,
  WELCOME,
  WRITE_BEGIN,
  WRITE_COMMIT,
  WRITE_DATA,
  WRITE_READY,
  WRITTEN,
} from './messages.ts';

export type FileFacts = Omit<MessageOf<typeof FILE>, 'index' | 'next'>;

/** What a device has and does. A function throws `Refusal` for what it can't do. */
export interface Endpoint {
  readonly identity: Pick<
    MessageOf<typeof WELCOME>,
    'receive' | 'send' | 'capabilities' | 'device' | 'model' | 'firmware'
  >;
  state(): MessageOf<typeof STATE>;
  /** Live files, and deleted ones that are remembered, by ascending ID, of those changed after `since`. */
  list(since: number): readonly FileFacts[];
  stat(id: number): FileFacts | undefined;
  read(id: number, offset: number, length: number): Uint8Array;
  hash(id: number, offset: number, length: number): number;
  beginWrite(begin: MessageOf<typeof WRITE_BEGIN>): { readonly offset: number };
  /** @returns how far the transfer has come. */
  writeData(data: MessageOf<typeof WRITE_DATA>): number;
  commitWrite(commit: MessageOf<typeof WRITE_COMMIT>): { readonly id: number; readonly generation: number };
  delete(id: number): void;
  /** @returns the clock before, milliseconds since 1970. */
  setClock(milliseconds: number, zoneMinutes: number): number;
  show(show: MessageOf<typeof SHOW>): void;
}

/** Becomes an ERR. */
export class Refusal extends Error {
  readonly code: number;
  readonly wait: number;
  constructor(code: keyof typeof ERR_CODE, text = '', wait = 0) {
    super(text);
    this.code = ERR_CODE[code];
    this.wait = wait;
  }
}

/** Questions that wait: the host's pipelined WRITE_DATA. */
const MOST_WAITING = 256;
const DELETED = 1;

export class SkylinkSession {
  readonly #stream: ByteStream;
  readonly #endpoint: Endpoint;
  readonly #decoder: FrameDecoder;
  #waiting: Frame[] = [];
  #wake: (() => void) | undefined;
  #ended = false;
  #events = 0;

  constructor(stream: ByteStream, endpoint: Endpoint) {
    this.#stream = stream;
    this.#endpoint = endpoint;
    this.#decoder = new FrameDecoder(endpoint.identity.receive);
  }

  /** Answers until the line ends. Never rejects. */
  async run(): Promise<void> {
    void this.#listen();
    try {
      for (;;) {
        const question = this.#waiting.shift();
        if (question !== undefined) await this.#answer(question);
        else if (this.#ended) return;
        else await this.#nextQuestion();
      }
    } catch {
      // The line broke while an answer was going out.
    } finally {
      await this.#stream.close();
    }
  }

  /** Breaks the line off. */
  abort(reason: Error): void {
    this.#stream.abort(reason);
  }

  /** Tells the host, if it wants to know. */
  event(kind: Exclude<keyof typeof EVENT_KIND, 'log'>, value: number): void {
    if (this.#events & (1 << EVENT_KIND[kind])) this.#announce(EVENT, { kind: EVENT_KIND[kind], value });
  }

  log(level: number, text: string): void {
    if (this.#events & (1 << EVENT_KIND.log)) this.#announce(LOG, { level, text });
  }

  #announce<T>(spec: MessageSpec<T>, value: T): void {
    // Lost with the line, if that is so.
    this.#send(spec, 0, value).catch(() => {});
  }

  #nextQuestion(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  async #listen(): Promise<void> {
    try {
      for (;;) {
        const bytes = await this.#stream.read();
        if (bytes === null) break;
        for (const frame of this.#decoder.push(bytes)) {
          if (this.#waiting.length < MOST_WAITING) this.#waiting.push(frame);
        }
        this.#wake?.();
      }
    } catch {
      // Broken is ended.
    }
    this.#ended = true;
    this.#wake?.();
  }

  async #send<T>(spec: MessageSpec<T>, seq: number, value: T): Promise<void> {
    await this.#stream.write(encodeFrame({ type: spec.type, seq, body: spec.encode(value) }));
  }

  async #answer(frame: Frame): Promise<void> {
    try {
      await this.#dispatch(frame);
    } catch (thrown) {
      if (!(thrown instanceof Refusal)) throw thrown;
      await this.#send(ERR, frame.seq, { code: thrown.code, wait: thrown.wait, text: thrown.message });
    }
  }

  async #dispatch({ type, seq, body }: Frame): Promise<void> {
    const endpoint = this.#endpoint;
    switch (type) {
      case HELLO.type: {
        const { boot, epoch, counter } = endpoint.state();
        const version = Math.min(SKYLINK_VERSION, asked(HELLO, body).version);
        return await this.#send(WELCOME, seq, { version, ...endpoint.identity, boot, epoch, counter });
      }
      case LIST.type:
        return await this.#list(seq, asked(LIST, body));
      case STAT.type:
        return await this.#send(FILE, seq, { index: 0, next: 0, ...this.#find(asked(STAT, body).id) });
      case HASH.type: {
        const { id, generation, offset, length } = asked(HASH, body);
        const { size } = this.#find(id, generation);
        if (offset + length > size) throw new Refusal('range');
        return await this.#send(DIGEST, seq, { length, crc: endpoint.hash(id, offset, length) });
      }
      case READ.type:
        return await this.#read(seq, asked(READ, body));
      case WRITE_BEGIN.type: {
        const begin = asked(WRITE_BEGIN, body);
        const { offset } = endpoint.beginWrite(begin);
        const chunk = endpoint.identity.receive - CONTENT_OVERHEAD - 8;
        const ready = { transfer: begin.transfer, offset, window: 4 * chunk, chunk };
        return await this.#send(WRITE_READY, seq, ready);
      }
      case WRITE_DATA.type: {
        const data = asked(WRITE_DATA, body);
        const written = { transfer: data.transfer, offset: endpoint.writeData(data) };
        return await this.#send(WRITTEN, seq, written);
      }
      case WRITE_COMMIT.type: {
        const commit = asked(WRITE_COMMIT, body);
        const { transfer } = commit;
        return await this.#send(COMMITTED, seq, { transfer, ...endpoint.commitWrite(commit) });
      }
      case DELETE.type: {
        const { id, generation } = asked(DELETE, body);
        this.#find(id, generation);
        endpoint.delete(id);
        return await this.#send(DONE, seq, {});
      }
      case TIME.type: {
        const { seconds, milliseconds, zoneMinutes } = asked(TIME, body);
        const before = endpoint.setClock(seconds * 1000 + milliseconds, zoneMinutes);
        return await this.#send(CLOCK, seq, {
          seconds: Math.floor(before / 1000),
          milliseconds: before % 1000,
        });
      }
      case SUBSCRIBE.type:
        this.#events = asked(SUBSCRIBE, body).events;
        return await this.#send(STATE, seq, endpoint.state());
      case SHOW.type:
        endpoint.show(asked(SHOW, body));
        return await this.#send(DONE, seq, {});
      default:
        throw new Refusal('unsupported');
    }
  }

  #find(id: number, generation?: number): FileFacts {
    const file = this.#endpoint.stat(id);
    if (file === undefined || file.flags & DELETED) throw new Refusal('notFound');
    if (generation !== undefined && generation !== file.generation) throw new Refusal('changed');
    return file;
  }

  /** The cursor is the ID before which to go on, plus one: 0 begins. */
  async #list(seq: number, { since, cursor, limit }: MessageOf<typeof LIST>): Promise<void> {
    const { counter } = this.#endpoint.state();
    const total = this.#endpoint.list(0).length;
    const files = this.#endpoint.list(since).filter((file) => file.id >= cursor);
    const page = files.slice(0, Math.max(1, limit));
    for (const [index, file] of page.entries()) {
      if (this.#waiting.length > 0) return;
      await this.#send(FILE, seq, { index, next: file.id + 1, ...file });
    }
    const next = files.length > page.length ? page.at(-1)!.id + 1 : 0;
    await this.#send(LIST_END, seq, { count: page.length, next, counter, total });
  }

  async #read(seq: number, question: MessageOf<typeof READ>): Promise<void> {
    const { id, generation, window } = question;
    const largest = this.#endpoint.identity.send - CONTENT_OVERHEAD - 4;
    const chunk = Math.max(1, Math.min(question.chunk, largest));
    let { offset } = question;
    let { size } = this.#find(id, generation);
    if (offset > size) throw new Refusal('range');
    const end = Math.min(size, offset + window);
    while (offset < end) {
      const data = this.#endpoint.read(id, offset, Math.min(chunk, end - offset));
      await this.#send(DATA, seq, { offset, data });
      offset += data.length;
      // Whatever the host asks now counts more than what it asked before.
      if (this.#waiting.length > 0) return;
      size = this.#find(id, generation).size;
    }
    await this.#send(END, seq, { offset, size });
  }
}

function asked<T>(spec: MessageSpec<T>, body: Uint8Array): T {
  try {
    return spec.decode(body);
  } catch {
    throw new Refusal('malformed');
  }
}
