/** Unix sockets: connections between programs of one machine, guarded by the file system's permissions. */

import { type BigIntStats, constants } from 'node:fs';
import { chmod, lstat, open, rename, unlink } from 'node:fs/promises';
import { createServer, connect as nodeConnect, type Server, type Socket } from 'node:net';
import { basename, dirname } from 'node:path';
import { asError, EXIT, environmentError, errorCode, type SkylarkError } from '../base/errors.ts';
import type { ByteStream } from '../base/stream.ts';
import { openSocketStream } from './socket-stream.ts';

/** Longest path in a socket's address, with its end (unix(7): 108 bytes). */
const MAX_PATH = 107;
const CONNECT_TIMEOUT_MS = 5_000;

export interface UnixConnectOptions {
  readonly signal?: AbortSignal | undefined;
  /** Default 5,000. */
  readonly timeoutMs?: number | undefined;
}

/**
 * @throws SkylarkError (environment) `net.refused` when nobody listens there (or nothing is there), `net.not_permitted`,
 *   `net.timeout`, `net.connect_failed`; or the signal's reason.
 */
export async function connectUnix(path: string, options: UnixConnectOptions = {}): Promise<ByteStream> {
  try {
    return await withShortPath(path, (short) => connectShort(short, path, options));
  } catch (thrown) {
    // The folder of a long path may be missing, too.
    if (errorCode(thrown) === 'ENOENT' || errorCode(thrown) === 'ENOTDIR')
      throw connectError(asError(thrown), path);
    throw thrown;
  }
}

function connectShort(
  short: string,
  path: string,
  { signal, timeoutMs = CONNECT_TIMEOUT_MS }: UnixConnectOptions,
): Promise<ByteStream> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const socket = nodeConnect({ path: short, allowHalfOpen: true });
    const settle = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
      socket.off('error', onError);
    };
    const giveUp = (reason: unknown) => {
      settle();
      socket.on('error', () => {});
      socket.destroy();
      reject(reason);
    };
    const onAbort = () => giveUp(signal?.reason);
    const onError = (error: Error) => giveUp(connectError(error, path));
    const timer = setTimeout(
      () => giveUp(environmentError('net.timeout', `nobody answers at ${path}`)),
      timeoutMs,
    );
    signal?.addEventListener('abort', onAbort, { once: true });
    socket.once('error', onError);
    socket.once('connect', () => {
      settle();
      resolve(openSocketStream(socket, { label: path, canReset: false }));
    });
  });
}

export interface UnixListenOptions {
  /** A socket that nobody listens on any more is replaced, a live one and any other file never. */
  readonly path: string;
  /** Permissions of the socket. */
  readonly mode: number;
  /** Connections beyond are closed as they come. */
  readonly maxConnections: number;
}

export interface UnixListener {
  readonly path: string;
  /** Stops accepting and removes the socket. Accepted connections live on. Idempotent. */
  close(): Promise<void>;
}

/**
 * Accepts connections until closed. Each is handed over to `onConnection`, which must not throw.
 * @throws SkylarkError (environment) `net.socket_taken`, `net.not_a_socket`, `net.not_permitted`, `net.listen_failed`.
 */
export async function listenUnix(
  options: UnixListenOptions,
  onConnection: (stream: ByteStream) => void,
): Promise<UnixListener> {
  const { path, mode } = options;
  await checkFree(path);
  // Bound under another name and then renamed: the socket is never there with wrong permissions, and takes a dead one's
  // place in one step.
  const temporary = `${path}.${process.pid}`;
  try {
    await removeIfThere(temporary);
    const server = await withShortPath(temporary, (short) => listenShort(short, options, onConnection));
    try {
      await chmod(temporary, mode);
      await rename(temporary, path);
      return openListener(server, path, await lstat(path, { bigint: true }));
    } catch (thrown) {
      server.close();
      throw thrown;
    }
  } catch (thrown) {
    throw listenError(asError(thrown), path);
  }
}

async function checkFree(path: string): Promise<void> {
  let there: BigIntStats;
  try {
    there = await lstat(path, { bigint: true });
  } catch (thrown) {
    if (errorCode(thrown) === 'ENOENT') return;
    throw listenError(asError(thrown), path);
  }
  if (!there.isSocket()) {
    throw environmentError('net.not_a_socket', `${path} is there already and is no socket`, {
      remedy: 'move it away',
      exitCode: EXIT.cannotCreate,
    });
  }
  try {
    const stream = await connectUnix(path);
    stream.abort(environmentError('net.closed', 'nothing more was wanted'));
  } catch (thrown) {
    if (errorCode(thrown) === 'net.refused') return;
    throw thrown;
  }
  throw environmentError('net.socket_taken', `another program listens on ${path}`, {
    remedy: 'stop that program first',
    exitCode: EXIT.cannotCreate,
  });
}

function listenShort(
  short: string,
  { path, maxConnections }: UnixListenOptions,
  onConnection: (stream: ByteStream) => void,
): Promise<Server> {
  const server = createServer({ allowHalfOpen: true });
  server.maxConnections = maxConnections;
  server.on('connection', (socket: Socket) => {
    onConnection(openSocketStream(socket, { label: path, canReset: false }));
  });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(short, () => {
      server.off('error', reject);
      // Out of file descriptors: the next connection may be accepted again.
      server.on('error', () => {});
      resolve(server);
    });
  });
}

function openListener(server: Server, path: string, ours: BigIntStats): UnixListener {
  let closing: Promise<void> | undefined;
  const close = async () => {
    server.close();
    try {
      const there = await lstat(path, { bigint: true });
      // Somebody may have put another one in its place meanwhile.
      if (there.ino === ours.ino && there.dev === ours.dev) await unlink(path);
    } catch {
      // Gone already.
    }
  };
  return {
    path,
    close: () => {
      closing ??= close();
      return closing;
    },
  };
}

async function removeIfThere(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch (thrown) {
    if (errorCode(thrown) !== 'ENOENT') throw thrown;
  }
}

/** Runs `use` with a path to the same place that fits into a socket's address. */
async function withShortPath<T>(path: string, use: (short: string) => Promise<T>): Promise<T> {
  if (Buffer.byteLength(path) <= MAX_PATH) return use(path);
  const folder = await open(dirname(path), constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    return await use(`/proc/self/fd/${folder.fd}/${basename(path)}`);
  } finally {
    await folder.close();
  }
}

function connectError(cause: Error, path: string): SkylarkError {
  switch (errorCode(cause)) {
    case 'ENOENT':
    case 'ENOTDIR':
    case 'ECONNREFUSED':
      return environmentError('net.refused', `nobody listens on ${path}`, { cause });
    case 'EACCES':
    case 'EPERM':
      return environmentError('net.not_permitted', `connecting to ${path} is not permitted`, {
        remedy: 'run this as the user who owns it',
        exitCode: EXIT.notPermitted,
        cause,
      });
    default:
      return environmentError('net.connect_failed', `${path} can't be connected to: ${cause.message}`, {
        cause,
      });
  }
}

function listenError(cause: Error, path: string): SkylarkError {
  if (['EACCES', 'EPERM', 'EROFS'].includes(errorCode(cause) ?? '')) {
    return environmentError('net.not_permitted', `a socket at ${path} is not permitted`, {
      remedy: 'check the permissions of its folder',
      exitCode: EXIT.notPermitted,
      cause,
    });
  }
  return environmentError('net.listen_failed', `listening on ${path} failed: ${cause.message}`, {
    exitCode: EXIT.cannotCreate,
    cause,
  });
}
