/**
 * Tries a device as its maker would: does it say who it is, list its files, give them, and the same ones each time? What
 * the suite of `test/firmware-bridge/conformance.ts` asks of it, as far as that needs nobody at the device.
 */

import { concatBytes } from '../agent/base/bytes.ts';
import type { Clock } from '../agent/base/clock.ts';
import { asError, errorCode } from '../agent/base/errors.ts';
import { type Capability, capability, type Device, type DeviceFile } from './drivers/driver.ts';
import { crc32c } from './skylink/crc32c.ts';

export interface CheckOptions {
  readonly device: Device;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Files may be written to the device, and are deleted again where it can do that. */
  readonly mayWrite: boolean;
  /** Bits a second of a serial line. */
  readonly baud?: number | undefined;
}

export interface CheckResult {
  readonly what: string;
  /** `skipped`: it can't be tried, and `detail` says why. */
  readonly outcome: 'passed' | 'failed' | 'skipped';
  readonly detail: string;
}

/** Of these the whole contents are read. */
const MAX_FILES = 20;
const MAX_BYTES = 8_000_000;
const SHOWN = 3;
const WRITTEN = [0, 1, 254, 5_000];
const NAME = 'skylark-test.bin';
/** Bits on the line for a byte: 8N1. */
const BITS = 10;

/** A failed check does not end the others, unless the device is gone. */
export async function* checkDevice(options: CheckOptions): AsyncGenerator<CheckResult, void> {
  const files: DeviceFile[] = [];
  for (const { what, needs, run } of CHECKS) {
    options.signal.throwIfAborted();
    const missing = needs?.(options);
    if (missing !== undefined) {
      yield { what, outcome: 'skipped', detail: missing };
      continue;
    }
    try {
      yield { what, outcome: 'passed', detail: await run(options, files) };
    } catch (thrown) {
      options.signal.throwIfAborted();
      const outcome = thrown instanceof NothingToTry ? 'skipped' : 'failed';
      yield { what, outcome, detail: asError(thrown).message };
      if (['device.lost', 'device.silent'].includes(errorCode(thrown) ?? '')) return;
    }
  }
}

class NothingToTry extends Error {
  constructor() {
    super('there is no file to read, or only very large ones; save one and try again');
  }
}

interface Check {
  readonly what: string;
  /** Why it can't be tried; undefined: it can. */
  readonly needs?: (options: CheckOptions) => string | undefined;
  /** @param files those that were listed, for the checks that follow. @returns what was found */
  readonly run: (options: CheckOptions, files: DeviceFile[]) => Promise<string>;
}

const has =
  (kind: Capability['kind']) =>
  ({ device }: CheckOptions): string | undefined =>
    capability(device, kind) === undefined ? `the device can not do it (${kind})` : undefined;

const hasResume = ({ device }: CheckOptions): string | undefined =>
  capability(device, 'read')?.resume === true ? undefined : 'the device reads from the beginning only';

const mayWrite = (options: CheckOptions): string | undefined =>
  has('write')(options) ?? (options.mayWrite ? undefined : 'nothing may be written without --write');

