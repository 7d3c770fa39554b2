/** Messages over a byte stream, in both directions, with back-pressure and without ever holding a payload. */

import { concatBytes, fromUtf8, release } from '../base/bytes.ts';
import { asError, peerError } from '../base/errors.ts';
import { isJsonObject, type JsonObject, parseJson, stringifyJson } from '../base/json.ts';
import type { ByteStream } from '../base/stream.ts';
import {
  encodeBody,
  encodeChunkHeader,
  encodeMessage,
  encodePayloadEnd,
  FrameDecoder,
  type FrameEvent,
} from './frame.ts';

/** We send chunks of at most this many bytes (core.md recommends a megabyte). */
export const SENT_CHUNK = 1_048_576;
/** Pieces below this many bytes are sent together. */
const COALESCED = 65_536;
/** Longest `type` that is read; the types of the protocol are far shorter. */
const MAX_TYPE_LENGTH = 256;

export interface Payload {
  /**
   * The next bytes, as they come; null after the last. They are good until the next call. Must be read to the end, or
   * left alone, before the next message is received: what is unread is skipped then.
   * @throws what broke the stream, or `wire.too_large` if the payload exceeds the limit of its message type.
   */
  read(): Promise<Uint8Array | null>;
}

export interface IncomingMessage {
  readonly type: string;
  readonly json: JsonObject;
  /** The exact bytes received, which a signature covers. */
  readonly body: Uint8Array;
  /** Base64 text, not yet verified. */
  readonly signature: string | undefined;
  readonly payload: Payload | undefined;
}

export type OutgoingMessage = (
  | { readonly json: JsonObject }
  /** A body as it was received or signed: sent byte for byte. */
  | { readonly body: Uint8Array; readonly signature?: string | undefined }
) & {
  /**
   * Pieces of any length, each good until the next one is asked for; sent in chunks of at most 1 MiB. If it throws, the
   * connection is broken off.
   */
  readonly payload?: AsyncIterable<Uint8Array> | undefined;
};

export interface MessageStreamOptions {
  /** Most payload bytes that a message of this type may carry; also for unknown types, whose payload is skipped. */
  readonly payloadLimit: (type: string) => bigint;
  /** Largest body accepted, bytes. */
  readonly maxBody?: number;
}

export interface MessageStream {
  /**
   * The next message; null after the other side's orderly end. One call at a time.
   * @throws SkylarkError (peer) for anything malformed: the stream is then of no further use and should be aborted.
   */
  receive(): Promise<IncomingMessage | null>;
  /** Sends in the order of the calls; a payload holds the line until its end. Resolves by back-pressure. */
  send(message: OutgoingMessage): Promise<void>;
  /** Orderly: what was given to `send` goes out first. */
  close(): Promise<void>;
  abort(reason: Error): void;
}

export function openMessageStream(stream: ByteStream, options: MessageStreamOptions): MessageStream {
  const receiver = new Receiver(stream, options);
  let line: Promise<void> = Promise.resolve();
  let closing: Promise<void> | undefined;
  return {
    receive: () => receiver.receive(),
    send(message) {
      // Whoever sends learns of its own failure; the line goes on, and the next one fails by itself if it must.
      const sent = line.then(() => sendMessage(stream, message));
      line = sent.catch(() => {});
      return sent;
    },
    close() {
      closing ??= line.then(() => stream.close());
      return closing;
    },
    abort: (reason) => stream.abort(reason),
  };
}

