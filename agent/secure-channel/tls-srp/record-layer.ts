/** Records over a byte stream: what both the handshake and the established channel read from and write to. */

import { release } from '../../base/bytes.ts';
import { peerError } from '../../base/errors.ts';
import type { ByteStream } from '../../base/stream.ts';
import { ALERT, type Alert, AlertReceivedError, decodeAlert, encodeAlert, TlsError } from './alert.ts';
import { CONTENT, type ContentType, plainRecord, RecordDeframer, type TlsRecord } from './record.ts';
import type { RecordOpener, RecordSealer } from './record-protection.ts';

/** A peer may send records without content and warnings, but has no reason to send many. */
const MAX_EMPTY_RECORDS_IN_A_ROW = 32;
const MAX_WARNINGS = 16;

export class RecordLayer {
  readonly stream: ByteStream;
  readonly #deframer = new RecordDeframer();
  #opener: RecordOpener | undefined;
  #sealer: RecordSealer | undefined;
  /** What the deframer was given last: used up when it wants more. */
  #chunk: Uint8Array | undefined;
  #emptyInARow = 0;
  #warnings = 0;
  #closedByPeer = false;

  /** @param first what was already read from the stream */
  constructor(stream: ByteStream, first: Uint8Array) {
    this.stream = stream;
    this.#deframer.push(first);
  }

  /** The other side said close_notify. */
  get closedByPeer(): boolean {
    return this.#closedByPeer;
  }

  /** From now on what comes is decrypted. */
  openWith(opener: RecordOpener): void {
    this.#opener = opener;
  }

  /** From now on what goes is encrypted. */
  sealWith(sealer: RecordSealer): void {
    this.#sealer = sealer;
  }

  /**
   * The content of the next record that is already here, without waiting, joined with that of others behind it if it is
   * application data; never an alert. Undefined: `fill`, or nothing more will come (`closedByPeer`).
   */
  take(): TlsRecord | undefined {
    while (!this.#closedByPeer) {
      const record = this.#deframer.next(this.#opener !== undefined);
      if (record === undefined) return undefined;
      const { type } = record;
      const body =
        this.#opener === undefined ? record.body : this.#opener.open(record, this.#followingOf(type));
      if (body.length === 0) this.#countEmpty(type);
      else this.#emptyInARow = 0;
      if (type !== CONTENT.alert) return { type, body };
      this.#alert(body);
    }
    return undefined;
  }

  /** Waits for more bytes; false at the stream's end. */
  async fill(): Promise<boolean> {
    if (this.#chunk !== undefined) release(this.#chunk);
    this.#chunk = undefined;
    const chunk = await this.stream.read();
    if (chunk === null) return false;
    this.#deframer.push(chunk);
    // A handshake's messages may still be looked at where they lie; afterwards all is decrypted into memory of its own.
    if (this.#opener !== undefined) this.#chunk = chunk;
    return true;
  }

  /** The next record of a handshake, in which neither side may stop. */
  async next(): Promise<TlsRecord> {
    for (;;) {
      const record = this.take();
      if (record !== undefined) return record;
      if (this.#closedByPeer || !(await this.fill()))
        throw peerError(
          'channel.closed_early',
          'the other side closed the connection during the TLS handshake',
        );
    }
  }

  /**
   * The wire form of some content, cut into as many records as it takes.
   * @param content at most MAX_SEALED_CONTENT bytes; a single record's while nothing is protected yet
   */
  seal(type: ContentType, content: Uint8Array): Uint8Array {
    return this.#sealer === undefined ? plainRecord(type, content) : this.#sealer.seal(type, content);
  }

  /** Starts to send an alert. A stream that fails is not worth a second error. */
  async sendAlert(alert: Alert): Promise<void> {
    try {
      await this.stream.write(this.seal(CONTENT.alert, encodeAlert(alert)));
    } catch {
      // Whoever reads from the stream hears of it.
    }
  }

  #followingOf(type: ContentType): () => TlsRecord | undefined {
    return type === CONTENT.applicationData ? this.#nextApplicationData : none;
  }

  readonly #nextApplicationData = () => this.#deframer.next(true, CONTENT.applicationData);

  #countEmpty(type: ContentType): void {
    this.#emptyInARow += 1;
    // RFC 5246, 6.2.1: only application data may be empty.
    if (type !== CONTENT.applicationData || this.#emptyInARow > MAX_EMPTY_RECORDS_IN_A_ROW)
      throw new TlsError(
        ALERT.unexpectedMessage,
        'tls.empty_record',
        'the other side sends empty TLS records',
      );
  }

  #alert(body: Uint8Array): void {
    const alert = decodeAlert(body);
    if (alert.description === ALERT.closeNotify) {
      this.#closedByPeer = true;
      return;
    }
    if (alert.fatal) throw new AlertReceivedError(alert.description);
    this.#warnings += 1;
    if (this.#warnings > MAX_WARNINGS)
      throw new TlsError(
        ALERT.unexpectedMessage,
        'tls.warnings',
        'the other side sends too many TLS warnings',
      );
  }
}

function none(): undefined {}
