/**
 * What we tell another peer of what we have. Where all of a share is kept, our Bloom filter is the simplest there is (one
 * byte 0xff, "ask for anything"); where a part is, it says what is here. What arrives after it is announced, so that a
 * peer that was told "not present" need not ask again and again.
 */

import { asError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { encode } from '../wire/message.ts';
import type { OutgoingMessage } from '../wire/message-stream.ts';
import type { HeldFilter } from './held-filter.ts';
import * as messages from './messages.ts';

/** Announcements that wait while the peer is slow; of more, the oldest are left out: it may ask for them anyway. */
const MAX_WAITING = 16_384;
const ASK_FOR_ANYTHING: HeldFilter = { bits: Uint8Array.of(0xff), k: 1 };

export interface AnnouncedState {
  /** What is here, if that is not everything. */
  readonly held: () => Promise<HeldFilter> | undefined;
  /** Bytes that we want to be asked for at a time, if that matters. */
  readonly range: () => number | undefined;
}

const EVERYTHING_AT_ONCE: AnnouncedState = { held: () => undefined, range: () => undefined };

export class Announcer {
  readonly #send: (message: OutgoingMessage) => Promise<void>;
  readonly #log: Logger;
  readonly #state: AnnouncedState;
  readonly #waiting = new Set<string>();
  #isSubscribed = false;
  #isAnswering = false;
  #mustAnswerAgain = false;
  #isSending = false;
  #isClosed = false;

  constructor(
    send: (message: OutgoingMessage) => Promise<void>,
    log: Logger,
    state: AnnouncedState = EVERYTHING_AT_ONCE,
  ) {
    this.#send = send;
    this.#log = log;
    this.#state = state;
  }

  /** The peer asked what we have. While one answer is on its way, another one would say the same. */
  getPresence(): void {
    this.#isSubscribed = true;
    if (!this.#isAnswering && !this.#isClosed) void this.#answer();
  }

  /** What was said may no longer hold: says it anew, if it was asked for. */
  renew(): void {
    if (!this.#isSubscribed || this.#isClosed) return;
    if (this.#isAnswering) this.#mustAnswerAgain = true;
    else void this.#answer();
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
    // A filter that comes after an announcement would take it back.
    if (!this.#isSending && !this.#isAnswering) void this.#sendAll();
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
      const held = this.#state.held();
      const { bits, k } = held === undefined ? ASK_FOR_ANYTHING : await held;
      if (this.#isClosed) return;
      const json = encode(messages.bloomFilter, { kValue: k, range: this.#state.range() });
      await this.#send({ json, payload: once(bits) });
    } catch (thrown) {
      this.#log.debug('a peer could not be told what is here', { error: asError(thrown) });
    } finally {
      this.#isAnswering = false;
      const isAgain = this.#mustAnswerAgain;
      this.#mustAnswerAgain = false;
      if (isAgain) this.renew();
      else if (!this.#isSending && this.#waiting.size > 0) void this.#sendAll();
    }
  }
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, void> {
  yield bytes;
}
