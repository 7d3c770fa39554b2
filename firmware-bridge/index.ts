/**
 * The firmware bridge: what devices save becomes files in shares. Every device is kept by itself; none of them, and nothing
 * that a device sends, stops another or the agent.
 */

import { utf8 } from '../agent/base/bytes.ts';
import type { Clock } from '../agent/base/clock.ts';
import { asError, EXIT, userError } from '../agent/base/errors.ts';
import type { Logger } from '../agent/base/log.ts';
import { nearestName } from '../agent/base/nearest.ts';
import { printable } from '../agent/base/printable.ts';
import { parseIgnoreLines } from '../agent/directory/ignore.ts';
import { type CheckResult, checkDevice } from './device-check.ts';
import type { Display, Driver } from './drivers/driver.ts';
import { folderDriver } from './drivers/folder.ts';
import { midiFileDumpDriver } from './drivers/midi-file-dump.ts';
import { skylinkDriver } from './drivers/skylink.ts';
import { ymodemDriver } from './drivers/ymodem.ts';
import { Keeper, type KeeperEvent, type KeeperStatus } from './keeper.ts';
import type { MirrorMode } from './mirror.ts';
import type { MirrorMemory } from './mirror-memory.ts';
import type { ShareFolder } from './share-folder.ts';
import { crc32c } from './skylink/crc32c.ts';
import { connect } from './transports/connect.ts';
import { formatSource, isUnstableName, parseSource, type Source } from './transports/source.ts';

/** `[[bridge.device]]` of the configuration. */
export interface DeviceConfig {
  /** `serial:/dev/serial/by-id/...?baud=115200`, `usb:VENDOR:PRODUCT`, `tcp://HOST:PORT`, `dir:/media/NAME`. */
  readonly source: string;
  /** One of `DRIVERS`; undefined: `folder` for a folder, `skylink` for a line. */
  readonly driver: string | undefined;
  /** Name or ID of the share. */
  readonly share: string;
  /** Within the share; empty: the share itself. */
  readonly folder: string;
  readonly mode: MirrorMode;
  /** Patterns of the files in the folder that are sent to the device; empty: none. */
  readonly send: readonly string[];
  /** Bytes of the largest file that is sent. */
  readonly sendLargest: number;
}

export interface FolderRequest {
  readonly share: string;
  /** With one leading slash. */
  readonly folder: string;
  /** For `openFolderWriter`: another one for each device. */
  readonly label: string;
  /** The device is this folder. */
  readonly dir: string | undefined;
}

export type { CheckResult } from './device-check.ts';

export interface BridgeOptions {
  readonly devices: readonly DeviceConfig[];
  /** The folder of a share; asked again, later, when it rejects (no such share yet, its disk is away). */
  readonly folderFor: (request: FolderRequest) => Promise<ShareFolder>;
  readonly memory: MirrorMemory;
  readonly clock: Clock;
  readonly log: Logger;
  /** Must not throw. */
  readonly onEvent: (event: BridgeEvent) => void;
  readonly random?: () => number;
}

export type BridgeEvent = KeeperEvent & {
  /** The device's source, as configured. */
  readonly source: string;
  readonly share: string;
  readonly folder: string;
};

export interface DeviceStatus extends KeeperStatus {
  readonly source: string;
  readonly driver: string;
  readonly share: string;
  readonly folder: string;
  readonly mode: MirrorMode;
}

export interface Bridge {
  status(): readonly DeviceStatus[];
  /**
   * Shows something on the displays of devices that have one, now or as soon as they are there.
   * @param options `seconds` how long (0 or none: until something else is shown); `source`: only on that device.
   */
  show(display: Display, options?: { readonly seconds?: number; readonly source?: string }): void;
  /** Something in a share has changed, which may be meant for a device. @param shares its name and ID */
  look(shares: readonly string[]): void;
  close(): Promise<void>;
}

const DRIVERS: ReadonlyMap<string, Driver> = new Map(
  [skylinkDriver, ymodemDriver, midiFileDumpDriver, folderDriver].map((driver) => [driver.name, driver]),
);

/** @throws SkylarkError (user, exit code 78) `bridge.source`, `bridge.driver`, `bridge.folder`, `bridge.twice`. */
export function openBridge(options: BridgeOptions): Bridge {
  const kept = options.devices.map((device) => ({ ...prepare(device, options), device }));
  const labels = kept.map(({ label }) => label);
  const twice = labels.find((label, index) => labels.indexOf(label) !== index);
  if (twice !== undefined) {
    throw userError('bridge.twice', `the device source ${twice} is configured twice`, {
      exitCode: EXIT.configuration,
    });
  }
  for (const { keeper } of kept) keeper.start();
  return {
    status: () =>
      kept.map(({ keeper, driver, device, folder }) => {
        const { source, share, mode } = device;
        return { source, driver: driver.name, share, folder, mode, ...keeper.status };
      }),
    show(display, { seconds = 0, source } = {}) {
      for (const { keeper, device } of kept) {
        if (source === undefined || source === device.source) keeper.show(display, seconds);
      }
    },
    look(shares) {
      for (const { keeper, device } of kept) if (shares.includes(device.share)) keeper.look();
    },
    async close() {
      await Promise.all(kept.map(({ keeper }) => keeper.close()));
    },
  };
}