async function sendMessage(stream: ByteStream, message: OutgoingMessage): Promise<void> {
  const body = 'json' in message ? encodeBody(stringifyJson(message.json)) : message.body;
  const signature = 'json' in message ? undefined : message.signature;
  const head = encodeMessage(body, signature, message.payload !== undefined);
  if (message.payload === undefined) return stream.write(head);
  // Small pieces travel together: a record and a system call for each would cost more than the copy.
  let pending = [head];
  let pendingLength = head.length;
  const put = async (bytes: Uint8Array) => {
    pending.push(bytes);
    pendingLength += bytes.length;
    if (pendingLength >= COALESCED) await flush();
  };
  const flush = async () => {
    const bytes = pending.length === 1 && pending[0] !== undefined ? pending[0] : concatBytes(...pending);
    pending = [];
    pendingLength = 0;
    await stream.write(bytes);
  };
  try {
    for await (const piece of message.payload) {
      for (let offset = 0; offset < piece.length; offset += SENT_CHUNK) {
        const chunk = piece.subarray(offset, offset + SENT_CHUNK);
        await put(encodeChunkHeader(chunk.length));
        if (chunk.length >= COALESCED) await flush();
        await put(chunk.length >= COALESCED ? chunk : chunk.slice());
      }
    }
  } catch (thrown) {
    // Half a payload can't be taken back, and an end now would pass it off as whole.
    stream.abort(asError(thrown));
    throw thrown;
  }
  pending.push(encodePayloadEnd());
  await flush();
}

class Receiver {
  readonly #stream: ByteStream;
  readonly #options: MessageStreamOptions;
  readonly #decoder: FrameDecoder;
  #payload: ReceivedPayload | undefined;
  /** What the decoder was given last. */
  #input: Uint8Array | undefined;

  constructor(stream: ByteStream, options: MessageStreamOptions) {
    this.#stream = stream;
    this.#options = options;
    this.#decoder = new FrameDecoder(options.maxBody === undefined ? {} : { maxBody: options.maxBody });
  }

  async receive(): Promise<IncomingMessage | null> {
    while (this.#payload !== undefined && (await this.#payload.read()) !== null);
    this.#payload = undefined;
    const event = await this.nextEvent();
    if (event === null) return null;
    if (event.kind !== 'message') throw peerError('wire.payload_unexpected', 'a payload without a message');
    const { json, type } = parseBody(event.body);
    if (event.hasPayload) this.#payload = new ReceivedPayload(this, type, this.#options.payloadLimit(type));
    return { type, json, body: event.body, signature: event.signature, payload: this.#payload };
  }

  async nextEvent(): Promise<FrameEvent | null> {
    for (;;) {
      const event = this.#decoder.next();
      if (event !== undefined) return event;
      // Used up: bodies are copies, and pieces of payloads are good until now.
      if (this.#input !== undefined) release(this.#input);
      this.#input = undefined;
      const bytes = await this.#stream.read();
      if (bytes === null) {
        if (this.#decoder.betweenMessages) return null;
        throw peerError('wire.truncated', 'the connection ended inside a message');
      }
      this.#decoder.push(bytes);
      this.#input = bytes;
    }
  }
}

class ReceivedPayload implements Payload {
  readonly #receiver: Receiver;
  readonly #type: string;
  readonly #limit: bigint;
  #received = 0n;
  #ended = false;

  constructor(receiver: Receiver, type: string, limit: bigint) {
    this.#receiver = receiver;
    this.#type = type;
    this.#limit = limit;
  }

  async read(): Promise<Uint8Array | null> {
    if (this.#ended) return null;
    const event = await this.#receiver.nextEvent();
    if (event?.kind === 'payload-end') {
      this.#ended = true;
      return null;
    }
    if (event?.kind !== 'payload') throw peerError('wire.truncated', 'the connection ended inside a payload');
    this.#received += BigInt(event.bytes.length);
    if (this.#received > this.#limit) {
      throw peerError(
        'wire.too_large',
        `the payload of a ${this.#type} message is larger than the ${this.#limit} bytes that it may have`,
      );
    }
    return event.bytes;
  }
}

function parseBody(body: Uint8Array): { json: JsonObject; type: string } {
  const json = parseJson(fromUtf8(body));
  if (!isJsonObject(json)) throw peerError('wire.body_malformed', 'the body of a message is not an object');
  const type = json.type;
  if (typeof type !== 'string' || type.length > MAX_TYPE_LENGTH) {
    throw peerError('wire.body_malformed', 'a message has no usable type');
  }
  return { json, type };
}
