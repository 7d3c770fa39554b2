/**
 * Sends forged broadcasts: half with an ID that is sought and ever new peers and ports, half with random IDs.
 *
 *     flood-program.ts BROADCAST-ADDRESS ID DATAGRAMS-PER-SECOND
 */

import { createSocket } from 'node:dgram';
import { BROADCAST_PORT, encodeBroadcast } from '../../agent/discovery/broadcast.ts';

const [host = '', id = '', rate = '0'] = process.argv.slice(2);
const socket = createSocket('udp4');
socket.bind(0, () => {
  socket.setBroadcast(true);
  const start = performance.now();
  let sent = 0;
  let seconds = 0;
  setInterval(() => {
    const passed = (performance.now() - start) / 1000;
    for (; sent < passed * Number(rate); sent++) {
      const forged = {
        id: sent % 2 === 0 ? id : sent.toString(16).padStart(64, '0'),
        peer: sent.toString(16).padStart(32, '0'),
        port: 1 + (sent % 65_535),
        versions: [1],
      };
      socket.send(encodeBroadcast(forged), BROADCAST_PORT, host);
    }
    if (passed >= seconds + 1) {
      seconds += 1;
      console.log(`${seconds} s: ${sent} datagrams sent`);
    }
  }, 5);
});
