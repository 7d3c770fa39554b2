/** A sending device that a keeper keeps on a virtual line: what it takes for stored must be in the folder, and whole. */

import assert from 'node:assert/strict';
import { type LogEntry, Logger } from '../../../agent/base/log.ts';
import { ymodemDriver } from '../../../firmware-bridge/drivers/ymodem.ts';
import { Keeper } from '../../../firmware-bridge/keeper.ts';
import { seededRandom } from '../../../firmware-bridge/simulator/random.ts';
import { type LineOptions, openLine } from '../../support/line.ts';
import { virtualClock } from '../../support/virtual-clock.ts';
import { MemoryFolder, TestMemory } from '../memory-folder.ts';
import { sendingDevice } from './sending-device.ts';

export function keptSender(options: Omit<LineOptions, 'clock'> = {}) {
  const clock = virtualClock();
  const folder = new MemoryFolder();
  const entries: LogEntry[] = [];
  const line = openLine({ ...options, clock });
  const sender = sendingDevice(line.device, clock);
  const keeper = new Keeper({
    connect: async () => ({ kind: 'stream', stream: line.host }),
    driver: ymodemDriver,
    mode: 'archive',
    send: { patterns: [], largest: 0 },
    memory: new TestMemory(),
    memoryKey: 'test /',
    openFolder: async () => folder,
    clock,
    log: new Logger((entry) => entries.push(entry)),
    random: seededRandom(1).next,
    onEvent: () => {},
  });
  keeper.start();
  return {
    clock,
    folder,
    entries,
    line,
    sender,
    keeper,
    /** Presses the button until the device takes its file for stored. @returns how often. */
    async sendUntilStored(name: string, bytes: Uint8Array, most = 3): Promise<number> {
      for (let presses = 1; presses <= most; presses++) {
        if (await clock.run(sender.send(name, bytes))) return presses;
      }
      assert.fail('it is never stored');
    },
    /** Nothing but these contents was ever visible. */
    assertOnly(contents: readonly Uint8Array[], where: string): void {
      assert.equal(folder.open, 0, where);
      for (const { path, bytes } of folder.seen) {
        const isWhole = contents.some((one) => Buffer.compare(one, bytes) === 0);
        assert.ok(isWhole, `${where}: ${path} was visible with other content`);
      }
    },
  };
}
