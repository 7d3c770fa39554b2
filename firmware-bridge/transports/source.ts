/**
 * Where a device is, as written in the configuration: `serial:/dev/serial/by-id/...?baud=1000000`, `usb:2e8a:000a`,
 * `tcp://HOST:PORT`, `dir:/media/stick`.
 */

import { type Endpoint, formatEndpoint, parseEndpoint } from '../../agent/base/endpoint.ts';
import { EXIT, type SkylarkError, userError } from '../../agent/base/errors.ts';
import { nearestName } from '../../agent/base/nearest.ts';
import { printable } from '../../agent/base/printable.ts';

export interface LineSettings {
  /** Bits a second. */
  readonly baud: number;
  /** RTS/CTS. Never XON/XOFF: it eats bytes. */
  readonly hardwareFlow: boolean;
}

export type Source =
  | ({
      readonly kind: 'serial';
      /** Absolute. */
      readonly path: string;
    } & LineSettings)
  | ({
      readonly kind: 'usb';
      /** Four hexadecimal digits each. */
      readonly vendor: string;
      readonly product: string;
      /** Undefined: whichever is plugged in. */
      readonly serialNumber: string | undefined;
    } & LineSettings)
  | { readonly kind: 'tcp'; readonly endpoint: Endpoint }
  | {
      readonly kind: 'dir';
      /** Absolute. */
      readonly path: string;
      /** Absolute: where something has to be mounted, since an empty mount point is no empty device. Undefined: nowhere. */
      readonly mountPoint: string | undefined;
    };

const DEFAULT_BAUD = 115_200;
const SLOWEST_BAUD = 300;
const FASTEST_BAUD = 12_000_000;
const SERIAL_OPTIONS = ['baud', 'flow'] as const;
const DIR_OPTIONS = ['mount'] as const;
const SCHEMES = ['serial', 'usb', 'tcp', 'dir'] as const;
/** Where media are put in, as the Filesystem Hierarchy Standard (3.0, sections 3.11 and 3.12) and desktops have it. */
const MEDIA = /^\/(?:media|mnt|run\/media)(?:\/|$)/;

/** @throws SkylarkError (user) `bridge.source` that says what is wrong with it and how it is written. */
export function parseSource(text: string): Source {
  const scheme = /^([a-z]+):/.exec(text)?.[1];
  if (scheme === 'serial') return parseSerial(text.slice('serial:'.length), text);
  if (scheme === 'usb') return parseUsb(text.slice('usb:'.length), text);
  if (scheme === 'dir') return parseDir(text.slice('dir:'.length), text);
  if (scheme === 'tcp') return parseTcp(text.slice('tcp:'.length), text);
  const nearest = scheme && nearestName(scheme, SCHEMES);
  throw malformed(
    text,
    scheme ? `knows no kind of source called ${scheme}` : 'does not say what kind of source it is',
    nearest
      ? `did you mean ${nearest}:`
      : 'write serial:/dev/serial/by-id/NAME?baud=115200, usb:VENDOR:PRODUCT, tcp://HOST:PORT or dir:/media/NAME',
  );
}

/** The same source, always in the same words. */
export function formatSource(source: Source): string {
  switch (source.kind) {
    case 'tcp':
      return `tcp://${formatEndpoint(source.endpoint)}`;
    case 'dir':
      return `dir:${source.path}?mount=${source.mountPoint ?? 'any'}`;
    case 'serial':
      return `serial:${source.path}${formatLine(source)}`;
    case 'usb': {
      const { vendor, product, serialNumber } = source;
      const serial = serialNumber === undefined ? '' : `:${serialNumber}`;
      return `usb:${vendor}:${product}${serial}${formatLine(source)}`;
    }
  }
}

function formatLine({ baud, hardwareFlow }: LineSettings): string {
  return `?baud=${baud}${hardwareFlow ? '&flow=hardware' : ''}`;
}

/** A name that may belong to another device after the next start. */
export function isUnstableName(source: Source): boolean {
  return source.kind === 'serial' && /^\/dev\/tty(?:USB|ACM)\d+$/.test(source.path);
}

function parseSerial(rest: string, text: string): Source {
  const [path = '', query, ...more] = rest.split('?');
  if (!isAbsolute(path) || more.length > 0) {
    throw malformed(text, 'has no absolute path', 'write it like serial:/dev/serial/by-id/NAME?baud=115200');
  }
  return { kind: 'serial', path, ...parseLine(query, text) };
}

