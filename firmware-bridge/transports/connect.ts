/** From a source to a connection. */

import { environmentError } from '../../agent/base/errors.ts';
import { readMounts } from '../../agent/platform/mounts.ts';
import { connectTcp } from '../../agent/platform/net.ts';
import { findUsbPort } from '../../agent/platform/usb-ports.ts';
import type { Connection } from '../drivers/driver.ts';
import { openSerialPort } from './serial.ts';
import type { Source } from './source.ts';

/** @throws SkylarkError `serial.*`, `net.*`, `device.not_mounted`; or the signal's reason. */
export async function connect(source: Source, signal: AbortSignal): Promise<Connection> {
  switch (source.kind) {
    case 'serial':
      return { kind: 'stream', stream: await openSerialPort(source, signal), baud: source.baud };
    case 'usb': {
      const path = await findUsbPort(source);
      return { kind: 'stream', stream: await openSerialPort({ ...source, path }, signal), baud: source.baud };
    }
    case 'dir': {
      const { path, mountPoint } = source;
      if (mountPoint !== undefined && !(await readMounts()).some(({ point }) => point === mountPoint))
        throw environmentError('device.not_mounted', `nothing is mounted at ${mountPoint}`, {
          remedy:
            'put the medium in; if it is mounted elsewhere, say where (?mount=/media/NAME), or that it is no medium (?mount=any)',
        });
      return { kind: 'directory', path };
    }
    case 'tcp': {
      const { host, port } = source.endpoint;
      return { kind: 'stream', stream: await connectTcp(host, port, { signal }) };
    }
  }
}
