/** A device that sends and receives files by YMODEM on a virtual line, with a user who tries again. */

import { concatBytes, utf8 } from '../../../agent/base/bytes.ts';
import type { Clock } from '../../../agent/base/clock.ts';
import type { ByteStream } from '../../../agent/base/stream.ts';
import { ByteLine } from '../../../firmware-bridge/byte-line.ts';
import { ACK } from '../../../firmware-bridge/ymodem/blocks.ts';
import { ReceivingLine, transferOf } from '../../../firmware-bridge/ymodem/receiving.ts';
import { sendFile } from '../../../firmware-bridge/ymodem/sending.ts';
import { pieces, type SendingHand } from '../conformance.ts';

export interface SendingDevice extends SendingHand {
  readonly line: ByteLine;
}

export function sendingDevice(stream: ByteStream, clock: Clock): SendingDevice {
  const line = new ByteLine(stream, clock);
  return {
    line,
    async send(name, bytes) {
      const file = { name, size: bytes.length, mtime: 1_700_000_000, content: pieces(bytes) };
      try {
        await sendFile(line, clock, file, () => {});
        return true;
      } catch {
        return false;
      }
    },
    async receive() {
      const receiving = new ReceivingLine(line, clock);
      receiving.skip();
      for (let tries = 0; tries < 20; tries++) {
        await receiving.say(...utf8('C'));
        const heard = await receiving.hear(1_000);
        if (heard?.kind !== 'block') continue;
        const transfer = transferOf(receiving, heard);
        if (transfer === undefined) return undefined;
        await transfer.accept();
        const all: Uint8Array[] = [];
        try {
          for await (const piece of transfer.content()) all.push(piece);
        } catch {
          return undefined;
        }
        await receiving.say(ACK, ...utf8('C'));
        await receiving.hear(3_000);
        await receiving.say(ACK);
        return { name: transfer.header.name, bytes: concatBytes(...all) };
      }
      return undefined;
    },
  };
}
