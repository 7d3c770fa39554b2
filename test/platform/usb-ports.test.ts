/** Finding ports by the USB device behind them, in folders as the kernel lays them out. */

import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { findUsbPort, usbPorts } from '../../agent/platform/usb-ports.ts';

interface Plugged {
  readonly tty: string;
  /** Of the interface, below the bus: `1-1:1.0`. */
  readonly at: string;
  readonly vendor: string;
  readonly product: string;
  readonly serial?: string;
}

/** Only the kernel can plug something in: its folders are made by hand. */
function sysWith(t: TestContext, plugged: readonly Plugged[]): string {
  const sys = mkdtempSync(join(tmpdir(), 'skylark-sys-'));
  t.after(() => rmSync(sys, { recursive: true }));
  const classes = join(sys, 'class/tty');
  mkdirSync(classes, { recursive: true });
  for (const { tty, at, vendor, product, serial } of plugged) {
    const device = join(sys, 'devices/pci0/usb1', at.replace(/:.*$/, ''));
    const port = tty.startsWith('ttyUSB') ? join(device, at, tty) : join(device, at);
    mkdirSync(port, { recursive: true });
    writeFileSync(join(device, 'idVendor'), `${vendor}\n`);
    writeFileSync(join(device, 'idProduct'), `${product}\n`);
    if (serial !== undefined) writeFileSync(join(device, 'serial'), `${serial}\n`);
    mkdirSync(join(classes, tty));
    symlinkSync(port, join(classes, tty, 'device'));
  }
  // Ports of the system itself have no USB device.
  mkdirSync(join(sys, 'devices/platform/serial8250'), { recursive: true });
  mkdirSync(join(classes, 'ttyS0'));
  symlinkSync(join(sys, 'devices/platform/serial8250'), join(classes, 'ttyS0/device'));
  mkdirSync(join(classes, 'tty0'));
  return sys;
}

const PICO = { vendor: '2e8a', product: '000a' };

test('ports are found behind adapters and modems, with what their devices say', async (t) => {
  const sys = sysWith(t, [
    { tty: 'ttyACM0', at: '1-1:1.0', ...PICO, serial: 'E660' },
    { tty: 'ttyACM1', at: '1-1:1.2', ...PICO, serial: 'E660' },
    { tty: 'ttyUSB0', at: '1-2.3:1.0', vendor: '0403', product: '6001' },
  ]);
  const ports = await usbPorts(sys);
  assert.deepEqual(
    ports.map(({ path, interface: number, serialNumber }) => [path, number, serialNumber]),
    [
      ['/dev/ttyACM0', 0, 'E660'],
      ['/dev/ttyUSB0', 0, undefined],
      ['/dev/ttyACM1', 2, 'E660'],
    ],
  );
  assert.equal(await findUsbPort({ ...PICO, serialNumber: undefined }, sys), '/dev/ttyACM0');
  assert.equal(
    await findUsbPort({ vendor: '0403', product: '6001', serialNumber: undefined }, sys),
    '/dev/ttyUSB0',
  );
});

test('what is not there, and what is there twice, is said', async (t) => {
  const twice = sysWith(t, [
    { tty: 'ttyACM0', at: '1-1:1.0', ...PICO, serial: 'one' },
    { tty: 'ttyACM1', at: '1-2:1.0', ...PICO, serial: 'two\u001b[2J' },
  ]);
  const any = { ...PICO, serialNumber: undefined };
  await assert.rejects(findUsbPort(any, twice), (thrown: { code: string; remedy: string }) => {
    assert.equal(thrown.code, 'serial.ambiguous');
    assert.match(thrown.remedy, /usb:2e8a:000a:SERIAL \(there are one, two/);
    assert.ok(!thrown.remedy.includes('\u001b'));
    return true;
  });
  assert.equal(await findUsbPort({ ...PICO, serialNumber: 'one' }, twice), '/dev/ttyACM0');
  await assert.rejects(findUsbPort({ ...PICO, serialNumber: 'three' }, twice), { code: 'serial.absent' });
  await assert.rejects(findUsbPort(any, '/nonexistent'), { code: 'serial.absent' });
});

test('two devices of one kind without serial numbers are two all the same', async (t) => {
  const sys = sysWith(t, [
    { tty: 'ttyUSB0', at: '1-1:1.0', vendor: '1a86', product: '7523' },
    { tty: 'ttyUSB1', at: '1-2:1.0', vendor: '1a86', product: '7523' },
  ]);
  await assert.rejects(findUsbPort({ vendor: '1a86', product: '7523', serialNumber: undefined }, sys), {
    code: 'serial.ambiguous',
  });
});
