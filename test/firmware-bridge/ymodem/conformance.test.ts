/** The YMODEM driver against a sending and receiving device on a virtual line. */

import type { TestContext } from 'node:test';
import { silentLogger } from '../../../agent/base/log.ts';
import type { DeviceEvent } from '../../../firmware-bridge/drivers/driver.ts';
import { ymodemDriver } from '../../../firmware-bridge/drivers/ymodem.ts';
import { seededRandom } from '../../../firmware-bridge/simulator/random.ts';
import { corrupting, type LineOptions, openLine } from '../../support/line.ts';
import { virtualClock } from '../../support/virtual-clock.ts';
import { conformance, type Rig } from '../conformance.ts';
import { sendingDevice } from './sending-device.ts';

const lines: readonly {
  readonly name: string;
  readonly line: Omit<LineOptions, 'clock'>;
  readonly corrupt?: number;
}[] = [
  { name: 'at 115200 baud with 16 ms latency', line: { baud: 115_200, latency: 16 } },
  { name: 'at 9600 baud', line: { baud: 9_600 } },
  { name: 'with one byte in ten thousand corrupted', line: { baud: 115_200 }, corrupt: 0.0001 },
];

for (const { name, line, corrupt } of lines) {
  conformance(`YMODEM ${name}`, {
    open: async (t: TestContext, events: DeviceEvent[]): Promise<Rig> => {
      const clock = virtualClock();
      const { next } = seededRandom(5);
      const noise = corrupt ? { toHost: corrupting(corrupt, next), toDevice: corrupting(corrupt, next) } : {};
      const { host, device: end } = openLine({ ...line, ...noise, clock });
      const sendingHand = sendingDevice(end, clock);
      const run = <T>(promise: Promise<T>) => clock.run(promise);
      const connection = { kind: 'stream', stream: host } as const;
      const options = {
        clock,
        log: silentLogger,
        random: next,
        onEvent: (event: DeviceEvent) => events.push(event),
      };
      const device = await run(ymodemDriver.open(connection, options));
      t.after(() => device.close());
      return { device, events, sendingHand, run };
    },
  });
}