function parseUsb(rest: string, text: string): Source {
  const [name = '', query, ...more] = rest.split('?');
  const found = /^([0-9a-f]{4}):([0-9a-f]{4})(?::([\x21-\x7e]{1,126}))?$/i.exec(name);
  if (found === null || more.length > 0) {
    throw malformed(
      text,
      'has no vendor and product',
      'write it like usb:2e8a:000a or usb:2e8a:000a:SERIAL, as lsusb shows it',
    );
  }
  const [, vendor = '', product = '', serialNumber] = found;
  const ids = { vendor: vendor.toLowerCase(), product: product.toLowerCase(), serialNumber };
  return { kind: 'usb', ...ids, ...parseLine(query, text) };
}

function parseDir(rest: string, text: string): Source {
  const [written = '', query, ...more] = rest.split('?');
  const path = plainPath(written);
  if (path === undefined || more.length > 0)
    throw malformed(text, 'has no absolute path', 'write it like dir:/media/NAME');
  let mountPoint = MEDIA.test(path) ? path : undefined;
  for (const [name, value] of optionsOf(query)) {
    if (name !== 'mount') throw unknownOption(text, name, DIR_OPTIONS);
    mountPoint = value === 'any' ? undefined : value === 'required' ? path : plainPath(value);
    const isAround = mountPoint === undefined || path === mountPoint || path.startsWith(`${mountPoint}/`);
    if ((mountPoint === undefined && value !== 'any') || !isAround)
      throw malformed(
        text,
        'has an unknown kind of mount',
        'choose mount=required, mount=any or mount=/media/NAME',
      );
  }
  return { kind: 'dir', path, mountPoint };
}

/** Without doubled slashes, or one at the end; undefined if it is not absolute or leads back. */
function plainPath(path: string): string | undefined {
  const components = path.split('/').slice(1);
  if (!isAbsolute(path) || components.includes('..') || components.includes('.')) return undefined;
  return `/${components.filter((one) => one !== '').join('/')}`;
}

function isAbsolute(path: string): boolean {
  return path.startsWith('/') && !path.includes('\0') && path.length <= 4_096;
}

function optionsOf(query: string | undefined): (readonly [string, string])[] {
  if (query === undefined) return [];
  return query.split('&').map((option) => {
    const [name = '', value = ''] = option.split('=', 2);
    return [name, value];
  });
}

function parseLine(query: string | undefined, text: string): LineSettings {
  let baud = DEFAULT_BAUD;
  let hardwareFlow = false;
  for (const [name, value] of optionsOf(query)) {
    if (name === 'baud') {
      baud = /^\d{1,9}$/.test(value) ? Number(value) : 0;
      if (baud < SLOWEST_BAUD || baud > FASTEST_BAUD) {
        throw malformed(
          text,
          `has no usable baud rate (${printable(value, 20)})`,
          'choose 300 to 12000000, usually 115200',
        );
      }
    } else if (name === 'flow') {
      if (value !== 'hardware' && value !== 'none') {
        throw malformed(text, 'has an unknown flow control', 'choose flow=hardware or flow=none');
      }
      hardwareFlow = value === 'hardware';
    } else throw unknownOption(text, name, SERIAL_OPTIONS);
  }
  return { baud, hardwareFlow };
}

function unknownOption(text: string, name: string, known: readonly string[]): SkylarkError {
  const nearest = nearestName(name, known);
  const all = known.length === 1 ? `the option is ${known[0]}` : `the options are ${known.join(' and ')}`;
  const remedy = nearest ? `did you mean ${nearest}` : all;
  return malformed(text, `has an unknown option ${printable(name, 40)}`, remedy);
}

function parseTcp(rest: string, text: string): Source {
  try {
    if (!rest.startsWith('//')) throw new Error('no slashes');
    return { kind: 'tcp', endpoint: parseEndpoint(rest.slice(2)) };
  } catch {
    throw malformed(text, 'has no host and port', 'write it like tcp://192.168.1.7:4001');
  }
}

function malformed(text: string, what: string, remedy: string): SkylarkError {
  return userError('bridge.source', `the device source ${printable(text, 120)} ${what}`, {
    remedy,
    exitCode: EXIT.configuration,
  });
}
