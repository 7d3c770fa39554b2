/**
 * System Exclusive messages in a stream of MIDI bytes (MIDI 1.0 Detailed Specification 4.2, "System Exclusive"): begun by
 * F0, ended by F7. Real-time messages may stand anywhere in between; any other status byte ends a message unfinished.
 */

const START = 0xf0;
const END = 0xf7;
const FIRST_REAL_TIME = 0xf8;
const FIRST_STATUS = 0x80;

export class SysexReader {
  readonly #longest: number;
  #bytes: number[] = [];
  #isInside = false;

  /** @param longest bytes between F0 and F7; what is longer is passed over */
  constructor(longest: number) {
    this.#longest = longest;
  }

  /** Begins anew: what came before does not count. */
  reset(): void {
    this.#isInside = false;
    this.#bytes = [];
  }

  /** @returns what stands between F0 and F7 of each message that is complete now. */
  push(bytes: Uint8Array): Uint8Array[] {
    const messages: Uint8Array[] = [];
    for (const byte of bytes) {
      if (byte >= FIRST_REAL_TIME) continue;
      if (byte === START) {
        this.#isInside = true;
        this.#bytes = [];
      } else if (byte >= FIRST_STATUS) {
        if (byte === END && this.#isInside) messages.push(Uint8Array.from(this.#bytes));
        this.reset();
      } else if (this.#isInside) {
        this.#bytes.push(byte);
        if (this.#bytes.length > this.#longest) this.reset();
      }
    }
    return messages;
  }
}

export function sysex(content: readonly number[] | Uint8Array): Uint8Array {
  return Uint8Array.from([START, ...content, END]);
}
