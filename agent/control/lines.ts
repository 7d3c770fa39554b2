/** Lines of text over a byte stream, bounded. */

import { concatBytes, fromUtf8 } from '../base/bytes.ts';
import { peerError } from '../base/errors.ts';
import type { ByteStream } from '../base/stream.ts';

const LF = 10;

export class LineReader {
  readonly #stream: ByteStream;
  readonly #longest: number;
  /** Begun, not ended. */
  #parts: Uint8Array[] = [];
  #length = 0;
  #rest: Uint8Array = new Uint8Array();
  #ended = false;

  /** @param longest bytes of a line without its end. */
  constructor(stream: ByteStream, longest: number) {
    this.#stream = stream;
    this.#longest = longest;
  }

  /**
   * The next line without its LF; null after the last. A last line without LF counts, unless it is empty.
   * @throws SkylarkError (peer) `line.too_long` (the reader is of no further use), `bytes.not_utf8` (it is: that line was skipped);
   *   and what the stream throws.
   */
  async next(): Promise<string | null> {
    for (;;) {
      const end = this.#rest.indexOf(LF);
      const part = end < 0 ? this.#rest : this.#rest.subarray(0, end);
      this.#rest = end < 0 ? new Uint8Array() : this.#rest.subarray(end + 1);
      this.#length += part.length;
      if (this.#length > this.#longest) {
        throw peerError('line.too_long', `a line is longer than ${this.#longest} bytes`);
      }
      if (part.length > 0) this.#parts.push(part);
      if (end >= 0) return this.#take();
      if (this.#ended) return this.#length === 0 ? null : this.#take();
      const bytes = await this.#stream.read();
      if (bytes === null) this.#ended = true;
      else this.#rest = bytes;
    }
  }

  #take(): string {
    const [first = new Uint8Array(), ...others] = this.#parts;
    const line = others.length === 0 ? first : concatBytes(first, ...others);
    this.#parts = [];
    this.#length = 0;
    return fromUtf8(line);
  }
}
