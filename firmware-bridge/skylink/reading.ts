/** READ: a file's bytes in order, each exactly once, over a line that loses what it likes (PROTOCOL.md, 4.5). */

import { deviceError } from '../device-error.ts';
import type { Asker } from './asker.ts';
import { type Frame, frameLength } from './frame.ts';
import type { Turn } from './line.ts';
import { DATA, END, ERR, READ } from './messages.ts';

export interface ReadableFile {
  readonly id: number;
  readonly generation: number;
  readonly size: number;
}

/** Questions in a row that brought not one new byte. */
const MOST_FRUITLESS = 50;
/** A stretch that says something about the line's speed. */
const TELLING_STRETCH = 1_024;

interface Part {
  readonly chunks: readonly Uint8Array[];
  readonly length: number;
}

/**
 * The bytes from `offset` to the end of the file. While the caller stores one part, the next is under way.
 * @throws SkylarkError `device.changed`, `device.not_found`; `device.silent`, `device.lost`, `device.stuck`.
 */
export async function* readFile(
  asker: Asker,
  file: ReadableFile,
  offset: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array, void> {
  const left = new AbortController();
  const leave = () => left.abort(signal?.reason ?? deviceError('device.lost', 'the reader has left'));
  if (signal?.aborted) leave();
  signal?.addEventListener('abort', leave, { once: true });
  const ask = (from: number) => {
    const part = asker.line.ask(left.signal, (turn) => askPart(asker, turn, file, from, left.signal));
    // Whoever stops reading does not hear of a failure any more.
    part.catch(() => {});
    return part;
  };
  try {
    let position = offset;
    let fruitless = 0;
    let under = position < file.size ? ask(position) : undefined;
    while (under !== undefined) {
      const { chunks, length } = await under;
      position += length;
      fruitless = length === 0 ? fruitless + 1 : 0;
      asker.giveUp(fruitless > MOST_FRUITLESS, 'the device answers, but the file does not come');
      under = position < file.size ? ask(position) : undefined;
      yield* chunks;
    }
  } finally {
    signal?.removeEventListener('abort', leave);
    leave();
  }
}

/** One READ, and what came of it without a gap. */
async function askPart(
  asker: Asker,
  turn: Turn,
  file: ReadableFile,
  from: number,
  signal: AbortSignal,
): Promise<Part> {
  const { clock, tempo, plan } = asker;
  const { chunk } = plan;
  const window = Math.min(plan.window, file.size - from);
  const stretch = { since: 0, bytes: 0 };
  const chunks: Uint8Array[] = [];
  let length = 0;
  const began = clock.monotonic();
  const sent = await turn.send(READ, {
    id: file.id,
    generation: file.generation,
    offset: from,
    window,
    chunk,
  });
  while (length < window) {
    const frame = await nextOrGone(asker, turn, chunk, length > 0);
    if (frame === undefined) break;
    const now = clock.monotonic();
    tempo.heard();
    if (frame.type === DATA.type) {
      const { offset, data } = DATA.decode(frame.body);
      if (offset > from + length) {
        asker.gap();
        break;
      }
      if (offset < from + length || data.length === 0) continue;
      if (length === 0) {
        tempo.answered(now - began, sent + frameLength(frame.body.length));
        stretch.since = now;
      } else {
        stretch.bytes += frameLength(frame.body.length);
      }
      const wanted = data.subarray(0, window - length);
      chunks.push(wanted);
      length += wanted.length;
      plan.arrived();
      if (length === window) plan.complete();
    } else if (frame.type === END.type) {
      const end = END.decode(frame.body);
      if (end.size !== file.size)
        throw deviceError('device.changed', 'the file has another size than was listed');
      // Less than asked is the device's right; a tail that went missing is a gap.
      if (end.offset !== from + length) asker.gap();
      break;
    } else if (frame.type === ERR.type) {
      await asker.pauseIfBusy(frame, 0, signal);
      break;
    }
  }
  if (stretch.bytes >= TELLING_STRETCH) tempo.streamed(stretch.bytes, clock.monotonic() - stretch.since);
  return { chunks, length };
}

/**
 * The next answer; undefined if none comes. When the line breaks, what has come so far is still good and not thrown away: the
 * next question finds out.
 */
async function nextOrGone(
  asker: Asker,
  turn: Turn,
  chunk: number,
  something: boolean,
): Promise<Frame | undefined> {
  try {
    const frame = await turn.next(asker.tempo.wait(frameLength(chunk + 4)));
    if (frame !== undefined) return frame;
    asker.plan.silence();
    asker.missed();
  } catch (thrown) {
    if (!something) throw thrown;
  }
  return undefined;
}
