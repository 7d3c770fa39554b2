/** Where a device is, as written in the configuration: `serial:/dev/serial/by-id/...?baud=1000000`, `tcp://HOST:PORT`. */

import { type Endpoint, formatEndpoint, parseEndpoint } from '../../agent/base/endpoint.ts';
import { EXIT, type SkylarkError, userError } from '../../agent/base/errors.ts';
import { nearestName } from '../../agent/base/nearest.ts';
import { printable } from '../../agent/base/printable.ts';

export type Source =
  | {
      readonly kind: 'serial';
      /** Absolute. */
      readonly path: string;
      /** Bits a second. */
      readonly baud: number;
      /** RTS/CTS. Never XON/XOFF: it eats bytes. */
      readonly hardwareFlow: boolean;
    }
  | { readonly kind: 'tcp'; readonly endpoint: Endpoint };

const DEFAULT_BAUD = 115_200;
const SLOWEST_BAUD = 300;
const FASTEST_BAUD = 12_000_000;
const SERIAL_OPTIONS = ['baud', 'flow'] as const;
const SCHEMES = ['serial', 'tcp'] as const;

/** @throws SkylarkError (user) `bridge.source` that says what is wrong with it and how it is written. */
export function parseSource(text: string): Source {
  const scheme = /^([a-z]+):/.exec(text)?.[1];
  if (scheme === 'serial') return parseSerial(text.slice('serial:'.length), text);
  if (scheme === 'tcp') return parseTcp(text.slice('tcp:'.length), text);
  const nearest = scheme && nearestName(scheme, SCHEMES);
  throw malformed(
    text,
    scheme ? `knows no kind of source called ${scheme}` : 'does not say what kind of source it is',
    nearest
      ? `did you mean ${nearest}:`
      : 'write serial:/dev/serial/by-id/NAME?baud=115200 or tcp://HOST:PORT',
  );
}

/** The same source, always in the same words. */
export function formatSource(source: Source): string {
  if (source.kind === 'tcp') return `tcp://${formatEndpoint(source.endpoint)}`;
  return `serial:${source.path}?baud=${source.baud}${source.hardwareFlow ? '&flow=hardware' : ''}`;
}

/** A name that may belong to another device after the next start. */
export function isUnstableName(source: Source): boolean {
  return source.kind === 'serial' && /^\/dev\/tty(?:USB|ACM)\d+$/.test(source.path);
}

function parseSerial(rest: string, text: string): Source {
  const [path = '', query, ...more] = rest.split('?');
  if (!path.startsWith('/') || path.includes('\0') || path.length > 4_096 || more.length > 0) {
    throw malformed(text, 'has no absolute path', 'write it like serial:/dev/serial/by-id/NAME?baud=115200');
  }
  let baud = DEFAULT_BAUD;
  let hardwareFlow = false;
  for (const option of query === undefined ? [] : query.split('&')) {
    const [name = '', value = ''] = option.split('=', 2);
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
    } else {
      const nearest = nearestName(name, SERIAL_OPTIONS);
      const remedy = nearest ? `did you mean ${nearest}` : `the options are ${SERIAL_OPTIONS.join(' and ')}`;
      throw malformed(text, `has an unknown option ${printable(name, 40)}`, remedy);
    }
  }
  return { kind: 'serial', path, baud, hardwareFlow };
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
