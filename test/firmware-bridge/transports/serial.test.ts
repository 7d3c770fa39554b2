/** The serial transport over pseudo-terminals that `socat` makes. */

import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { systemClock } from '../../../agent/base/clock.ts';
import { silentLogger } from '../../../agent/base/log.ts';
import type { ByteStream } from '../../../agent/base/stream.ts';
import { skylinkDriver } from '../../../firmware-bridge/drivers/skylink.ts';
import { createPiano, openPiano } from '../../../firmware-bridge/simulator/piano.ts';
import { openSerialPort } from '../../../firmware-bridge/transports/serial.ts';
import { type Program, peerTest, startProgram } from '../../support/peers.ts';
import { content, listed, readAll } from '../conformance.ts';

const NEEDS = { programs: ['socat'] };

interface Pair {
  readonly socat: Program;
  readonly a: string;
  readonly b: string;
}

async function pair(t: TestContext, second?: string): Promise<Pair> {
  const folder = mkdtempSync(join(tmpdir(), 'skylark-serial-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const [a, b] = [join(folder, 'a'), join(folder, 'b')];
  const raw = (path: string) => `PTY,link=${path},raw,echo=0`;
  const socat = startProgram(t, 'socat', ['-d', '-d', raw(a), second ?? raw(b)]);
  await socat.waitFor(/starting data transfer loop/);
  return { socat, a, b };
}

function openPort(path: string): Promise<ByteStream> {
  return openSerialPort({ path, baud: 1_000_000, hardwareFlow: false });
}

peerTest('bytes of every value pass both ways', NEEDS, async (t) => {
  const { a, b } = await pair(t);
  const [one, other] = [await openPort(a), await openPort(b)];
  const sent = Uint8Array.from({ length: 100_000 }, (_, i) => (i * 7) % 256);
  for (const [from, to] of [
    [one, other],
    [other, one],
  ] as const) {
    const writing = from.write(sent);
    const received: number[] = [];
    while (received.length < sent.length) received.push(...((await to.read()) ?? []));
    await writing;
    assert.ok(Buffer.compare(Buffer.from(received), sent) === 0);
  }
  await one.close();
  await other.close();
});

peerTest('requests are answered in a process in which nothing else runs', NEEDS, async (t) => {
  // On Node 26 serialport's poller wakes nobody (node-serialport issue 3148): not one of the answers arrives.
  const piano = await openPiano({ seed: 1 });
  t.after(() => piano.close());
  const { a } = await pair(t, `TCP:${piano.address.host}:${piano.address.port}`);
  const script = fileURLToPath(new URL('./ask-repeatedly.ts', import.meta.url));
  const asker = startProgram(t, process.execPath, [script, a, '200']);
  await asker.waitFor(/^200 answers$/m, 30_000);
  assert.equal((await asker.exited).code, 0);
});

peerTest(
  'a port that another program has locked is said to be in use, and is free again later',
  NEEDS,
  async (t) => {
    const { a } = await pair(t);
    const first = await openPort(a);
    await assert.rejects(openPort(a), { code: 'serial.in_use', remedy: 'stop that program' });
    await first.close();
    await (await openPort(a)).close();
  },
);

peerTest('an unplugged port fails reads, writes and whoever comes later', NEEDS, async (t) => {
  const { a, socat } = await pair(t);
  const port = await openPort(a);
  const reading = assert.rejects(port.read(), { code: 'serial.unplugged' });
  await socat.end('SIGKILL');
  await reading;
  await assert.rejects(port.write(new Uint8Array(9)), { code: 'serial.unplugged' });
  await assert.rejects(port.read(), { code: 'serial.unplugged' });
  await port.close();
  await port.close();
});

peerTest('a port that nobody reads does not hold its closing', NEEDS, async (t) => {
  const { a } = await pair(t, 'EXEC:sleep 60');
  const port = await openPort(a);
  const writing = assert.rejects(port.write(new Uint8Array(8_000_000)));
  port.abort(new Error('enough'));
  await writing;
  await assert.rejects(port.read(), { message: 'enough' });
  await port.close();
});

test('a port that can not be opened is told why, and leaves no descriptor behind', async () => {
  // The library is loaded by the first try.
  await assert.rejects(openPort('/dev/null'));
  const before = readdirSync('/proc/self/fd').length;
  for (let i = 0; i < 20; i++) {
    await assert.rejects(openPort('/dev/serial/by-id/none'), { code: 'serial.absent' });
    await assert.rejects(openPort('/dev/null'), { code: 'serial.not_a_port' });
    await assert.rejects(openPort('/tmp'), { code: 'serial.not_a_port' });
  }
  assert.equal(readdirSync('/proc/self/fd').length, before);
  const aborted = AbortSignal.abort(new Error('too late'));
  const options = { path: '/dev/null', baud: 9_600, hardwareFlow: false };
  await assert.rejects(openSerialPort(options, aborted), { message: 'too late' });
});

peerTest('a piano on the other end of a serial line is read', NEEDS, async (t) => {
  const { a, b } = await pair(t);
  const piano = createPiano({ seed: 2, frame: 1024 });
  t.after(() => piano.close());
  piano.attach(await openPort(b));
  const bytes = content(1, 300_000);
  piano.save('long.mid', bytes);
  const connection = { kind: 'stream', stream: await openPort(a), baud: 1_000_000 } as const;
  const device = await skylinkDriver.open(connection, {
    clock: systemClock,
    log: silentLogger,
    onEvent: () => {},
  });
  t.after(() => device.close());
  const [file] = (await listed(device)).files;
  assert.ok(file);
  assert.ok(Buffer.compare(await readAll(device, file), bytes) === 0);
});
