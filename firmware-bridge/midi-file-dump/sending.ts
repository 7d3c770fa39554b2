/** A file for a device, sent by MIDI File Dump: every packet acknowledged, or sent again. */

import { userError } from '../../agent/base/errors.ts';
import { printable } from '../../agent/base/printable.ts';
import { deviceError } from '../device-error.ts';
import type { DumpLine } from './dump-line.ts';
import { type DumpMessage, MOST_IN_PACKET } from './messages.ts';

export interface OutgoingFile {
  readonly name: string;
  readonly size: number;
  /** Four characters. */
  readonly type: string;
  readonly content: () => AsyncIterable<Uint8Array>;
}

export interface Numbers {
  /** Of the device; 7F: any. */
  readonly to: number;
  readonly from: number;
}

/** For an answer. Devices that do no handshaking never answer: what became of a file can't be known then. Milliseconds. */
const ANSWER = 3_000;
/** A device may ask for time; so long at most. Milliseconds. */
const LONGEST_WAIT = 120_000;
const MOST_TRIES = 10;

/**
 * @throws SkylarkError `device.busy` if nobody answers, `device.refused`, `device.transfer`; `bridge.content_size`.
 */
export async function sendFile(
  line: DumpLine,
  { name, size, type, content }: OutgoingFile,
  { to, from }: Numbers,
  onRetry: () => void,
  signal: AbortSignal,
): Promise<void> {
  line.forget();
  await line.say({ kind: 'header', to, from, type, length: size, name });
  const begun = await answer(line, undefined, signal);
  if (begun === undefined)
    throw deviceError('device.busy', 'the device does not answer', {
      remedy: 'let it wait for a file, or see whether it takes any by MIDI File Dump',
    });
  if (begun !== 'ack') throw deviceError('device.refused', `the device does not want ${printable(name, 80)}`);
  let packet = 0;
  try {
    for await (const bytes of inPackets(content(), size, name)) {
      signal.throwIfAborted();
      await sendPacket(
        line,
        { kind: 'data', to, packet: packet % 128, bytes, isGood: true },
        onRetry,
        signal,
      );
      packet += 1;
    }
  } catch (thrown) {
    if (!signal.aborted) await line.say({ kind: 'cancel', to, packet: packet % 128 });
    throw thrown;
  }
  await line.say({ kind: 'eof', to, packet: packet % 128 });
}

async function sendPacket(
  line: DumpLine,
  message: Extract<DumpMessage, { kind: 'data' }>,
  onRetry: () => void,
  signal: AbortSignal,
): Promise<void> {
  for (let tries = 0; tries < MOST_TRIES; tries++) {
    if (tries > 0) onRetry();
    await line.say(message);
    const said = await answer(line, message.packet, signal);
    if (said === 'ack') return;
    if (said === 'cancel') throw deviceError('device.refused', 'the device has cancelled the transfer');
  }
  throw deviceError('device.transfer', 'the device does not take a part of the file');
}

/** @param packet of the answer; undefined: any. @returns undefined if there is none. */
async function answer(
  line: DumpLine,
  packet: number | undefined,
  signal: AbortSignal,
): Promise<'ack' | 'nak' | 'cancel' | undefined> {
  let patience = ANSWER;
  for (let waits = 0; ; ) {
    const message = await line.next(patience, signal);
    if (message === undefined) return undefined;
    if (message.kind === 'cancel') return 'cancel';
    if (message.kind === 'wait') {
      patience = LONGEST_WAIT;
      waits += 1;
      if (waits > MOST_TRIES) return undefined;
    }
    const isMeant = packet === undefined || ('packet' in message && message.packet === packet);
    if ((message.kind === 'ack' || message.kind === 'nak') && isMeant) return message.kind;
  }
}

/** @throws `bridge.content_size` before the last packet, so that nobody takes it for whole. */
async function* inPackets(
  content: AsyncIterable<Uint8Array>,
  size: number,
  name: string,
): AsyncGenerator<Uint8Array, void> {
  let held = new Uint8Array(0);
  let length = 0;
  for await (const piece of content) {
    length += piece.length;
    if (length > size) break;
    const all = new Uint8Array(held.length + piece.length);
    all.set(held);
    all.set(piece, held.length);
    let at = 0;
    // The last full one is kept back until it is known that nothing is too much.
    for (; all.length - at > MOST_IN_PACKET; at += MOST_IN_PACKET)
      yield all.subarray(at, at + MOST_IN_PACKET);
    held = all.slice(at);
  }
  if (length !== size) throw userError('bridge.content_size', `${name} is not as long as was said`);
  if (held.length > 0) yield held;
}
