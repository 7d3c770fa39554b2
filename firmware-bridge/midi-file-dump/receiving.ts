/**
 * A file that a device sends by MIDI File Dump. Each packet is acknowledged when it is good; the last one only when the file
 * is stored: until then the device is told to wait, since nothing of the protocol says later whether all went well.
 */

import { deviceError } from '../device-error.ts';
import type { DumpLine } from './dump-line.ts';
import type { FileData, FileHeader } from './messages.ts';

/** A device that sends nothing for so long has given up. Milliseconds. */
const PATIENCE = 10_000;
/** Times that one packet is asked for. */
const MOST_TRIES = 10;
/** Held in memory until it is stored. At the 31,250 baud of a MIDI cable it takes an hour and a half. */
export const LARGEST_RECEIVED = 16_777_216;

export interface Received {
  readonly bytes: Uint8Array;
  /** The last packet, which is to be acknowledged yet; undefined: the end was said without one. */
  readonly last: number | undefined;
}

/** @throws SkylarkError `device.transfer` when it does not come whole; then the device was told so. */
export async function receiveFile(
  line: DumpLine,
  header: FileHeader,
  onRetry: () => void,
  signal: AbortSignal,
): Promise<Received> {
  const to = header.from;
  const pieces: Uint8Array[] = [];
  let length = 0;
  let wanted = 0;
  let tries = 0;
  const isLast = () => header.length > 0 && length >= header.length;
  try {
    if (header.length > LARGEST_RECEIVED) throw failed(`is too large: ${header.length} bytes`);
    await line.say({ kind: 'ack', to, packet: 0 });
    for (;;) {
      const message = await line.next(PATIENCE, signal);
      if (message === undefined) throw failed('stopped coming');
      if (message.kind === 'cancel')
        throw deviceError('device.transfer', 'the device has cancelled the transfer');
      if (message.kind === 'eof') {
        if (length < header.length) throw failed(`ended after ${length} of ${header.length} bytes`);
        return { bytes: joined(pieces, length), last: undefined };
      }
      if (message.kind === 'header' && pieces.length === 0) {
        // It did not hear that it may begin.
        await line.say({ kind: 'ack', to, packet: 0 });
        continue;
      }
      if (message.kind !== 'data') continue;
      const verdict = judge(message, wanted);
      if (verdict === 'known') {
        await line.say({ kind: 'ack', to, packet: message.packet });
      } else if (verdict === 'bad') {
        tries += 1;
        onRetry();
        if (tries > MOST_TRIES) throw failed('comes damaged each time');
        await line.say({ kind: 'nak', to, packet: wanted % 128 });
      } else {
        tries = 0;
        pieces.push(message.bytes);
        length += message.bytes.length;
        if (length > LARGEST_RECEIVED) throw failed('does not end');
        if (isLast()) return { bytes: joined(pieces, length), last: message.packet };
        await line.say({ kind: 'ack', to, packet: message.packet });
        wanted += 1;
      }
    }
  } catch (thrown) {
    if (!signal.aborted) await line.say({ kind: 'cancel', to, packet: wanted % 128 });
    throw thrown;
  }
}

/** The one before is sent again when its acknowledgment was lost; any other shows that one is missing. */
function judge({ packet, isGood }: FileData, wanted: number): 'next' | 'known' | 'bad' {
  if (!isGood) return 'bad';
  if (packet === wanted % 128) return 'next';
  return wanted > 0 && packet === (wanted - 1) % 128 ? 'known' : 'bad';
}

function joined(pieces: readonly Uint8Array[], length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

function failed(what: string) {
  return deviceError('device.transfer', `the file ${what}`);
}
