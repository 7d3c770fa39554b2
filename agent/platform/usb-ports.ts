/**
 * Serial ports by the USB device behind them, from the kernel's own folders: `/dev/ttyUSB0` belongs to whatever was
 * plugged in first, and udev's stable names are missing on small systems.
 */

import { readdir, readFile, realpath } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { environmentError } from '../base/errors.ts';
import { printable } from '../base/printable.ts';

export interface UsbPort {
  /** `/dev/ttyACM0`. */
  readonly path: string;
  /** Four lower-case hexadecimal digits each. */
  readonly vendor: string;
  readonly product: string;
  /** As the device says. */
  readonly serialNumber: string | undefined;
  /** Of the USB device: one device can have several ports. */
  readonly interface: number;
}

export interface WantedPort {
  readonly vendor: string;
  readonly product: string;
  readonly serialNumber: string | undefined;
}

/** Folders between a port and its USB device, at most. */
const DEEPEST = 8;
/** A descriptor string has at most 126 characters (USB 2.0, section 9.6.7). */
const LONGEST_TEXT = 512;

/** The serial ports of USB devices, in the order of their interfaces. @param sys where sysfs is mounted */
export async function usbPorts(sys = '/sys'): Promise<UsbPort[]> {
  const folder = join(sys, 'class/tty');
  const names = await readdir(folder).catch(() => []);
  const ports = await Promise.all(names.map((name) => portOf(join(folder, name, 'device'), name)));
  return ports
    .filter((port) => port !== undefined)
    .sort((a, b) => a.interface - b.interface || a.path.localeCompare(b.path));
}

/**
 * The port of the device that is meant: of several ports of one device the first.
 * @throws SkylarkError (environment) `serial.absent` when it is not plugged in, `serial.ambiguous` when several fit.
 */
export async function findUsbPort(wanted: WantedPort, sys?: string): Promise<string> {
  const { vendor, product, serialNumber } = wanted;
  const fitting = (await usbPorts(sys)).filter(
    (port) =>
      port.vendor === vendor &&
      port.product === product &&
      (serialNumber === undefined || port.serialNumber === serialNumber),
  );
  const name = `${vendor}:${product}${serialNumber === undefined ? '' : `:${printable(serialNumber, 60)}`}`;
  const [first] = fitting;
  if (first === undefined)
    throw environmentError('serial.absent', `no USB device ${name} with a serial port is plugged in`, {
      remedy: 'plug the device in',
    });
  const devices = new Set(fitting.map((port) => port.serialNumber));
  const isOne =
    devices.size === 1 && fitting.every((port, i) => i === 0 || port.interface !== first.interface);
  if (!isOne) {
    const serials = [...devices].map((one) => (one === undefined ? 'none' : printable(one, 60)));
    throw environmentError('serial.ambiguous', `several USB devices ${name} are plugged in`, {
      remedy: `add the serial number, as in usb:${vendor}:${product}:SERIAL (there are ${serials.slice(0, 8).join(', ')})`,
    });
  }
  return first.path;
}

async function portOf(link: string, name: string): Promise<UsbPort | undefined> {
  let at = await realpath(link).catch(() => undefined);
  let number = 0;
  for (let depth = 0; at !== undefined && depth < DEEPEST; depth++, at = dirname(at)) {
    // The folder of an interface is called like 1-1.2:1.0: configuration and number behind the colon.
    const found = /:\d+\.(\d+)$/.exec(basename(at));
    if (found !== null) number = Number(found[1]);
    const vendor = await textOf(join(at, 'idVendor'));
    const product = await textOf(join(at, 'idProduct'));
    if (vendor === undefined || product === undefined) continue;
    const serialNumber = await textOf(join(at, 'serial'));
    return { path: `/dev/${name}`, vendor, product, serialNumber, interface: number };
  }
  return undefined;
}

async function textOf(path: string): Promise<string | undefined> {
  try {
    const text = (await readFile(path, 'utf8')).trim();
    return text === '' ? undefined : text.slice(0, LONGEST_TEXT);
  } catch {
    return undefined;
  }
}
