/**
 * Channels without any cryptography, and a network in memory below them: the operating system's edge for tests of what
 * happens inside channels. Who names the ID and the secret is let in, as with the real ones.
 */

import { fromUtf8, utf8 } from '../../agent/base/bytes.ts';
import { asError, environmentError, peerError } from '../../agent/base/errors.ts';
import type { ByteStream } from '../../agent/base/stream.ts';
import type { Pool, PoolOptions } from '../../agent/club/pool.ts';
import type { SecureChannel } from '../../agent/secure-channel/channel.ts';
import { memoryStreamPair } from '../support/memory-stream.ts';

const ID_LENGTH = 64;

function channelOf(stream: ByteStream, id: string, role: 'client' | 'server'): SecureChannel {
  return {
    version: 1,
    id,
    role,
    cipher: 'none',
    label: stream.label,
    read: () => stream.read(),
    write: (bytes) => stream.write(bytes),
    close: () => stream.close(),
    abort: (reason) => stream.abort(reason),
  };
}

async function bounded<T>(stream: ByteStream, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  const onAbort = () => stream.abort(asError(signal.reason));
  if (signal.aborted) onAbort();
  signal.addEventListener('abort', onAbort);
  try {
    return await work();
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

async function readLine(stream: ByteStream): Promise<string> {
  const bytes = await stream.read();
  if (bytes === null) throw peerError('channel.closed_early', 'closed');
  return fromUtf8(bytes);
}

function refused() {
  return peerError('channel.authentication_failed', 'the secret is wrong');
}

/** The opening is one write on each side, since the streams in memory keep writes whole. */
export const plainChannels: PoolOptions['channels'] = {
  accept: (stream, { authenticate, signal, onFailure }) =>
    bounded(stream, signal, async () => {
      const line = await readLine(stream);
      const id = line.slice(0, ID_LENGTH);
      const secret = await authenticate(id, stream.label);
      if (secret?.reveal() !== line.slice(ID_LENGTH)) {
        onFailure?.(id, refused());
        await stream.write(utf8('no'));
        await stream.close();
        throw refused();
      }
      await stream.write(utf8('ok'));
      return channelOf(stream, id, 'server');
    }),
  connect: (stream, { id, secret, signal }) =>
    bounded(stream, signal, async () => {
      await stream.write(utf8(id + secret.reveal()));
      if ((await readLine(stream)) !== 'ok') throw refused();
      return channelOf(stream, id, 'client');
    }),
};

/** Hosts with one listening pool each. */
export class MemoryNetwork {
  readonly #listeners = new Map<string, Pool>();
  /** Stands between, if set: may swap, delay or damage. */
  through: (stream: ByteStream, from: string, to: string) => ByteStream = (stream) => stream;
  #port = 1_024;

  listen(address: string, pool: Pool): void {
    this.#listeners.set(address, pool);
  }

  /** Somebody at `host` connects to the address. */
  connect(host: string, address: string): ByteStream {
    const pool = this.#listeners.get(address);
    if (pool === undefined)
      throw environmentError('net.refused', `nothing accepts connections at ${address}`);
    this.#port += 1;
    const [near, far] = memoryStreamPair();
    const from = `${host}:${this.#port}`;
    pool.accept(labelled(this.through(far, from, address), from));
    return labelled(near, address);
  }
}

function labelled(stream: ByteStream, label: string): ByteStream {
  return {
    label,
    read: () => stream.read(),
    write: (bytes) => stream.write(bytes),
    close: () => stream.close(),
    abort: (reason) => stream.abort(reason),
  };
}
