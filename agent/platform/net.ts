/** TCP. Connections are ByteStreams; what the machine refuses is told as an environment error with what to do. */

import { createServer, connect as nodeConnect, type Socket } from 'node:net';
import { formatEndpoint, plainHost } from '../base/endpoint.ts';
import { asError, EXIT, environmentError, errorCode, type SkylarkError, userError } from '../base/errors.ts';
import type { ByteStream } from '../base/stream.ts';
import { openSocketStream } from './socket-stream.ts';

/** Time for name resolution and connecting together, milliseconds. */
const CONNECT_TIMEOUT_MS = 10_000;
/** For each but the last address of a name. Node's default of 250 ms would give up on every far network. */
const ATTEMPT_TIMEOUT_MS = 1_500;
/** The kernel probes an idle connection after this long; the protocol's own pings come far more often. */
const KEEP_ALIVE_MS = 60_000;
const BACKLOG = 256;

export interface ConnectOptions {
  readonly signal?: AbortSignal | undefined;
  /** For name resolution and connecting together. Default 10,000. */
  readonly timeoutMs?: number | undefined;
}

export interface ListenOptions {
  /** An address of this machine; `::` means every address of both families, `0.0.0.0` every IPv4 address. */
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  /** Connections beyond are closed as they come. Default: no limit of our own. */
  readonly maxConnections?: number | undefined;
  /** Told when the machine can't accept a connection (out of file descriptors); listening goes on. */
  readonly onError?: ((error: SkylarkError) => void) | undefined;
}

export interface Listener {
  /** The address listened on; with `::` on a machine without IPv6, `0.0.0.0`. */
  readonly host: string;
  readonly port: number;
  /** Stops accepting and frees the port. Accepted connections live on: they are their owners'. Idempotent. */
  close(): Promise<void>;
}

/**
 * Connects to a host name or address, trying its addresses of both families (RFC 8305).
 * @throws SkylarkError (environment) `net.name_unknown`, `net.refused`, `net.unreachable`, `net.timeout`,
 *   `net.connect_failed`; or the signal's reason.
 */
export function connectTcp(host: string, port: number, options: ConnectOptions = {}): Promise<ByteStream> {
  const { signal, timeoutMs = CONNECT_TIMEOUT_MS } = options;
  const label = formatEndpoint({ host: plainHost(host), port });
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const socket = nodeConnect({
      host: plainHost(host),
      port,
      allowHalfOpen: true,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: KEEP_ALIVE_MS,
      autoSelectFamilyAttemptTimeout: ATTEMPT_TIMEOUT_MS,
    });
    const settle = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
      socket.off('error', onError);
    };
    const giveUp = (reason: unknown) => {
      settle();
      // A late failure of a connection that nobody waits for any more.
      socket.on('error', () => {});
      socket.destroy();
      reject(reason);
    };
    const onAbort = () => giveUp(signal?.reason);
    const onError = (error: Error) => giveUp(connectError(error, label));
    const timer = setTimeout(
      () => giveUp(environmentError('net.timeout', `${label} did not answer within ${timeoutMs / 1000} s`)),
      timeoutMs,
    );
    signal?.addEventListener('abort', onAbort, { once: true });
    socket.once('error', onError);
    socket.once('connect', () => {
      settle();
      resolve(openSocketStream(socket, { label: remoteLabel(socket) ?? label, canReset: true }));
    });
  });
}

/**
 * Accepts connections until closed. Each is handed over to `onConnection`, which must not throw.
 * @throws SkylarkError `net.port_taken`, `net.not_permitted`, `net.address_not_here`, `net.listen_failed`.
 */
export async function listenTcp(
  options: ListenOptions,
  onConnection: (stream: ByteStream) => void,
): Promise<Listener> {
  const host = plainHost(options.host);
  try {
    return await listen(host, options, onConnection);
  } catch (thrown) {
    const noIpv6 = ['EAFNOSUPPORT', 'EADDRNOTAVAIL'].includes(errorCode(asError(thrown).cause) ?? '');
    if (host === '::' && noIpv6) return listen('0.0.0.0', options, onConnection);
    throw thrown;
  }
}

