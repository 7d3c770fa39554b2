/** The far end of a session: a peer that answers requests for contents as a test says. */

import type { ByteStream } from '../../agent/base/stream.ts';
import type { RunningSession } from '../../agent/club/open-session.ts';
import * as directory from '../../agent/directory/messages.ts';
import { decode, encode } from '../../agent/wire/message.ts';
import { type MessageStream, openMessageStream } from '../../agent/wire/message-stream.ts';
import { memoryStreamPair } from '../support/memory-stream.ts';
import { enter, type Member } from './members.ts';

export interface AskedRange {
  readonly sha256: string;
  readonly offset: number;
  readonly length: number;
}

/** The payload of an answer; undefined: there is none. What it awaits, the peer waits for with everything else. */
export type Answer = (asked: AskedRange) => AsyncIterable<Uint8Array> | undefined;

export class ScriptedPeer {
  /** In the order in which they came. */
  readonly asked: AskedRange[] = [];
  readonly session: RunningSession;
  readonly #stream: ByteStream;
  readonly #messages: MessageStream;
  readonly #answer: Answer;

  constructor(member: Member, name: string, answer: Answer) {
    const [near, far] = memoryStreamPair();
    this.#stream = far;
    this.#messages = openMessageStream(far, { payloadLimit: () => 1_000_000_000n });
    this.#answer = answer;
    // Before anything is asked of it: without a filter it would be asked for small pieces only.
    const json = encode(directory.bloomFilter, { kValue: 1 });
    void this.#messages.send({ json, payload: once(Uint8Array.of(0xff)) }).catch(() => {});
    this.session = enter(member, near, Buffer.from(name.padEnd(16, '.')).toString('hex'), 'read_write');
    // The end of the session is the end of both.
    void this.#receiveAll().catch(() => {});
  }

  /** Breaks the connection, as a cable that is pulled, and waits until that was noticed. */
  async cut(): Promise<void> {
    this.#stream.abort(new Error('the cable was pulled'));
    await this.session.ended;
  }

  async #receiveAll(): Promise<void> {
    for (let message = await this.#messages.receive(); message; message = await this.#messages.receive()) {
      if (message.type !== directory.get.type) continue;
      const { sha256, range } = decode(directory.get, message);
      if (range === undefined) throw new Error('asked without a range');
      const asked = { sha256, offset: Number(range[0]), length: Number(range[1]) };
      this.asked.push(asked);
      const payload = this.#answer(asked);
      const type = payload === undefined ? directory.notPresent.type : directory.data.type;
      const json = payload === undefined ? { type, sha256 } : { type, sha256, range: [...range] };
      this.#messages.send({ json, payload }).catch(() => {});
    }
  }
}

/** A range of the contents in pieces; `before` is awaited in front of each, with the bytes sent of the range so far. */
export async function* inPieces(
  contents: Uint8Array,
  { offset, length }: AskedRange,
  before: (sent: number) => Promise<void> | undefined = () => undefined,
): AsyncGenerator<Uint8Array, void, void> {
  const piece = 100_000;
  for (let sent = 0; sent < length; sent += piece) {
    await before(sent);
    // A copy: whoever reads it may let go of its memory.
    yield Uint8Array.from(contents.subarray(offset + sent, offset + Math.min(length, sent + piece)));
  }
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, void> {
  yield bytes;
}