const CHECKS: readonly Check[] = [
  {
    what: 'says who it is',
    run: ({ device }) => {
      const { id, model, firmware } = device.facts;
      if (!/^[\x21-\x7e]{1,80}$/.test(id))
        throw new Error(`its ID is not 1 to 80 printable characters: ${id}`);
      const kinds = device.capabilities.map(({ kind }) => kind).join(' ');
      return Promise.resolve(`${model} ${firmware}, ID ${id}; can ${kinds}`);
    },
  },
  {
    what: 'lists its files, twice the same',
    needs: has('list'),
    async run({ device, signal }, files) {
      files.push(...(await listed(device, signal)));
      const again = new Map((await listed(device, signal)).map((file) => [file.key, file]));
      for (const { key, name, version, complete } of files)
        if (complete && again.get(key)?.version !== version)
          throw new Error(`${name} is another the second time`);
      const keys = new Set(files.map(({ key }) => key));
      if (keys.size !== files.length) throw new Error('two files have one key');
      return `${files.length} files`;
    },
  },
  {
    what: 'gives whole files, of the size that it says, twice the same',
    needs: has('read'),
    async run({ device, signal, clock, baud }, files) {
      const start = clock.monotonic();
      let [bytes, count] = [0, 0];
      for (const file of chosen(files)) {
        const first = await readAll(device, file, 0, signal);
        if (first.length !== file.size)
          throw new Error(`${file.name} has ${first.length} bytes instead of ${file.size}`);
        bytes += first.length;
        if (count < SHOWN) {
          const second = await readAll(device, file, 0, signal);
          if (Buffer.compare(first, second) !== 0) throw new Error(`${file.name} is another the second time`);
          bytes += second.length;
        }
        count += 1;
      }
      if (count === 0) throw new NothingToTry();
      const rate = bytes / Math.max(1e-3, (clock.monotonic() - start) / 1_000);
      const line = baud === undefined ? '' : `, ${Math.round((100 * rate * BITS) / baud)} % of the line`;
      return `${count} files, ${Math.round(rate / 1_000)} kB/s${line}`;
    },
  },
  {
    what: 'gives files from any offset',
    needs: hasResume,
    async run({ device, signal }, files) {
      const file = chosen(files).find(({ size }) => size > 2);
      if (file === undefined) throw new NothingToTry();
      const whole = await readAll(device, file, 0, signal);
      for (const offset of [1, file.size >> 1, file.size - 1, file.size]) {
        const rest = await readAll(device, file, offset, signal);
        if (Buffer.compare(rest, whole.subarray(offset)) !== 0)
          throw new Error(`${file.name} is another from offset ${offset}`);
      }
      return file.name;
    },
  },
  {
    what: 'knows the checksum of its files',
    needs: has('digest'),
    async run({ device, signal }, files) {
      if (chosen(files).length === 0) throw new NothingToTry();
      for (const file of chosen(files).slice(0, SHOWN)) {
        const digest = await device.digest(file, signal);
        if (digest !== crc32c(await readAll(device, file, 0, signal)))
          throw new Error(`the checksum of ${file.name} is not that of its contents`);
      }
      return 'CRC-32C';
    },
  },
  {
    what: 'keeps the time that it is given',
    needs: has('clock'),
    async run({ device, clock, signal }) {
      const now = clock.now();
      await device.setClock(now, 0, signal);
      const then = await device.setClock(clock.now(), 0, signal);
      if (then === undefined) throw new Error('its clock does not run after it was set');
      const wrong = Number(then - clock.now()) / 1e9;
      if (Math.abs(wrong) > 5)
        throw new Error(`its clock is wrong by ${wrong.toFixed(1)} s a moment after it was set`);
      return `to ${Math.abs(wrong).toFixed(1)} s`;
    },
  },
  {
    what: 'takes what its display is to show',
    needs: has('show'),
    async run({ device, signal }) {
      await device.show({ kind: 'text', text: 'Skylark test' }, 5, signal);
      return 'it should show "Skylark test" for five seconds';
    },
  },
  {
    what: 'stores files, and gives them back',
    needs: mayWrite,
    async run(options, files) {
      const { device, signal } = options;
      if (files.some(({ name }) => name === NAME))
        throw new Error(`there is a ${NAME} already: delete it first`);
      for (const size of WRITTEN) {
        const bytes = Uint8Array.from({ length: size }, (_, i) => (i * 7 + (i >> 8)) & 0xff);
        await writeTest(options, bytes);
        const file = (await listed(device, signal)).find(({ name }) => name === NAME);
        if (file === undefined) throw new Error(`${NAME} is not listed after it was written`);
        if (Buffer.compare(await readAll(device, file, 0, signal), bytes) !== 0)
          throw new Error(`${NAME} comes back as something else (${size} bytes)`);
      }
      return `${NAME}, ${WRITTEN.join(', ')} bytes`;
    },
  },
  {
    what: 'deletes a file',
    needs: (options) => mayWrite(options) ?? has('delete')(options),
    async run(options) {
      const { device, signal } = options;
      await writeTest(options, Uint8Array.of(1));
      const file = (await listed(device, signal)).find(({ name }) => name === NAME);
      if (file === undefined) throw new Error(`${NAME} is not listed after it was written`);
      await device.delete(file, signal);
      if ((await listed(device, signal)).some(({ name }) => name === NAME))
        throw new Error(`${NAME} is still listed after it was deleted`);
      return NAME;
    },
  },
  {
    what: 'has a clean line',
    run: ({ device }) => {
      const { crcErrors, retries, bytesIn } = device.statistics;
      if (crcErrors > 0)
        throw new Error(`${crcErrors} damaged pieces in ${bytesIn} bytes: look at cable and baud rate`);
      return Promise.resolve(`${bytesIn} bytes without an error, ${retries} asked again`);
    },
  },
];

function writeTest({ device, signal }: CheckOptions, bytes: Uint8Array) {
  const content = async function* () {
    yield bytes;
  };
  return device.write({ name: NAME, size: bytes.length, mtime: undefined, replace: true, content }, signal);
}

/** Complete ones, small enough to be read several times. */
function chosen(files: readonly DeviceFile[]): DeviceFile[] {
  let left = MAX_BYTES;
  return files
    .filter(({ complete, size }) => {
      if (!complete || size > left) return false;
      left -= size;
      return true;
    })
    .slice(0, MAX_FILES);
}

async function listed(device: Device, signal: AbortSignal): Promise<DeviceFile[]> {
  const files: DeviceFile[] = [];
  for await (const item of device.list(undefined, signal)) if (item.kind === 'file') files.push(item.file);
  return files;
}

async function readAll(
  device: Device,
  file: DeviceFile,
  offset: number,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  let length = offset;
  for await (const piece of device.read(file, offset, signal)) {
    pieces.push(piece);
    length += piece.length;
    if (length > file.size)
      throw new Error(`${file.name} has more than the ${file.size} bytes that it should have`);
  }
  return concatBytes(...pieces);
}
