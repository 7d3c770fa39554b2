/** Handshake messages over records: reassembly, the transcript, and the two changes of keys. */

import { concatBytes } from '../../base/bytes.ts';
import { sha256 } from '../../crypto/hash.ts';
import { ALERT, TlsError } from './alert.ts';
import { HANDSHAKE, type HandshakeType, handshakeMessage, MAX_MESSAGE_BYTES } from './messages.ts';
import { CONTENT, type ContentType } from './record.ts';
import type { RecordLayer } from './record-layer.ts';
import type { RecordOpener, RecordSealer } from './record-protection.ts';

const MESSAGE_HEADER_BYTES = 4;
const CHANGE_CIPHER_SPEC = Uint8Array.of(1);
/** RFC 5246, 7.4.1.1: a client in a handshake ignores these. */
const MAX_HELLO_REQUESTS = 4;

export class HandshakeTransport {
  readonly #records: RecordLayer;
  readonly #transcript: Uint8Array[] = [];
  #outgoing: Uint8Array[] = [];
  #incoming: Uint8Array[] = [];
  #incomingBytes = 0;
  #helloRequests = 0;

  constructor(records: RecordLayer) {
    this.#records = records;
  }

  /** SHA-256 over all messages so far, sent and received. */
  transcriptHash(): Uint8Array {
    return sha256(...this.#transcript);
  }

  /** Appends a message to the flight; nothing goes out before `flush`. */
  send(type: HandshakeType, body: Uint8Array): void {
    const message = handshakeMessage(type, body);
    this.#transcript.push(message);
    this.#outgoing.push(this.#records.seal(CONTENT.handshake, message));
  }

  /** What is sent after this is protected. */
  sendChangeCipherSpec(sealer: RecordSealer): void {
    this.#outgoing.push(this.#records.seal(CONTENT.changeCipherSpec, CHANGE_CIPHER_SPEC));
    this.#records.sealWith(sealer);
  }

  /** Sends the flight in one piece. The other side's flight must be over. */
  async flush(): Promise<void> {
    this.#assertNoRest();
    const flight = concatBytes(...this.#outgoing);
    this.#outgoing = [];
    await this.#records.stream.write(flight);
  }

  /** The body of the next message, which must be of this type. */
  async receive(expected: HandshakeType): Promise<Uint8Array> {
    for (;;) {
      const message = await this.#nextMessage();
      const type = message[0];
      if (type === expected) {
        this.#transcript.push(message);
        return message.subarray(MESSAGE_HEADER_BYTES);
      }
      if (type !== HANDSHAKE.helloRequest || expected === HANDSHAKE.clientHello)
        throw unexpected(`TLS handshake message ${type} came instead of ${expected}`);
      this.#helloRequests += 1;
      if (this.#helloRequests > MAX_HELLO_REQUESTS || message.length > MESSAGE_HEADER_BYTES)
        throw unexpected('the other side sends too many TLS HelloRequests');
    }
  }

  /** What comes after this is protected. */
  async receiveChangeCipherSpec(opener: RecordOpener): Promise<void> {
    const body = await this.#nextRecord(CONTENT.changeCipherSpec);
    this.#assertNoRest();
    if (body.length !== 1 || body[0] !== CHANGE_CIPHER_SPEC[0])
      throw new TlsError(ALERT.decodeError, 'tls.malformed', 'a TLS ChangeCipherSpec is malformed');
    this.#records.openWith(opener);
  }

  /** After the last message. */
  end(): void {
    this.#assertNoRest();
  }

  /** No message may straddle a change of keys or of turns: RFC 8446, 5.1 spells out what is only prudent before. */
  #assertNoRest(): void {
    if (this.#incomingBytes > 0) throw unexpected('there are bytes behind the last TLS message of a flight');
  }

  async #nextMessage(): Promise<Uint8Array> {
    let wanted = MESSAGE_HEADER_BYTES;
    for (;;) {
      if (this.#incomingBytes >= wanted) {
        const all = this.#incoming.length === 1 ? this.#incoming[0]! : concatBytes(...this.#incoming);
        this.#incoming = [all];
        wanted = MESSAGE_HEADER_BYTES + bodyLength(all);
        if (all.length >= wanted) {
          this.#incoming = all.length > wanted ? [all.subarray(wanted)] : [];
          this.#incomingBytes = all.length - wanted;
          return all.subarray(0, wanted);
        }
      }
      // A record's body is only lent.
      const body = (await this.#nextRecord(CONTENT.handshake)).slice();
      this.#incoming.push(body);
      this.#incomingBytes += body.length;
    }
  }

  async #nextRecord(expected: ContentType): Promise<Uint8Array> {
    const { type, body } = await this.#records.next();
    if (type !== expected) throw unexpected(`a TLS record of type ${type} came instead of ${expected}`);
    return body;
  }
}

function bodyLength(message: Uint8Array): number {
  const length = (message[1]! << 16) | (message[2]! << 8) | message[3]!;
  if (length > MAX_MESSAGE_BYTES)
    throw new TlsError(ALERT.decodeError, 'tls.message_too_long', `a TLS message has ${length} bytes`);
  return length;
}

function unexpected(message: string): TlsError {
  return new TlsError(ALERT.unexpectedMessage, 'tls.unexpected_message', message);
}
