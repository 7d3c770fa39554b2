/**
 * A ByteStream over one of Node's sockets (TCP or Unix). Only `net.ts` and `unix-socket.ts` open these.
 *
 * Node pushes; the stream is pulled: what arrives waits in a queue of at most `READ_AHEAD` bytes (and one read more),
 * then the socket is paused, the kernel's buffer fills, and the other side waits.
 */

import type { Socket } from 'node:net';
import { asError, environmentError, errorCode, internalError, type SkylarkError } from '../base/errors.ts';
import type { ByteStream } from '../base/stream.ts';

const READ_AHEAD = 131_072;
/** A writer gives the event loop a turn after this many bytes: nextTick and microtasks alone would starve it. */
const WRITTEN_PER_TURN = 4_194_304;
/** An orderly close gives up when nothing could be flushed for this long, milliseconds. */
const FLUSH_STALL_MS = 10_000;
/** After our orderly close, what the other side still sends waits this long for a reader, then is thrown away. */
const LINGER_MS = 10_000;

export interface SocketStreamOptions {
  readonly label: string;
  /** Whether `abort` can tell the other side that this was no orderly end: TCP can, a Unix socket can't. */
  readonly canReset: boolean;
}

/** Takes over a connected socket that was opened with `allowHalfOpen`. */
export function openSocketStream(socket: Socket, options: SocketStreamOptions): ByteStream {
  return new SocketStream(socket, options);
}

interface Waiting<T> {
  readonly resolve: (value: T) => void;
  readonly reject: (reason: Error) => void;
}

class SocketStream implements ByteStream {
  readonly label: string;
  readonly #socket: Socket;
  readonly #canReset: boolean;
  readonly #arrived: Uint8Array[] = [];
  #arrivedBytes = 0;
  #ended = false;
  /** We closed, and nobody came to read what still arrives. */
  #discarding = false;
  #failure: Error | undefined;
  #reader: Waiting<Uint8Array | null> | undefined;
  #writers: Waiting<void>[] = [];
  #writtenThisTurn = 0;
  #closing: Promise<void> | undefined;
  #linger: NodeJS.Timeout | undefined;

