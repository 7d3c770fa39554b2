/** The machine's network addresses, and noticing that they changed. */

import { isIPv4 } from 'node:net';
import { networkInterfaces } from 'node:os';
import { type Clock, systemClock, type Timer } from '../base/clock.ts';

export interface InterfaceAddress {
  /** Name of the interface: `eth0`. */
  readonly name: string;
  readonly family: 4 | 6;
  /** IPv6 without a zone. */
  readonly address: string;
  readonly prefixLength: number;
  /** Directed broadcast address; IPv4 only, and only where the network has one (not for /31 and /32). */
  readonly broadcast: string | undefined;
  /** Interface index that an IPv6 link-local address needs as its zone; 0 for all others. */
  readonly scopeId: number;
  /** Loopback. */
  readonly internal: boolean;
}

/** Addresses of the interfaces that are up, in a fixed order. */
export function listInterfaces(): readonly InterfaceAddress[] {
  const addresses: InterfaceAddress[] = [];
  for (const [name, entries] of Object.entries(networkInterfaces())) {
    for (const { family, address, cidr, internal, ...rest } of entries ?? []) {
      const prefixLength = Number(cidr?.split('/')[1]);
      if (!Number.isInteger(prefixLength)) continue;
      addresses.push({
        name,
        family: family === 'IPv4' ? 4 : 6,
        address,
        prefixLength,
        broadcast: family === 'IPv4' ? directedBroadcast(address, prefixLength) : undefined,
        scopeId: 'scopeid' in rest ? (rest.scopeid ?? 0) : 0,
        internal,
      });
    }
  }
  const order = (one: InterfaceAddress) => `${one.name} ${one.family} ${one.address} ${one.prefixLength}`;
  return addresses.sort((a, b) => (order(a) < order(b) ? -1 : 1));
}

/** The address that reaches every machine of the IPv4 network (RFC 919, section 7); undefined for /31 and /32. */
export function directedBroadcast(address: string, prefixLength: number): string | undefined {
  const number = ipv4Number(address);
  if (number === undefined || prefixLength < 1 || prefixLength > 30) return undefined;
  const all = (number | (0xffff_ffff >>> prefixLength)) >>> 0;
  return [24, 16, 8, 0].map((shift) => (all >>> shift) & 0xff).join('.');
}

/** Whether `host` lies in the IPv4 network of one of the addresses, that is, can be reached without a router. */
export function isOnLink(host: string, addresses: readonly InterfaceAddress[]): boolean {
  const number = ipv4Number(host);
  if (number === undefined) return false;
  return addresses.some(({ family, address, prefixLength }) => {
    const own = family === 4 && prefixLength > 0 ? ipv4Number(address) : undefined;
    return own !== undefined && (own ^ number) >>> (32 - prefixLength) === 0;
  });
}

function ipv4Number(address: string): number | undefined {
  if (!isIPv4(address)) return undefined;
  return address.split('.').reduce((number, part) => ((number << 8) | Number(part)) >>> 0, 0);
}

export interface InterfaceWatchOptions {
  /**
   * Called when an address came or went, and when the machine slept meanwhile: what was known about the network may be
   * wrong then, even if the addresses are the same.
   */
  readonly onChange: (addresses: readonly InterfaceAddress[]) => void;
  /**
   * Whether a change should be found soon, which costs a look every two seconds; otherwise every ten. Each wakes the
   * processor up, which costs more than the look itself. Default: always.
   */
  readonly isUrgent?: () => boolean;
  readonly clock?: Clock;
  /** Reads the addresses; given by tests only. */
  readonly list?: () => readonly InterfaceAddress[];
}

export interface InterfaceWatch {
  /** As of the last look. */
  readonly addresses: readonly InterfaceAddress[];
  /** Something points to a change: looks now. */
  hurry(): void;
  close(): void;
}

const URGENT_MS = 2_000;
const CALM_MS = 10_000;
/** The clock of the day ran ahead of the monotonic one by more than this: the machine slept (or its clock was set). */
const SLEPT_NS = 15_000_000_000n;

export function watchInterfaces(options: InterfaceWatchOptions): InterfaceWatch {
  const { onChange, isUrgent = () => true, clock = systemClock, list = listInterfaces } = options;
  let addresses = list();
  let seen = JSON.stringify(addresses);
  const lead = () => clock.now() - BigInt(Math.round(clock.monotonic() * 1e6));
  let lastLead = lead();
  let timer: Timer;
  const lookAfter = (ms: number) => {
    timer = clock.after(ms, look);
  };
  const look = () => {
    lookAfter(isUrgent() ? URGENT_MS : CALM_MS);
    const found = list();
    const text = JSON.stringify(found);
    const slept = lead() - lastLead > SLEPT_NS;
    lastLead = lead();
    if (text === seen && !slept) return;
    addresses = found;
    seen = text;
    onChange(addresses);
  };
  lookAfter(URGENT_MS);
  return {
    get addresses() {
      return addresses;
    },
    hurry() {
      timer.cancel();
      lookAfter(0);
    },
    close: () => timer.cancel(),
  };
}
