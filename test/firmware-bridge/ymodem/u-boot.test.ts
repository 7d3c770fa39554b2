/** The YMODEM driver sends to U-Boot's `loady` on an emulated ARM machine. */

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { createServer } from 'node:net';
import type { TestContext } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { crc32 } from 'node:zlib';
import { utf8 } from '../../../agent/base/bytes.ts';
import { systemClock } from '../../../agent/base/clock.ts';
import { silentLogger } from '../../../agent/base/log.ts';
import type { ByteStream } from '../../../agent/base/stream.ts';
import { connectTcp } from '../../../agent/platform/net.ts';
import { ymodemDriver } from '../../../firmware-bridge/drivers/ymodem.ts';
import { peerTest, startProgram } from '../../support/peers.ts';
import { content, pieces } from '../conformance.ts';

const FIRMWARE = '/usr/lib/u-boot/qemu_arm/u-boot.bin';
const LOAD_ADDRESS = '0x41000000';
const NEEDS = {
  programs: ['qemu-system-arm'],
  also: () => (existsSync(FIRMWARE) ? undefined : `${FIRMWARE} is not installed`),
  timeout: 150_000,
};

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  assert.ok(typeof address === 'object' && address !== null);
  return address.port;
}

/** The board's serial port, and what it has said so far; whoever reads passes everything on. */
async function startBoard(t: TestContext) {
  const port = await freePort();
  const serial = `tcp:127.0.0.1:${port},server=on,wait=on`;
  const machine = ['-M', 'virt,highmem=off', '-display', 'none', '-monitor', 'none', '-nic', 'none'];
  const qemu = startProgram(t, 'qemu-system-arm', [...machine, '-serial', serial, '-bios', FIRMWARE]);
  await qemu.waitFor(/waiting for connection/);
  const stream = await connectTcp('127.0.0.1', port);
  const said = { text: '' };
  const tapped: ByteStream = {
    label: 'u-boot',
    async read() {
      const bytes = await stream.read();
      if (bytes !== null) said.text += Buffer.from(bytes).toString('latin1');
      return bytes;
    },
    write: (bytes) => stream.write(bytes),
    close: () => stream.close(),
    abort: (reason) => stream.abort(reason),
  };
  return { tapped, said };
}

async function readUntil(stream: ByteStream, said: { readonly text: string }, end: RegExp): Promise<void> {
  while (!end.test(said.text)) assert.notEqual(await stream.read(), null, said.text);
}

peerTest("U-Boot's loady receives files byte for byte", NEEDS, async (t) => {
  const { tapped, said } = await startBoard(t);
  await readUntil(tapped, said, /Hit any key/);
  await tapped.write(utf8(' '));
  await readUntil(tapped, said, /=> $/);
  await tapped.write(utf8(`\nloady ${LOAD_ADDRESS}\n`));
  await readUntil(tapped, said, /Ready for binary[^\n]*\n/);
  const device = await ymodemDriver.open(
    { kind: 'stream', stream: tapped },
    { clock: systemClock, log: silentLogger, onEvent: () => {} },
  );
  t.after(() => device.close());
  const awake = setInterval(() => {}, 1_000);
  t.after(() => clearInterval(awake));
  for (const size of [150_001, 128]) {
    const bytes = content(size, size);
    const file = { name: 'kernel.bin', size, mtime: undefined, replace: true, content: pieces(bytes) };
    said.text = '';
    await device.write(file);
    const says = async (pattern: RegExp, command: string) => {
      // What the driver asks the idle board meanwhile lands on its command line: Control-C empties it.
      for (let tries = 0; tries < 20; tries++) {
        await tapped.write(utf8(`\x03${command}\n`));
        for (let waits = 0; waits < 20 && !pattern.test(said.text); waits++) await pause(100);
        if (pattern.test(said.text)) return;
      }
      assert.fail(`U-Boot does not say ${pattern}:\n${said.text}`);
    };
    const sum = crc32(bytes).toString(16).padStart(8, '0');
    await says(new RegExp(`==> ${sum}`), `crc32 ${LOAD_ADDRESS} 0x${size.toString(16)}`);
    await says(new RegExp(`Total Size\\s*=\\s*0x\\w+ = ${size} Bytes`), 'echo');
    await says(/Ready for binary/, `echo; loady ${LOAD_ADDRESS}`);
  }
});
