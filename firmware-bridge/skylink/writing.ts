/** WRITE: a file to the device, visible there only when it is whole (PROTOCOL.md, 4.6). */

import { concatBytes } from '../../agent/base/bytes.ts';
import { errorCode, userError } from '../../agent/base/errors.ts';
import { deviceError } from '../device-error.ts';
import { type Asker, STORAGE_ALLOWANCE } from './asker.ts';
import { crc32c } from './crc32c.ts';
import { CONTENT_OVERHEAD, frameLength } from './frame.ts';
import type { Turn } from './line.ts';
import {
  COMMITTED,
  ERR,
  WRITE_BEGIN,
  WRITE_COMMIT,
  WRITE_DATA,
  WRITE_FLAG,
  WRITE_READY,
  WRITTEN,
} from './messages.ts';

export interface OutgoingFile {
  /** At most 255 bytes of UTF-8. */
  readonly name: string;
  /** At most 2^32 - 1 bytes. */
  readonly size: number;
  /** Seconds since 1970; 0: not known. */
  readonly mtime: number;
  /** Whether a file of that name may be replaced. */
  readonly replace: boolean;
  /** The same `size` bytes from the start at each call. */
  readonly content: () => AsyncIterable<Uint8Array>;
}

export interface WrittenFile {
  readonly id: number;
  readonly generation: number;
}

/** A device that restarts in the middle is begun again with; so often. */
const MOST_RESTARTS = 5;
const MOST_FRUITLESS = 50;
const LARGEST_BURST = 65_536;
/** Committing may mean that a small device reads everything once more. Milliseconds. */
const COMMIT_ALLOWANCE = 10_000;

/** @throws SkylarkError `device.full`, `device.exists`, `device.refused`...; `bridge.content_size`. */
export async function writeFile(
  asker: Asker,
  largestContent: number,
  file: OutgoingFile,
  random: () => number,
  signal: AbortSignal | undefined,
): Promise<WrittenFile> {
  const transfer = 1 + Math.floor(random() * 0xffff_fffe);
  for (let restarts = 0; ; restarts++) {
    try {
      return await transferOnce(asker, largestContent, transfer, file, signal);
    } catch (thrown) {
      if (errorCode(thrown) !== 'device.transfer' || restarts >= MOST_RESTARTS) throw thrown;
    }
  }
}

async function transferOnce(
  asker: Asker,
  largestContent: number,
  transfer: number,
  file: OutgoingFile,
  signal: AbortSignal | undefined,
): Promise<WrittenFile> {
  const { name, size, mtime } = file;
  const flags = file.replace ? WRITE_FLAG.replace : 0;
  const slow = { signal, allowance: STORAGE_ALLOWANCE };
  const ready = await asker.ask(WRITE_BEGIN, { transfer, size, mtime, flags, name }, WRITE_READY, slow);
  if (ready.transfer !== transfer || ready.offset > size || ready.chunk === 0) {
    throw deviceError('device.protocol', 'the device is ready for another transfer than the one begun');
  }
  const chunk = Math.min(ready.chunk, largestContent - CONTENT_OVERHEAD - 8);
  const window = Math.min(LARGEST_BURST, Math.max(chunk, ready.window));
  const seen = { length: 0, crc: 0 };
  for await (const { start, bytes } of bursts(watched(file, seen), ready.offset, window)) {
    await sendBurst(asker, transfer, start, bytes, chunk, signal);
  }
  if (seen.length !== size) throw contentSize(name);
  const commit = { signal, allowance: COMMIT_ALLOWANCE };
  const { id, generation } = await asker.ask(
    WRITE_COMMIT,
    { transfer, size, crc: seen.crc },
    COMMITTED,
    commit,
  );
  return { id, generation };
}

function contentSize(name: string) {
  return userError('bridge.content_size', `${name} is not as long as was said`);
}

/** The file's content, its length and CRC noted on the way. */
async function* watched(
  file: OutgoingFile,
  seen: { length: number; crc: number },
): AsyncGenerator<Uint8Array, void> {
  for await (const piece of file.content()) {
    seen.length += piece.length;
    seen.crc = crc32c(piece, seen.crc);
    if (seen.length > file.size) throw contentSize(file.name);
    yield piece;
  }
}

/** Cuts content into bursts of `length` bytes, the last one shorter, from offset `from` on. */
async function* bursts(
  content: AsyncIterable<Uint8Array>,
  from: number,
  length: number,
): AsyncGenerator<{ readonly start: number; readonly bytes: Uint8Array }, void> {
  let held: Uint8Array[] = [];
  let holding = 0;
  let start = from;
  let skip = from;
  for await (const piece of content) {
    let rest = piece.subarray(Math.min(skip, piece.length));
    skip -= Math.min(skip, piece.length);
    while (rest.length > 0) {
      const taken = rest.subarray(0, length - holding);
      rest = rest.subarray(taken.length);
      held.push(taken);
      holding += taken.length;
      if (holding < length) continue;
      yield { start, bytes: concatBytes(...held) };
      start += holding;
      held = [];
      holding = 0;
    }
  }
  if (holding > 0) yield { start, bytes: concatBytes(...held) };
}

/** Sends bytes that the device has room for, and again what it does not acknowledge, until it has them all. */
async function sendBurst(
  asker: Asker,
  transfer: number,
  start: number,
  bytes: Uint8Array,
  largestChunk: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  let taken = 0;
  for (let fruitless = 0; taken < bytes.length; ) {
    const chunk = Math.min(largestChunk, asker.plan.chunk);
    const rest = bytes.subarray(taken);
    const more = await asker.line.ask(signal, (turn) =>
      sendRest(asker, turn, transfer, start + taken, rest, chunk, signal),
    );
    taken += more;
    fruitless = more === 0 ? fruitless + 1 : 0;
    asker.giveUp(fruitless > MOST_FRUITLESS, 'the device answers, but takes no bytes');
  }
}

/** @returns how many of the bytes the device has acknowledged when something was lost or all is there. */
async function sendRest(
  asker: Asker,
  turn: Turn,
  transfer: number,
  start: number,
  bytes: Uint8Array,
  chunk: number,
  signal: AbortSignal | undefined,
): Promise<number> {
  let onTheLine = 0;
  for (let offset = 0; offset < bytes.length; offset += chunk) {
    const data = bytes.subarray(offset, offset + chunk);
    await turn.add(WRITE_DATA, { transfer, offset: start + offset, data });
    onTheLine += frameLength(data.length + 8);
  }
  const began = asker.clock.monotonic();
  let taken = 0;
  while (taken < bytes.length) {
    const frame = await turn.next(asker.tempo.wait(onTheLine, STORAGE_ALLOWANCE));
    if (frame === undefined) {
      asker.plan.silence();
      asker.missed();
      return taken;
    }
    asker.tempo.heard();
    if (frame.type === WRITTEN.type) {
      const written = WRITTEN.decode(frame.body);
      if (written.transfer !== transfer) continue;
      const now = written.offset - start;
      if (now < 0 || now > bytes.length) {
        throw deviceError('device.protocol', 'the device acknowledges what was never sent');
      }
      // The same offset a second time: what followed it did not arrive.
      if (now <= taken) {
        asker.gap();
        return taken;
      }
      taken = now;
      asker.plan.arrived();
    } else if (frame.type === ERR.type) {
      await asker.pauseIfBusy(frame, asker.clock.monotonic() - began, signal);
      return taken;
    }
  }
  return taken;
}
