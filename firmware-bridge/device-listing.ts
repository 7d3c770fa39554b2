/** What a device lists, as the mirror works on it: whole, in a good order, and with what has vanished. */

import { deviceError } from './device-error.ts';
import type { Device, DeviceFile } from './drivers/driver.ts';
import type { MirroredFile } from './mirror-memory.ts';

export interface Listing {
  readonly files: readonly DeviceFile[];
  /** Keys that the device says are gone. */
  readonly deleted: ReadonlySet<string>;
  readonly whole: boolean;
  readonly total: number | undefined;
  readonly mark: string | undefined;
}

export async function collectListing(
  device: Device,
  since: string | undefined,
  signal: AbortSignal,
): Promise<Listing> {
  const files: DeviceFile[] = [];
  const deleted = new Set<string>();
  for await (const item of device.list(since, signal)) {
    if (item.kind === 'file') files.push(item.file);
    else if (item.kind === 'deleted') deleted.add(item.key);
    else return { files, deleted, whole: item.whole, total: item.total, mark: item.mark };
  }
  throw deviceError('device.protocol', 'the listing has no end');
}

/**
 * Files that are gone from the device, or seem to be: a device that numbers its files anew (a counter in RAM) shows old files
 * as new ones. By name and size a vanished one is supposed to be the same, and then compared.
 */
export class Vanished {
  readonly files: Set<MirroredFile>;
  readonly #byName: Map<string, MirroredFile>;

  constructor(files: readonly MirroredFile[]) {
    this.files = new Set(files);
    this.#byName = new Map(files.map((file) => [file.name, file]));
  }

  same(listed: DeviceFile): MirroredFile | undefined {
    const file = this.#byName.get(listed.name);
    return file?.size === listed.size && this.files.has(file) ? file : undefined;
  }
}

/** A file at which the device went away so often comes after the others. */
const SUSPICIOUS = 2;

/** Files at which the device went away: one that makes it fall must not keep the others. */
export class Falls {
  readonly #falls = new Map<string, { readonly times: number; readonly offset: number }>();

  /** @param offset how far the file had come: one that comes further each time is only a long one on a bad cable. */
  note(key: string, offset: number): void {
    const before = this.#falls.get(key);
    const times = before !== undefined && offset <= before.offset ? before.times + 1 : 1;
    this.#falls.set(key, { times, offset });
  }

  forget(key: string): void {
    this.#falls.delete(key);
  }

  clear(): void {
    this.#falls.clear();
  }

  /** First the one that had half arrived, since any other would take its place; last those that the device falls over. */
  inOrder(files: readonly DeviceFile[], half: string | undefined): DeviceFile[] {
    const rank = ({ key }: DeviceFile) => {
      const { times } = this.#falls.get(key) ?? { times: 0 };
      if (times >= SUSPICIOUS) return times;
      return key === half ? -1 : 0;
    };
    return files.toSorted((a, b) => rank(a) - rank(b));
  }
}
