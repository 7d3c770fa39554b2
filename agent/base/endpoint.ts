/** Where a peer can be reached: a host (name or address) and a port, and its text form `HOST:PORT` (`[v6]:PORT`). */

import { userError } from './errors.ts';

export interface Endpoint {
  /** A host name, an IPv4 address, or an IPv6 address without brackets (a zone may follow: `fe80::1%eth0`). */
  readonly host: string;
  /** 1 to 65535; 0 only where it means "any free port". */
  readonly port: number;
}

/** Longest host name that DNS can express (RFC 1035, section 2.3.4). */
const MAX_HOST_LENGTH = 253;
const IPV6 = /^[0-9a-fA-F:.]+(?:%[0-9A-Za-z._-]{1,32})?$/;
const NAME = /^[0-9A-Za-z_](?:[0-9A-Za-z._-]*[0-9A-Za-z_.])?$/;

/** `192.168.1.7:49221`, `piano.local:49221`, `[fe80::1%eth0]:49221`. */
export function formatEndpoint(endpoint: Endpoint): string {
  return endpoint.host.includes(':')
    ? `[${endpoint.host}]:${endpoint.port}`
    : `${endpoint.host}:${endpoint.port}`;
}

/**
 * Reads `HOST:PORT`. Ports are 1 to 65535; with `allowAnyPort`, also 0.
 * @throws SkylarkError (user) `endpoint.malformed`.
 */
export function parseEndpoint(text: string, options: { readonly allowAnyPort?: boolean } = {}): Endpoint {
  const match = /^(?:\[([^[\]]*)\]|([^:[\]]*)):([0-9]{1,5})$/.exec(text);
  const v6 = match?.[1];
  const host = v6 ?? match?.[2] ?? '';
  const port = Number(match?.[3]);
  const hostFits = v6 === undefined ? NAME.test(host) : host.includes(':') && IPV6.test(host);
  const portFits = port <= 65_535 && port >= (options.allowAnyPort === true ? 0 : 1);
  if (match === null || host.length > MAX_HOST_LENGTH || !hostFits || !portFits) {
    throw userError('endpoint.malformed', 'an address is not HOST:PORT', {
      remedy: 'write it like 192.168.1.7:49221, name.local:49221 or [fd00::7]:49221',
    });
  }
  return { host, port };
}

/**
 * An address as one text per machine: no IPv4-in-IPv6 form (`::ffff:1.2.3.4` is `1.2.3.4`), lower case, no brackets.
 */
export function plainHost(host: string): string {
  const bare = host.startsWith('[') && host.endsWith(']') ? host.slice(1, -1) : host;
  const lower = bare.toLowerCase();
  return /^::ffff:\d+\.\d+\.\d+\.\d+$/.test(lower) ? lower.slice(7) : lower;
}