function listen(
  host: string,
  options: ListenOptions,
  onConnection: (stream: ByteStream) => void,
): Promise<Listener> {
  const server = createServer({
    allowHalfOpen: true,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: KEEP_ALIVE_MS,
  });
  if (options.maxConnections !== undefined) server.maxConnections = options.maxConnections;
  server.on('connection', (socket: Socket) => {
    const label = remoteLabel(socket);
    // Gone already: a scanner that connects and resets.
    if (label === undefined) return void socket.destroy();
    onConnection(openSocketStream(socket, { label, canReset: true }));
  });
  return new Promise((resolve, reject) => {
    server.once('error', (error) => reject(listenError(error, host, options.port)));
    server.listen({ host, port: options.port, backlog: BACKLOG }, () => {
      server.removeAllListeners('error');
      server.on('error', (error) =>
        options.onError?.(
          environmentError('net.accept_failed', `a connection could not be accepted: ${error.message}`, {
            cause: error,
          }),
        ),
      );
      const address = server.address();
      if (address === null || typeof address === 'string')
        return reject(environmentError('net.listen_failed', 'the listening socket has no address'));
      resolve({
        host: address.address,
        port: address.port,
        close: () =>
          new Promise((done) => {
            // The callback would wait for all accepted connections; the port is free as soon as the handle is closed.
            server.close();
            setImmediate(done);
          }),
      });
    });
  });
}

function remoteLabel(socket: Socket): string | undefined {
  const { remoteAddress, remotePort } = socket;
  if (remoteAddress === undefined || remotePort === undefined) return undefined;
  return formatEndpoint({ host: plainHost(remoteAddress), port: remotePort });
}

/** What went wrong with connecting, by the system's error code. */
function connectError(cause: Error, label: string): SkylarkError {
  const code = errorCode(cause);
  switch (code) {
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
    case 'EAI_FAIL':
    case 'EAI_NODATA':
      return environmentError('net.name_unknown', `the name in ${label} could not be resolved`, { cause });
    case 'ECONNREFUSED':
      return environmentError('net.refused', `nothing accepts connections at ${label}`, { cause });
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
    case 'EHOSTDOWN':
    case 'ENETDOWN':
      return environmentError('net.unreachable', `there is no way to ${label}`, { cause });
    case 'ETIMEDOUT':
      return environmentError('net.timeout', `${label} did not answer`, { cause });
    default:
      return environmentError(
        'net.connect_failed',
        `${label} can't be connected to: ${code ?? cause.message}`,
        {
          cause,
        },
      );
  }
}

function listenError(cause: Error, host: string, port: number): SkylarkError {
  const where = formatEndpoint({ host, port });
  switch (errorCode(cause)) {
    case 'EADDRINUSE':
      return environmentError('net.port_taken', `port ${port} on ${host} is taken by another program`, {
        remedy: 'stop that program, or configure another port (0 takes any free one)',
        exitCode: EXIT.tryAgain,
        cause,
      });
    case 'EACCES':
    case 'EPERM':
      return environmentError('net.not_permitted', `listening on ${where} is not permitted`, {
        remedy: 'choose a port of 1024 or above',
        exitCode: EXIT.notPermitted,
        cause,
      });
    case 'EADDRNOTAVAIL':
    case 'EAFNOSUPPORT':
      return environmentError('net.address_not_here', `this machine has no address ${host}`, {
        remedy: 'listen on an address of this machine, or on [::] for all',
        cause,
      });
    case 'ENOTFOUND':
      return userError('net.listen_name', `${host} is not an address of this machine`, {
        exitCode: EXIT.configuration,
        cause,
      });
    default:
      return environmentError('net.listen_failed', `listening on ${where} failed: ${cause.message}`, {
        cause,
      });
  }
}
