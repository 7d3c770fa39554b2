/** Local networks in memory: hosts with addresses, and datagrams that reach whom a real broadcast would reach. */

import type { Clock } from '../../agent/base/clock.ts';
import type { Endpoint } from '../../agent/base/endpoint.ts';
import { environmentError } from '../../agent/base/errors.ts';
import { directedBroadcast, type InterfaceAddress, isOnLink } from '../../agent/platform/interfaces.ts';
import type { UdpOptions, UdpSocket } from '../../agent/platform/udp.ts';

export class VirtualHost {
  readonly #network: VirtualNetwork;
  readonly #sockets = new Set<UdpOptions>();
  addresses: readonly InterfaceAddress[] = [];
  /** Datagrams that it sent. */
  sent: { readonly bytes: Uint8Array; readonly to: Endpoint }[] = [];
  /** The port is held by a program that does not share. */
  isPortTaken = false;

  constructor(network: VirtualNetwork, ...cidrs: readonly string[]) {
    this.#network = network;
    this.connectTo(...cidrs);
  }

  /** From now on it has exactly these addresses: `10.0.0.1/24`. */
  connectTo(...cidrs: readonly string[]): void {
    this.addresses = cidrs.map((cidr, index) => {
      const [address = '', prefix = ''] = cidr.split('/');
      return {
        name: `eth${index}`,
        family: 4,
        address,
        prefixLength: Number(prefix),
        broadcast: directedBroadcast(address, Number(prefix)),
        scopeId: 0,
        internal: false,
      };
    });
  }

  readonly openSocket = async (options: UdpOptions): Promise<UdpSocket> => {
    if (this.isPortTaken) throw environmentError('net.port_taken', 'taken');
    this.#sockets.add(options);
    return {
      port: options.port,
      send: async (bytes, to) => {
        const from = this.addresses.find(({ broadcast }) => broadcast === to.host);
        if (from === undefined) throw environmentError('net.send_failed', 'no such network');
        this.sent.push({ bytes, to });
        this.#network.broadcast(bytes, from.address, to);
      },
      close: async () => void this.#sockets.delete(options),
    };
  };

  receive(bytes: Uint8Array, from: string, to: Endpoint): void {
    if (!this.addresses.some(({ broadcast }) => broadcast === to.host)) return;
    for (const socket of this.#sockets) {
      if (socket.port === to.port) socket.onDatagram(bytes.slice(), { host: from, port: to.port });
    }
  }

  /** As if somebody had sent it to this host, whoever `from` says. */
  inject(bytes: Uint8Array, from: string): void {
    for (const socket of this.#sockets) socket.onDatagram(bytes, { host: from, port: 4_000 });
  }
}

export class VirtualNetwork {
  readonly #clock: Clock;
  readonly #hosts: VirtualHost[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  host(...cidrs: readonly string[]): VirtualHost {
    const host = new VirtualHost(this, ...cidrs);
    this.#hosts.push(host);
    return host;
  }

  broadcast(bytes: Uint8Array, from: string, to: Endpoint): void {
    this.#clock.after(1, () => {
      for (const host of this.#hosts) if (isOnLink(from, host.addresses)) host.receive(bytes, from, to);
    });
  }
}
