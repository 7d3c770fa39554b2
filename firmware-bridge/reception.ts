/** One file on its way from a device, which goes on where it stopped when the device or the agent went away in the middle. */

import { errorCode } from '../agent/base/errors.ts';
import { deviceError } from './device-error.ts';
import { capability, type Device, type DeviceFile, type Digest } from './drivers/driver.ts';
import type { IncomingFile, ShareFolder } from './share-folder.ts';
import { crc32c } from './skylink/crc32c.ts';

export interface Arrived {
  /** As it was at the end. */
  readonly file: DeviceFile;
  readonly digest: Digest;
  /** All of its content, not yet in place. */
  readonly incoming: IncomingFile;
}

interface Partial {
  readonly file: DeviceFile;
  readonly incoming: IncomingFile;
  offset: number;
  digest: Digest;
}

/** A file that changes faster than it can be read is left for later. */
const MOST_CHANGES = 5;
/** A device whose memory says something else each time. */
const MOST_MISMATCHES = 3;

export class Reception {
  readonly #folder: ShareFolder;
  #partial: Partial | undefined;

  constructor(folder: ShareFolder) {
    this.#folder = folder;
  }

  get progress(): { readonly name: string; readonly offset: number; readonly size: number } | undefined {
    const partial = this.#partial;
    return partial && { name: partial.file.name, offset: partial.offset, size: partial.file.size };
  }

  /** Of the file that has half arrived. */
  get key(): string | undefined {
    return this.#partial?.file.key;
  }

  /**
   * Reads the file whole; if it changes meanwhile, its newest version.
   * @returns undefined if it is gone from the device, or being written again.
   * @throws `device.changed` if it changes again and again, `device.storage` if its content does not match its checksum.
   */
  async receive(device: Device, listed: DeviceFile, signal: AbortSignal): Promise<Arrived | undefined> {
    let file = listed;
    let changes = 0;
    let mismatches = 0;
    for (;;) {
      const partial = await this.#resume(device, file);
      const changed = await this.#readRest(device, partial, signal);
      const present = await device.stat(file.key, signal);
      if (present === undefined || !present.complete) {
        await this.abandon();
        return undefined;
      }
      if (changed || !isSameContent(present, file) || partial.offset !== file.size) {
        changes += 1;
        if (changes > MOST_CHANGES) {
          await this.abandon();
          throw deviceError('device.changed', 'the file changes faster than it can be read');
        }
        await this.abandon();
        file = present;
        continue;
      }
      if (await this.#matches(device, partial, signal)) {
        return { file: present, digest: partial.digest, incoming: partial.incoming };
      }
      await this.abandon();
      mismatches += 1;
      if (mismatches >= MOST_MISMATCHES) {
        throw deviceError('device.storage', 'the content does not match the checksum that the device gives');
      }
    }
  }

  /** The incoming file was used up. */
  done(): void {
    this.#partial = undefined;
  }

  /** Lets go of what has arrived, so that it can be gone on with after a restart. */
  async close(): Promise<void> {
    const partial = this.#partial;
    this.#partial = undefined;
    await partial?.incoming.keep();
  }

  /** Forgets what has arrived. */
  async abandon(): Promise<void> {
    const partial = this.#partial;
    this.#partial = undefined;
    await partial?.incoming.abort();
  }

  async #resume(device: Device, file: DeviceFile): Promise<Partial> {
    if (this.#partial !== undefined && isSameContent(this.#partial.file, file)) return this.#partial;
    await this.abandon();
    // What an earlier process has left is worth something only if the device can say whether it is right.
    const canGoOn =
      capability(device, 'digest') !== undefined && capability(device, 'read')?.resume !== false;
    const identity = canGoOn ? `${device.facts.id} ${file.key} ${file.version}` : undefined;
    const incoming = await this.#folder.begin(file.size, identity);
    const partial: Partial = { file, incoming, offset: incoming.resumed, digest: 0 };
    this.#partial = partial;
    try {
      for await (const piece of incoming.stored()) partial.digest = crc32c(piece, partial.digest);
    } catch (thrown) {
      await this.abandon();
      throw thrown;
    }
    return partial;
  }

  /** @returns true if the device says that the file has changed. */
  async #readRest(device: Device, partial: Partial, signal: AbortSignal): Promise<boolean> {
    if (capability(device, 'read')?.resume === false && partial.offset > 0) return true;
    try {
      for await (const piece of device.read(partial.file, partial.offset, signal)) {
        if (partial.offset + piece.length > partial.file.size) return true;
        await partial.incoming.write(piece);
        partial.offset += piece.length;
        partial.digest = crc32c(piece, partial.digest);
      }
      return false;
    } catch (thrown) {
      const code = errorCode(thrown);
      if (code === 'device.changed' || code === 'device.not_found') return true;
      // A device that is away comes back and goes on from here; whatever else failed begins anew.
      const goesOn = code === 'device.lost' || code === 'device.silent' || signal.aborted;
      if (!goesOn) await this.abandon();
      throw thrown;
    }
  }

  async #matches(device: Device, partial: Partial, signal: AbortSignal): Promise<boolean> {
    if (capability(device, 'digest') === undefined) return true;
    try {
      return (await device.digest(partial.file, signal)) === partial.digest;
    } catch (thrown) {
      if (errorCode(thrown) === 'device.changed' || errorCode(thrown) === 'device.not_found') return false;
      throw thrown;
    }
  }
}

function isSameContent(a: DeviceFile, b: DeviceFile): boolean {
  return a.key === b.key && a.version === b.version && a.size === b.size;
}
