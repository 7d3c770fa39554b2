/**
 * What the bridge knows of devices: one narrow interface, however a device speaks. A driver implements it once and passes
 * `test/firmware-bridge/conformance.ts`.
 */

import type { Clock } from '../../agent/base/clock.ts';
import type { SkylarkError } from '../../agent/base/errors.ts';
import type { Logger } from '../../agent/base/log.ts';
import type { ByteStream } from '../../agent/base/stream.ts';

/** How a device is reached. A driver refuses kinds that it can't use with `bridge.connection`. */
export type Connection =
  | {
      readonly kind: 'stream';
      readonly stream: ByteStream;
      /** Of a serial line. */
      readonly baud?: number;
    }
  /** A folder of this system: a medium that is mounted, or one that another program writes. */
  | { readonly kind: 'directory'; readonly path: string };

export interface DriverOptions {
  readonly clock: Clock;
  readonly log: Logger;
  /** 0 up to 1; default Math.random. */
  readonly random?: () => number;
  /** Ends the opening. */
  readonly signal?: AbortSignal;
  /** What happens on the device. Must not throw. */
  readonly onEvent: (event: DeviceEvent) => void;
}

export interface Driver {
  /** As in the configuration: `skylink`. */
  readonly name: string;
  /**
   * Takes over the connection, also when it fails.
   * @throws SkylarkError `device.silent`, `device.protocol`, `device.lost`, `bridge.connection`.
   */
  open(connection: Connection, options: DriverOptions): Promise<Device>;
}

/** One thing that a device can do, beyond being there. */
export type Capability =
  /** `incremental`: `list(since)` costs no more than what changed. */
  | { readonly kind: 'list'; readonly incremental: boolean }
  /** `resume`: from any offset. Otherwise from 0 only. */
  | { readonly kind: 'read'; readonly resume: boolean }
  | { readonly kind: 'digest' }
  /** `largest`: bytes in one file. `nameBytes`: UTF-8 bytes in a name. */
  | { readonly kind: 'write'; readonly largest: number; readonly nameBytes: number }
  | { readonly kind: 'delete' }
  | { readonly kind: 'clock' }
  | { readonly kind: 'show' }
  | { readonly kind: 'button' }
  | { readonly kind: 'battery' }
  /** It sends files on its own accord: they come as `offered`, are read once, and then released. */
  | { readonly kind: 'offers' };

export interface DeviceFacts {
  /** Stable and its own: the same when it is plugged in elsewhere. Printable ASCII, at most 80 characters. */
  readonly id: string;
  /** As the device says: for people, to be escaped wherever it is shown. */
  readonly model: string;
  readonly firmware: string;
}

export interface DeviceFile {
  /** Stable while the file is there, whatever becomes of its name and content. */
  readonly key: string;
  /** Another one whenever the content is another. */
  readonly version: string;
  /** As the device says: data, not yet a path. `/` separates folders. */
  readonly name: string;
  readonly size: number;
  /** Nanoseconds since 1970; undefined if the device does not know. */
  readonly mtime: bigint | undefined;
  /** False while the device is still writing it. */
  readonly complete: boolean;
}

export type ListItem =
  | { readonly kind: 'file'; readonly file: DeviceFile }
  | { readonly kind: 'deleted'; readonly key: string }
  /** Always the last. */
  | {
      readonly kind: 'end';
      /** Everything was listed: what was not named is gone. */
      readonly whole: boolean;
      /** Files there are now, if the device says. */
      readonly total: number | undefined;
      /** What to give as `since` next time; undefined if the device can't list by changes. */
      readonly mark: string | undefined;
    };

/** CRC-32C (Castagnoli) of the whole content. */
export type Digest = number;

export interface FileToWrite {
  readonly name: string;
  readonly size: number;
  /** Nanoseconds since 1970. */
  readonly mtime: bigint | undefined;
  /** Whether a file of that name may be replaced. */
  readonly replace: boolean;
  /** The same bytes from the start at each call. */
  readonly content: () => AsyncIterable<Uint8Array>;
}

/** What a device may be told to show. */
export type Display =
  | { readonly kind: 'nothing' }
  | { readonly kind: 'text'; readonly text: string }
  /** An access code, in the groups in which people read it. */
  | { readonly kind: 'code'; readonly text: string }
  | { readonly kind: 'url'; readonly text: string };

export type DeviceEvent =
  | { readonly kind: 'files-changed' }
  | { readonly kind: 'offered'; readonly file: DeviceFile }
  /** The share button, the one that asks for pairing. */
  | { readonly kind: 'button' }
  | { readonly kind: 'battery'; readonly percent: number }
  /** It has started anew: its clock and display are as after switching on. */
  | { readonly kind: 'restarted' }
  | { readonly kind: 'log'; readonly level: 'debug' | 'info' | 'warn' | 'error'; readonly text: string };

export interface LineStatistics {
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** Pieces of what came that were damaged. */
  readonly crcErrors: number;
  /** Things asked again. */
  readonly retries: number;
  /** Bytes a second, as estimated. */
  readonly rate: number;
}

/**
 * A device that is there. Every function may be called at any time and takes its turn; each rejects with the signal's
 * reason when that comes first, with `device.lost` or `device.silent` when the device is gone (then open it anew), and with
 * `device.unsupported` for what is not among its capabilities.
 */
export interface Device {
  readonly facts: DeviceFacts;
  readonly capabilities: readonly Capability[];
  readonly statistics: LineStatistics;
  /** Resolves with the reason when the device can't be used any more. */
  readonly lost: Promise<SkylarkError>;

  /** What there is, or what changed since the mark of an earlier listing. @throws `device.stuck` if it never ends. */
  list(since: string | undefined, signal?: AbortSignal): AsyncIterable<ListItem>;

  /** The file as it is now; undefined if it is gone. */
  stat(key: string, signal?: AbortSignal): Promise<DeviceFile | undefined>;

  /** From `offset` to the end, in order. @throws `device.changed` when the version is not the present one any more. */
  read(file: DeviceFile, offset: number, signal?: AbortSignal): AsyncIterable<Uint8Array>;

  /** Of what the device has stored. @throws `device.changed`, `device.not_found`. */
  digest(file: DeviceFile, signal?: AbortSignal): Promise<Digest>;

  /**
   * Says what became of an offered file: stored durably, or not. The device is told so only then, as far as its protocol
   * can. Of devices with the capability `offers`. Never rejects.
   */
  release?(file: DeviceFile, isStored: boolean): Promise<void>;

  /** Stores a file, visible on the device only when whole. @throws `device.full`, `device.exists`, `device.refused`. */
  write(file: FileToWrite, signal?: AbortSignal): Promise<{ readonly key: string; readonly version: string }>;

  /** @throws `device.changed`, `device.refused`. Without effect if it is gone already. */
  delete(file: DeviceFile, signal?: AbortSignal): Promise<void>;

  /** @returns the device's clock before, nanoseconds since 1970; undefined if it was not running. */
  setClock(now: bigint, zoneMinutes: number, signal?: AbortSignal): Promise<bigint | undefined>;

  /** @param seconds how long; 0: until something else is shown. */
  show(display: Display, seconds: number, signal?: AbortSignal): Promise<void>;

  /** Lets go of the device. Idempotent; never rejects. */
  close(): Promise<void>;
}

/** What the device says about that capability; undefined if it has not got it. */
export function capability<K extends Capability['kind']>(
  device: Pick<Device, 'capabilities'>,
  kind: K,
): Extract<Capability, { kind: K }> | undefined {
  return device.capabilities.find((one): one is Extract<Capability, { kind: K }> => one.kind === kind);
}
