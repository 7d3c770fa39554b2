/**
 * What we tell another peer of what we have. Our Bloom filter is the simplest there is (one byte 0xff, "ask for
 * anything"); what arrives after it is announced, so that a peer that was told "not present" need not ask again and
 * again.
 */

import { asError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { encode } from '../wire/message.ts';
import type { OutgoingMessage } from '../wire/message-stream.ts';
import * as messages from './messages.ts';

/** Announcements that wait while the peer is slow; of more, the oldest are left out: it may ask for them anyway. */
const MAX_WAITING = 16_384;
const ASK_FOR_ANYTHING = Uint8Array.of(0xff);

export class Announcer {
  readonly #send: (message: OutgoingMessage) => Promise<void>;
  readonly #log: Logger;
  readonly #waiting = new Set<string>();
  #isSubscribed = false;
  #isAnswering = false;
  #isSending = false;
  #isClosed = false;

  constructor(send: (message: OutgoingMessage) => Promise<void>, log: Logger) {
    this.#send = send;
    this.#log = log;
  }

  /** The peer asked what we have. While one answer is on its way, another one would say the same. */
  getPresence(): void {
    this.#isSubscribed = true;
    if (!this.#isAnswering && !this.#isClosed) void this.#answer();
  }

  /** Contents have arrived here. */
  announce(sha256: string): void {
    if (!this.#isSubscribed || this.#isClosed) return;
    if (this.#waiting.size >= MAX_WAITING) {
      for (const oldest of this.#waiting) {
        this.#waiting.delete(oldest);
        break;
      }
    }
    this.#waiting.add(sha256);
    if (!this.#isSending) void this.#sendAll();
  }

  close(): void {
    this.#isClosed = true;
    this.#waiting.clear();
  }

  async #sendAll(): Promise<void> {
    this.#isSending = true;
    try {
      for (const sha256 of this.#waiting) {
        this.#waiting.delete(sha256);
        await this.#send({ json: encode(messages.present, { sha256 }) });
      }
    } catch (thrown) {
      // The session ends by itself, and we with it.
      this.#log.debug('what has arrived could not be announced', { error: asError(thrown) });
    } finally {
      this.#isSending = false;
    }
  }

  async #answer(): Promise<void> {
    this.#isAnswering = true;
    try {
      const json = encode(messages.bloomFilter, { kValue: 1 });
      await this.#send({ json, payload: once(ASK_FOR_ANYTHING) });
    } catch (thrown) {
      this.#log.debug('a peer could not be told what is here', { error: asError(thrown) });
    } finally {
      this.#isAnswering = false;
    }
  }
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, void> {
  yield bytes;
}
