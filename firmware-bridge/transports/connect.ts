/** From a source to a connection. */

import { connectTcp } from '../../agent/platform/net.ts';
import type { Connection } from '../drivers/driver.ts';
import { openSerialPort } from './serial.ts';
import type { Source } from './source.ts';

/** @throws SkylarkError `serial.*`, `net.*`; or the signal's reason. */
export async function connect(source: Source, signal: AbortSignal): Promise<Connection> {
  switch (source.kind) {
    case 'serial':
      return { kind: 'stream', stream: await openSerialPort(source, signal), baud: source.baud };
    case 'tcp': {
      const { host, port } = source.endpoint;
      return { kind: 'stream', stream: await connectTcp(host, port, { signal }) };
    }
  }
}
