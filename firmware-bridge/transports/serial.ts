/** A serial port as a ByteStream, over `serialport`, which is loaded when the first port is opened. */

import type { SerialPort } from 'serialport';
import { asError, environmentError, type SkylarkError, userError } from '../../agent/base/errors.ts';
import type { ByteStream } from '../../agent/base/stream.ts';

export interface SerialOptions {
  readonly path: string;
  readonly baud: number;
  readonly hardwareFlow: boolean;
}

/** Read from the system at a time: a tenth of a second at 1 Mbaud. */
const READ_BUFFER = 16_384;

/**
 * Opens the port for this process alone (an advisory lock), raw, 8N1, with DTR and RTS set.
 * @throws SkylarkError `serial.absent`, `serial.not_permitted`, `serial.in_use`, `serial.not_a_port`, `serial.failed`; or the
 *   signal's reason.
 */
export async function openSerialPort(options: SerialOptions, signal?: AbortSignal): Promise<ByteStream> {
  signal?.throwIfAborted();
  const { SerialPort } = await import('serialport');
  const port = new SerialPort({
    path: options.path,
    baudRate: options.baud,
    rtscts: options.hardwareFlow,
    xon: false,
    xoff: false,
    xany: false,
    lock: true,
    autoOpen: false,
    highWaterMark: READ_BUFFER,
  });
  await new Promise<void>((resolve, reject) => {
    port.open((error) => (error ? reject(openError(options, error)) : resolve()));
  });
  const stream = new SerialStream(port, options.path);
  if (signal?.aborted) {
    await stream.close();
    throw signal.reason;
  }
  // Adapters that can deliver at once instead of every 16 ms should; pseudo-terminals and some drivers know none of this.
  const lines = { dtr: true, rts: true, lowLatency: true };
  port.set(lines, () => {});
  return stream;
}

/** The library tells what the system said only in words. */
function openError({ path, baud }: SerialOptions, error: Error): SkylarkError {
  const { message } = error;
  if (/No such file|No such device/i.test(message)) {
    return environmentError('serial.absent', `there is no ${path}`, {
      remedy: 'plug the device in',
      cause: error,
    });
  }
  if (/Permission denied/i.test(message)) {
    return environmentError('serial.not_permitted', `opening ${path} is not permitted`, {
      remedy: 'add the user to the group that owns the port (usually dialout)',
      cause: error,
    });
  }
  if (/Cannot lock port|Resource busy|Device or resource busy/i.test(message)) {
    return environmentError('serial.in_use', `another program uses ${path}`, {
      remedy: 'stop that program',
      cause: error,
    });
  }
  if (/Inappropriate ioctl|Is a directory/i.test(message)) {
    return userError('serial.not_a_port', `${path} is no serial port`, {
      remedy: 'name a port below /dev/serial/by-id',
      cause: error,
    });
  }
  return environmentError('serial.failed', `${path} could not be opened at ${baud} baud: ${message}`, {
    cause: error,
  });
}

class SerialStream implements ByteStream {
  readonly label: string;
  readonly #port: SerialPort;
  #failure: Error | undefined;
  #closed: Promise<void> | undefined;
  #wakeReader: (() => void) | undefined;
  #wakeWriter: (() => void) | undefined;

  constructor(port: SerialPort, path: string) {
    this.label = path;
    this.#port = port;
    port.on('readable', () => this.#wakeReader?.());
    port.on('close', (reason: Error | null) => this.#fail(unplugged(path, reason)));
    // A write that was under way when the device was pulled out is told here as well.
    port.on('error', (reason) => this.#fail(unplugged(path, reason)));
  }

  async read(): Promise<Uint8Array | null> {
    for (;;) {
      // What arrived before the end is still good.
      const bytes: Buffer | null = this.#port.read();
      if (bytes !== null) return new Uint8Array(bytes);
      if (this.#failure !== undefined) throw this.#failure;
      await new Promise<void>((resolve) => {
        this.#wakeReader = resolve;
      });
    }
  }

  async write(bytes: Uint8Array): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    // Until the system has them all: what the library would buffer, a pulled cable would leave waiting for ever.
    await new Promise<void>((resolve) => {
      this.#wakeWriter = resolve;
      this.#port.write(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length), (error) => {
        if (error) this.#fail(unplugged(this.label, error));
        resolve();
      });
    });
    if (this.#failure !== undefined) throw this.#failure;
  }

  close(): Promise<void> {
    this.#fail(environmentError('serial.closed', `${this.label} was closed`));
    this.#closed ??= this.#release();
    return this.#closed;
  }

  abort(reason: Error): void {
    this.#fail(reason);
    this.#closed ??= this.#release();
  }

  #release(): Promise<void> {
    return new Promise((resolve) => {
      if (!this.#port.isOpen) return resolve();
      this.#port.close(() => resolve());
    });
  }

  #fail(reason: Error): void {
    this.#failure ??= reason;
    this.#wakeReader?.();
    this.#wakeWriter?.();
  }
}

function unplugged(path: string, reason: unknown): SkylarkError {
  const why = reason === null || reason === undefined ? '' : `: ${asError(reason).message}`;
  return environmentError('serial.unplugged', `${path} is gone${why}`, {
    remedy: 'plug the device in again',
  });
}
