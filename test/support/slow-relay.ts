/** A long way between two programs on this machine: a relay on loopback that delivers everything late. */

import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import type { TestContext } from 'node:test';

export interface SlowRelay {
  /** `HOST:PORT` to dial instead of the target. */
  readonly address: string;
  /** Bytes that it has carried, both ways. */
  readonly carried: number;
}

/**
 * @param target `HOST:PORT`
 * @param delay milliseconds that every byte is on its way, in either direction
 */
export async function openSlowRelay(t: TestContext, target: string, delay: number): Promise<SlowRelay> {
  const at = target.lastIndexOf(':');
  const [host, port] = [target.slice(0, at), Number(target.slice(at + 1))];
  const sockets = new Set<Socket>();
  let carried = 0;
  const carry = (from: Socket, to: Socket) => {
    sockets.add(from);
    from.setNoDelay(true);
    from.on('data', (bytes: Buffer) => {
      carried += bytes.length;
      setTimeout(() => to.destroyed || to.write(bytes), delay);
    });
    from.on('error', () => {});
    from.on('close', () => {
      sockets.delete(from);
      setTimeout(() => to.destroy(), delay);
    });
  };
  const server = createServer((near) => {
    const far = connect(port, host);
    carry(near, far);
    carry(far, near);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the relay has no port');
  return {
    address: `127.0.0.1:${address.port}`,
    get carried() {
      return carried;
    },
  };
}
