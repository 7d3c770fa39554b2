/** A line that carries MIDI, as messages of File Dump that come within a time or don't. */

import type { Clock } from '../../agent/base/clock.ts';
import { peerError } from '../../agent/base/errors.ts';
import type { ByteLine } from '../byte-line.ts';
import { type DumpMessage, decodeMessage, encodeMessage, LONGEST_MESSAGE } from './messages.ts';
import { SysexReader, sysex } from './sysex.ts';

/** Messages that wait for whoever listens; a device that says more at once says nothing of use. */
const MOST_WAITING = 256;

export class DumpLine {
  readonly #line: ByteLine;
  readonly #clock: Clock;
  readonly #reader = new SysexReader(LONGEST_MESSAGE);
  #waiting: DumpMessage[] = [];
  /** Packets that came damaged. */
  damaged = 0;

  constructor(line: ByteLine, clock: Clock) {
    this.#line = line;
    this.#clock = clock;
  }

  say(message: DumpMessage): Promise<void> {
    return this.#line.write(sysex(encodeMessage(message)));
  }

  /** What was said so far does not count. */
  forget(): void {
    this.#line.drain();
    this.#reader.reset();
    this.#waiting = [];
  }

  /** The next message; undefined if none comes within `ms`. @throws what ended the line, or the signal's reason. */
  async next(ms: number, signal: AbortSignal): Promise<DumpMessage | undefined> {
    for (const end = this.#clock.monotonic() + ms; ; ) {
      const message = this.#waiting.shift();
      if (message !== undefined) return message;
      const left = end - this.#clock.monotonic();
      if (left <= 0) return undefined;
      const bytes = await this.#line.next(left, signal);
      if (bytes === undefined) return undefined;
      for (const content of this.#reader.push(bytes)) this.#take(decodeMessage(content));
    }
  }

  #take(message: DumpMessage | undefined): void {
    if (message === undefined) return;
    if (message.kind === 'data' && !message.isGood) this.damaged += 1;
    if (this.#waiting.length >= MOST_WAITING)
      throw peerError('device.protocol', 'the device floods the line');
    this.#waiting.push(message);
  }
}