  constructor(socket: Socket, options: SocketStreamOptions) {
    this.label = options.label;
    this.#socket = socket;
    this.#canReset = options.canReset;
    socket.on('data', (chunk: Buffer) => this.#onData(chunk));
    socket.on('end', () => this.#onEnd());
    socket.on('error', (error) => this.#fail(connectionError(error, this.label)));
    socket.on('close', () => this.#onClose());
    // A socket may have ended between its opening and now.
    if (socket.destroyed) this.#onClose();
  }

  read(): Promise<Uint8Array | null> {
    if (this.#reader !== undefined)
      return Promise.reject(internalError('stream.concurrent_read', 'two reads at a time of one stream'));
    const bytes = this.#arrived.shift();
    if (bytes !== undefined) {
      this.#arrivedBytes -= bytes.length;
      if (this.#socket.isPaused() && this.#arrivedBytes <= READ_AHEAD / 2) this.#socket.resume();
      if (this.#linger !== undefined) this.#startLinger();
      return Promise.resolve(bytes);
    }
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (this.#ended || this.#discarding) return Promise.resolve(null);
    // A lingering socket does not keep the process alive; a reader that waits does.
    if (this.#closing !== undefined) this.#socket.ref();
    return new Promise((resolve, reject) => {
      this.#reader = { resolve, reject };
    });
  }

  async write(bytes: Uint8Array): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#closing !== undefined) throw closedHere(this.label);
    if (bytes.length === 0) return;
    this.#writtenThisTurn += bytes.length;
    this.#socket.write(bytes, this.#onWritten);
    // Until the kernel has them all, the bytes themselves are in use.
    if (this.#socket.writableLength > 0) {
      await new Promise<void>((resolve, reject) => {
        this.#writers.push({ resolve, reject });
      });
    }
    if (this.#writtenThisTurn < WRITTEN_PER_TURN) return;
    this.#writtenThisTurn = 0;
    await new Promise<void>((resolve) => {
      setImmediate(resolve);
    });
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  abort(reason: Error): void {
    if (this.#failure === undefined) {
      this.#arrived.length = 0;
      this.#arrivedBytes = 0;
      this.#fail(reason);
    }
    if (this.#socket.destroyed) return;
    // A reset, so that nobody takes a broken stream for one that ended. libuv can't reset in the middle of an end.
    const ending = this.#socket.writableEnded && !this.#socket.writableFinished;
    if (this.#canReset && !ending) this.#socket.resetAndDestroy();
    else this.#socket.destroy();
  }

  async #close(): Promise<void> {
    if (this.#failure !== undefined || this.#socket.destroyed) return;
    let unsent = this.#socket.writableLength;
    const watch = setInterval(() => {
      if (this.#socket.writableLength === unsent)
        this.abort(environmentError('net.stalled', `${this.label} took nothing for a while`));
      unsent = this.#socket.writableLength;
    }, FLUSH_STALL_MS);
    watch.unref();
    await new Promise<void>((resolve) => {
      this.#socket.end(() => resolve());
      this.#socket.once('close', () => resolve());
    });
    clearInterval(watch);
    if (this.#socket.destroyed) return;
    this.#resolveWriters();
    if (this.#ended) {
      this.#socket.destroy();
      return;
    }
    // Destroying now, with bytes unread, would reset the connection and could take our last bytes with it.
    if (this.#reader === undefined) this.#socket.unref();
    this.#startLinger();
  }

  #startLinger(): void {
    clearTimeout(this.#linger);
    this.#linger = setTimeout(() => {
      if (this.#reader !== undefined && !this.#discarding) return this.#startLinger();
      if (this.#discarding) return void this.#socket.destroy();
      this.#discarding = true;
      this.#arrived.length = 0;
      this.#arrivedBytes = 0;
      this.#socket.resume();
      this.#startLinger();
    }, LINGER_MS);
    this.#linger.unref();
  }

  #onData(chunk: Buffer): void {
    if (this.#failure !== undefined || this.#discarding) return;
    // A plain Uint8Array: Buffer's slice() shares memory where Uint8Array's copies.
    const bytes = new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.length);
    const reader = this.#reader;
    if (reader !== undefined) {
      this.#reader = undefined;
      if (this.#linger !== undefined) this.#socket.unref();
      reader.resolve(bytes);
      return;
    }
    this.#arrived.push(bytes);
    this.#arrivedBytes += bytes.length;
    if (this.#arrivedBytes >= READ_AHEAD) this.#socket.pause();
  }

  #onEnd(): void {
    this.#ended = true;
    const reader = this.#reader;
    this.#reader = undefined;
    reader?.resolve(null);
  }

  readonly #onWritten = (): void => {
    if (this.#socket.writableLength === 0) this.#resolveWriters();
  };

  #resolveWriters(): void {
    for (const writer of this.#writers.splice(0)) writer.resolve();
  }

  #onClose(): void {
    clearTimeout(this.#linger);
    if (this.#ended && this.#closing !== undefined) return;
    this.#fail(environmentError('net.connection_lost', `the connection to ${this.label} is gone`));
  }

  #fail(reason: Error): void {
    this.#failure ??= reason;
    const failure = this.#failure;
    const reader = this.#reader;
    this.#reader = undefined;
    reader?.reject(failure);
    for (const writer of this.#writers.splice(0)) writer.reject(failure);
  }
}

function closedHere(label: string): SkylarkError {
  return environmentError('net.closed', `the connection to ${label} was closed on this side`);
}

/** What a socket reported, as an error of ours. Never a remedy: nobody can act on one lost connection. */
function connectionError(thrown: unknown, label: string): SkylarkError {
  const cause = asError(thrown);
  const code = errorCode(cause);
  const why =
    code === 'ECONNRESET' || code === 'EPIPE' ? 'the other side broke it off' : (code ?? cause.message);
  return environmentError('net.connection_lost', `the connection to ${label} is gone: ${why}`, { cause });
}
