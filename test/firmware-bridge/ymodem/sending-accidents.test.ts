/** Whatever happens to a byte while a file is sent to the device: it stores the whole file, or knows that it has none. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLogger } from '../../../agent/base/log.ts';
import { ymodemDriver } from '../../../firmware-bridge/drivers/ymodem.ts';
import { seededRandom } from '../../../firmware-bridge/simulator/random.ts';
import { type Accident, accidentAt, type LineOptions, openLine } from '../../support/line.ts';
import { virtualClock } from '../../support/virtual-clock.ts';
import { content, pieces } from '../conformance.ts';
import { sendingDevice } from './sending-device.ts';

const BYTES = content(1, 1_300);

/** Writes one file. @returns what came of it, and what the line has carried. */
async function writeOnce(options: Omit<LineOptions, 'clock'>) {
  const clock = virtualClock();
  const line = openLine({ ...options, clock });
  const hand = sendingDevice(line.device, clock);
  const driverOptions = { clock, log: silentLogger, random: seededRandom(1).next, onEvent: () => {} };
  const device = await ymodemDriver.open({ kind: 'stream', stream: line.host }, driverOptions);
  const receiving = hand.receive();
  const file = { name: 'a.bin', size: BYTES.length, mtime: undefined, replace: true, content: pieces(BYTES) };
  const isSent = await clock.run(
    device.write(file).then(
      () => true,
      () => false,
    ),
  );
  const got = await clock.run(receiving);
  await clock.run(device.close());
  return { isSent, got, carried: line.carried };
}

const { carried } = await writeOnce({});

for (const direction of ['toHost', 'toDevice'] as const) {
  for (const accident of ['lose', 'double', 'flip'] as const satisfies readonly Accident[]) {
    test(`sending: a byte ${direction} that meets the accident "${accident}", at every offset`, async (t) => {
      let unsent = 0;
      for (let offset = 0; offset < carried[direction]; offset++) {
        const { isSent, got } = await writeOnce({ [direction]: accidentAt(offset, accident) });
        const where = `${accident} at byte ${offset} ${direction}`;
        if (got !== undefined) assert.ok(Buffer.compare(got.bytes, BYTES) === 0, where);
        if (isSent) assert.ok(got, `${where}: it counts as sent, and is not there`);
        else unsent += 1;
      }
      t.diagnostic(`${carried[direction]} offsets, ${unsent} of them ended in an error`);
      assert.equal(unsent, 0);
    });
  }
}
