/** A peer that says what the test wants, byte by byte, and tells what it heard. */

import { fromUtf8, utf8 } from '../../agent/base/bytes.ts';
import { isJsonObject, type JsonObject, parseJson } from '../../agent/base/json.ts';
import type { ByteStream } from '../../agent/base/stream.ts';
import { FrameDecoder } from '../../agent/wire/frame.ts';

export function framed(json: string): string {
  return `m${utf8(json).length}${json}`;
}

export class RawPeer {
  readonly stream: ByteStream;
  readonly #decoder = new FrameDecoder();
  heard = '';
  /** What broke the connection, as this side saw it. */
  failure: Error | undefined;

  constructor(stream: ByteStream) {
    this.stream = stream;
  }

  async say(text: string): Promise<void> {
    await this.stream.write(utf8(text)).catch(() => {});
  }

  /** The next message; null when the other side has ended the connection, in whatever way. */
  async hear(): Promise<JsonObject | null> {
    for (;;) {
      const event = this.#decoder.next();
      if (event?.kind === 'message') {
        const text = fromUtf8(event.body);
        this.heard += text;
        const json = parseJson(text);
        if (!isJsonObject(json)) throw new Error('not an object');
        return json;
      }
      if (event !== undefined) continue;
      const bytes = await this.stream.read().catch((thrown: Error) => {
        this.failure = thrown;
        return null;
      });
      if (bytes === null) return null;
      this.#decoder.push(bytes);
    }
  }

  /** Types of all messages until the end. */
  async hearAll(): Promise<string[]> {
    const types: string[] = [];
    for (let json = await this.hear(); json !== null; json = await this.hear()) types.push(String(json.type));
    return types;
  }

  /** Waits for a message of this type, passing over others. */
  async hearOf(type: string): Promise<JsonObject> {
    for (;;) {
      const json = await this.hear();
      if (json === null) throw new Error(`the connection ended before ${type}`);
      if (json.type === type) return json;
    }
  }
}
