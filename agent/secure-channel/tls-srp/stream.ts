/** The established channel: application data, and an orderly end that nobody in between can forge. */

import { release } from '../../base/bytes.ts';
import { asError, peerError } from '../../base/errors.ts';
import type { ByteStream } from '../../base/stream.ts';
import { ALERT, TlsError } from './alert.ts';
import type { TlsSuiteName } from './policy.ts';
import { CONTENT } from './record.ts';
import type { RecordLayer } from './record-layer.ts';
import { MAX_SEALED_CONTENT } from './record-protection.ts';

export interface TlsStreamFacts {
  readonly role: 'client' | 'server';
  readonly id: string;
  readonly cipher: TlsSuiteName;
}

export class TlsStream implements ByteStream {
  readonly version = 1;
  readonly role: 'client' | 'server';
  readonly id: string;
  readonly cipher: TlsSuiteName;
  readonly label: string;
  readonly #records: RecordLayer;
  readonly #below: ByteStream;
  #failure: Error | undefined;
  #closing: Promise<void> | undefined;
  #closeNotifySent = false;
  /** The last of the writes under way, so that the next one waits for its turn. Never rejects. */
  #lastWrite: Promise<void> | undefined;

  constructor(records: RecordLayer, facts: TlsStreamFacts) {
    this.#records = records;
    this.#below = records.stream;
    this.label = records.stream.label;
    this.role = facts.role;
    this.id = facts.id;
    this.cipher = facts.cipher;
  }

  /**
   * The content of several records in one piece, as far as they have arrived together.
   * @throws SkylarkError `channel.truncated` when the connection ends without close_notify, since then anybody may have
   *   cut it; `tls.*` when the other side breaks a rule.
   */
  async read(): Promise<Uint8Array | null> {
    for (;;) {
      const content = this.#take();
      if (content !== undefined) return content;
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#records.closedByPeer || !(await this.#fill())) return null;
    }
  }

  /** @throws SkylarkError `channel.closed` after either side has closed: TLS does not let the other go on alone. */
  async write(bytes: Uint8Array): Promise<void> {
    if (this.#closing !== undefined) throw peerError('channel.closed', 'the channel was closed');
    const before = this.#lastWrite;
    const { promise: written, resolve: markWritten } = Promise.withResolvers<void>();
    this.#lastWrite = written;
    try {
      await before;
      await this.#send(bytes);
    } finally {
      if (this.#lastWrite === written) this.#lastWrite = undefined;
      markWritten();
    }
  }

  /** Waits as long as the other side takes to read what was written; `abort` ends that too. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  abort(reason: Error): void {
    this.#failure ??= reason;
    this.#below.abort(reason);
  }

  /** What is here already; undefined if that is nothing (yet). */
  #take(): Uint8Array | undefined {
    if (this.#failure !== undefined) return undefined;
    try {
      for (;;) {
        const record = this.#records.take();
        if (record === undefined) break;
        if (record.type !== CONTENT.applicationData) throw unexpected(record.type);
        if (record.body.length > 0) return record.body;
      }
    } catch (thrown) {
      this.#fail(asError(thrown));
    }
    // RFC 5246, 7.2.1: answered at once, and what we still had to send is dropped.
    if (this.#records.closedByPeer) void this.#sendCloseNotify();
    return undefined;
  }

  /** Waits for more; false when nothing more comes since we closed. */
  async #fill(): Promise<boolean> {
    try {
      if (await this.#records.fill()) return true;
      if (this.#closing !== undefined) return false;
    } catch (thrown) {
      if (this.#failure === undefined && this.#closing !== undefined) return false;
      throw this.#fail(asError(thrown));
    }
    throw this.#fail(peerError('channel.truncated', 'the connection ended without a TLS close_notify'));
  }

  async #send(bytes: Uint8Array): Promise<void> {
    this.#assertWritable();
    for (let from = 0; from < bytes.length; from += MAX_SEALED_CONTENT) {
      // Sealed and handed over without a pause, so that records go out in the order of their numbers.
      const piece = this.#records.seal(
        CONTENT.applicationData,
        bytes.subarray(from, from + MAX_SEALED_CONTENT),
      );
      try {
        await this.#below.write(piece);
        release(piece);
      } catch (thrown) {
        this.#failure ??= asError(thrown);
      }
      this.#assertWritable();
    }
  }

  #assertWritable(): void {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#records.closedByPeer)
      throw peerError('channel.closed', 'the other side has closed the channel');
  }

  async #close(): Promise<void> {
    if (this.#failure === undefined && !this.#records.closedByPeer) await this.#lastWrite;
    if (this.#failure !== undefined) {
      // There is nothing left to be orderly about, and whoever broke the rules need not read what is still queued.
      this.#below.abort(this.#failure);
      return;
    }
    await this.#sendCloseNotify();
    await this.#below.close();
  }

  async #sendCloseNotify(): Promise<void> {
    if (this.#closeNotifySent) return;
    this.#closeNotifySent = true;
    await this.#records.sendAlert(ALERT.closeNotify);
  }

  /** The first failure stays; the other side hears of it if it is the one to blame. */
  #fail(error: Error): Error {
    if (this.#failure === undefined) {
      this.#failure = error;
      if (error instanceof TlsError) void this.#records.sendAlert(error.alert);
    }
    return this.#failure;
  }
}

function unexpected(type: number): TlsError {
  if (type === CONTENT.handshake)
    return new TlsError(
      ALERT.noRenegotiation,
      'tls.renegotiation',
      'the other side wants to renegotiate TLS',
    );
  return new TlsError(ALERT.unexpectedMessage, 'tls.unexpected_message', `a TLS record has the type ${type}`);
}
