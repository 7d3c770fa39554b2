import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { Endpoint } from '../../agent/base/endpoint.ts';
import { openUdp, type UdpOptions } from '../../agent/platform/udp.ts';

async function socket(t: TestContext, options: Partial<UdpOptions> = {}) {
  const received: { bytes: Uint8Array; from: Endpoint }[] = [];
  let wake: (() => void) | undefined;
  const udp = await openUdp({
    host: '0.0.0.0',
    port: 0,
    onDatagram: (bytes, from) => {
      received.push({ bytes, from });
      wake?.();
    },
    ...options,
  });
  t.after(() => udp.close());
  const count = async (wanted: number) => {
    while (received.length < wanted) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    return received;
  };
  return { udp, count };
}

test('a datagram arrives, with its sender', async (t) => {
  const a = await socket(t);
  const b = await socket(t);
  await a.udp.send(Uint8Array.of(1, 2, 3), { host: '127.0.0.1', port: b.udp.port });
  const [datagram] = await b.count(1);
  assert.deepEqual(datagram?.bytes, Uint8Array.of(1, 2, 3));
  assert.deepEqual(datagram?.from, { host: '127.0.0.1', port: a.udp.port });
});

test('sockets that share a port all hear a broadcast, the sender too', async (t) => {
  const first = await socket(t, { shared: true, broadcast: true });
  const second = await socket(t, { shared: true, broadcast: true, port: first.udp.port });
  await second.udp.send(Uint8Array.of(7), { host: '127.255.255.255', port: first.udp.port });
  for (const each of [first, second]) {
    const [datagram] = await each.count(1);
    assert.deepEqual(datagram?.bytes, Uint8Array.of(7));
  }
});

test('a port that somebody holds alone is told as taken', async (t) => {
  const first = await socket(t);
  await assert.rejects(openUdp({ host: '0.0.0.0', port: first.udp.port, onDatagram: () => {} }), {
    code: 'net.port_taken',
    fault: 'environment',
  });
});

test('what can not be sent, and a closed socket, are environment errors', async (t) => {
  const { udp } = await socket(t);
  // Without permission to broadcast.
  await assert.rejects(udp.send(Uint8Array.of(1), { host: '127.255.255.255', port: 9 }), {
    code: 'net.send_failed',
    fault: 'environment',
  });
  await udp.close();
  await udp.close();
  await assert.rejects(udp.send(Uint8Array.of(1), { host: '127.0.0.1', port: 9 }), {
    code: 'net.send_failed',
  });
});
