/** UDP datagrams over IPv4 and IPv6. */

import { createSocket, type Socket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import { type Endpoint, formatEndpoint, plainHost } from '../base/endpoint.ts';
import { EXIT, environmentError, errorCode, type SkylarkError } from '../base/errors.ts';

export interface UdpOptions {
  /** Address to receive on; `0.0.0.0` is every IPv4 address and receives broadcasts. */
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  /**
   * Whether other programs may receive on the same port. A broadcast reaches all of them, a datagram to one address
   * only one.
   */
  readonly shared?: boolean;
  /** Whether broadcasts may be sent. */
  readonly broadcast?: boolean;
  /** The bytes are the receiver's. One's own broadcasts come back here. Must not throw. */
  readonly onDatagram: (bytes: Uint8Array, from: Endpoint) => void;
  /** Told when the system reports something wrong with the socket as a whole. */
  readonly onError?: (error: SkylarkError) => void;
}

export interface UdpSocket {
  readonly port: number;
  /**
   * Resolves when the system has taken the datagram; whether it arrives, nobody says.
   * @throws SkylarkError (environment) `net.send_failed`: no route, no such interface any more, buffer full.
   */
  send(bytes: Uint8Array, to: Endpoint): Promise<void>;
  close(): Promise<void>;
}

/** @throws SkylarkError (environment) `net.port_taken`, `net.not_permitted`, `net.listen_failed`. */
export function openUdp(options: UdpOptions): Promise<UdpSocket> {
  const { host, port, shared = false, broadcast = false, onDatagram, onError } = options;
  const socket = createSocket({ type: isIPv6(host) ? 'udp6' : 'udp4', reuseAddr: shared });
  return new Promise((resolve, reject) => {
    socket.once('error', (error) => {
      socket.close();
      reject(bindError(error, { host, port }));
    });
    socket.bind({ address: host, port, exclusive: !shared }, () => {
      socket.removeAllListeners('error');
      socket.on('error', (error) => {
        onError?.(
          environmentError('net.udp_failed', `a UDP socket failed: ${error.message}`, { cause: error }),
        );
      });
      if (broadcast) socket.setBroadcast(true);
      socket.on('message', (bytes, from) => {
        onDatagram(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length), {
          host: plainHost(from.address),
          port: from.port,
        });
      });
      resolve(new OpenUdpSocket(socket));
    });
  });
}

class OpenUdpSocket implements UdpSocket {
  readonly port: number;
  readonly #socket: Socket;
  #closing: Promise<void> | undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
    this.port = socket.address().port;
  }

  send(bytes: Uint8Array, to: Endpoint): Promise<void> {
    const failed = (why: string, cause?: unknown) =>
      environmentError('net.send_failed', `a datagram to ${formatEndpoint(to)} was not sent: ${why}`, {
        cause,
      });
    if (this.#closing !== undefined) return Promise.reject(failed('the socket is closed'));
    return new Promise((resolve, reject) => {
      this.#socket.send(bytes, to.port, to.host, (error) => {
        if (error) reject(failed(error.message, error));
        else resolve();
      });
    });
  }

  close(): Promise<void> {
    this.#closing ??= new Promise((resolve) => {
      this.#socket.close(() => resolve());
    });
    return this.#closing;
  }
}

function bindError(cause: Error, where: Endpoint): SkylarkError {
  switch (errorCode(cause)) {
    case 'EADDRINUSE':
      return environmentError('net.port_taken', `UDP port ${where.port} is taken by another program`, {
        remedy: 'stop that program',
        exitCode: EXIT.tryAgain,
        cause,
      });
    case 'EACCES':
    case 'EPERM':
      return environmentError('net.not_permitted', `receiving on UDP port ${where.port} is not permitted`, {
        remedy: 'choose a port of 1024 or above',
        exitCode: EXIT.notPermitted,
        cause,
      });
    default:
      return environmentError(
        'net.listen_failed',
        `receiving on ${formatEndpoint(where)} failed: ${cause.message}`,
        { cause },
      );
  }
}