function prepare(device: DeviceConfig, options: BridgeOptions) {
  const source = parseSource(device.source);
  const label = formatSource(source);
  const driver = driverFor(source, device.driver);
  const folder = parseFolder(device.folder);
  const { share, mode } = device;
  const log = options.log.child('device', { source: label });
  if (isUnstableName(source)) {
    log.warn('this port may be another device after the next start; name it as in /dev/serial/by-id');
  }
  const dir = source.kind === 'dir' ? source.path : undefined;
  const request = { share, folder, dir, label: crc32c(utf8(label)).toString(16).padStart(8, '0') };
  const keeper = new Keeper({
    connect: (signal) => connect(source, signal),
    driver,
    mode,
    send: { patterns: parseSend(device.send), largest: device.sendLargest },
    memory: options.memory,
    memoryKey: `${share} ${folder}`,
    openFolder: () => options.folderFor(request),
    clock: options.clock,
    log,
    ...(options.random ? { random: options.random } : {}),
    onEvent: (event) => options.onEvent({ ...event, source: device.source, share, folder }),
  });
  return { keeper, driver, label, folder };
}

/** @throws SkylarkError (user, exit code 78) `bridge.driver`. */
export function driverFor(source: Source, name: string | undefined): Driver {
  const isFolder = source.kind === 'dir';
  const chosen = name ?? (isFolder ? folderDriver.name : skylinkDriver.name);
  const driver = DRIVERS.get(chosen);
  if (driver === undefined) {
    const nearest = nearestName(chosen, DRIVERS.keys());
    throw userError('bridge.driver', `there is no driver ${printable(chosen, 40)}`, {
      remedy: nearest ? `did you mean ${nearest}` : `choose one of ${[...DRIVERS.keys()].join(', ')}`,
      exitCode: EXIT.configuration,
    });
  }
  if (isFolder !== (driver === folderDriver)) {
    throw userError('bridge.driver', `the driver ${chosen} does not go with a source like ${source.kind}:`, {
      remedy: isFolder ? 'leave out the driver' : 'choose the driver that the device speaks, usually skylink',
      exitCode: EXIT.configuration,
    });
  }
  return driver;
}

/** @throws SkylarkError (user, exit code 78) `bridge.send`. */
function parseSend(lines: readonly string[]) {
  try {
    return parseIgnoreLines(lines);
  } catch (thrown) {
    throw userError('bridge.send', `send is no list of patterns: ${asError(thrown).message}`, {
      exitCode: EXIT.configuration,
      cause: thrown,
    });
  }
}

/** A path of the owner's choice: said wrong, it is told rather than mended. */
function parseFolder(folder: string): string {
  const components = folder.split('/').filter((component) => component !== '');
  const bad = components.find(
    (one) =>
      one === '.' || one === '..' || one.includes('\0') || utf8(one).length > 255 || !one.isWellFormed(),
  );
  if (bad !== undefined || components[0] === '.clearskies') {
    throw userError('bridge.folder', `${printable(folder, 120)} is no folder of a share`, {
      remedy: 'give a path within the share, like piano/recordings',
      exitCode: EXIT.configuration,
    });
  }
  return `/${components.join('/')}`;
}

export interface DeviceTestOptions {
  /** As in the configuration. */
  readonly source: string;
  readonly driver: string | undefined;
  /** Files may be written to the device; they are deleted again where it can do that. */
  readonly mayWrite: boolean;
  readonly clock: Clock;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/**
 * Opens a device for itself alone, without any share, and tries what it can do.
 * @throws SkylarkError (user) `bridge.source`, `bridge.driver`; what kept the device from being opened; the signal's reason.
 */
export async function* testDevice(options: DeviceTestOptions): AsyncGenerator<CheckResult, void> {
  const { clock, log, signal, mayWrite } = options;
  const source = parseSource(options.source);
  const driver = driverFor(source, options.driver);
  const connection = await connect(source, signal);
  const device = await driver.open(connection, { clock, log, signal, onEvent: () => undefined });
  try {
    const baud = connection.kind === 'stream' ? connection.baud : undefined;
    yield* checkDevice({ device, clock, signal, mayWrite, baud });
  } finally {
    await device.close();
  }
}
