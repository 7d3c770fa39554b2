/**
 * Opens a serial port, asks a Skylink device for its state so often, one question after the other, and says how many answers
 * came. Run as a process of its own, in which nothing but the port keeps the event loop going.
 */

import { systemClock } from '../../../agent/base/clock.ts';
import { openSkylink } from '../../../firmware-bridge/skylink/host.ts';
import { openSerialPort } from '../../../firmware-bridge/transports/serial.ts';

const [path = '', count = '1'] = process.argv.slice(2);
const stream = await openSerialPort({ path, baud: 1_000_000, hardwareFlow: false });
const host = await openSkylink(stream, { clock: systemClock });
let answers = 0;
for (let i = 0; i < Number(count); i++) {
  await host.subscribe([]);
  answers += 1;
}
await host.close();
process.stdout.write(`${answers} answers\n`);
