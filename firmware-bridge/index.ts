/**
 * The firmware bridge: what devices save becomes files in shares. Every device is kept by itself; none of them, and nothing
 * that a device sends, stops another or the agent.
 */

import { utf8 } from '../agent/base/bytes.ts';
import type { Clock } from '../agent/base/clock.ts';
import { EXIT, userError } from '../agent/base/errors.ts';
import type { Logger } from '../agent/base/log.ts';
import { nearestName } from '../agent/base/nearest.ts';
import { printable } from '../agent/base/printable.ts';
import type { Display, Driver } from './drivers/driver.ts';
import { skylinkDriver } from './drivers/skylink.ts';
import { ymodemDriver } from './drivers/ymodem.ts';
import { Keeper, type KeeperEvent, type KeeperStatus } from './keeper.ts';
import type { MirrorMode } from './mirror.ts';
import type { MirrorMemory } from './mirror-memory.ts';
import type { ShareFolder } from './share-folder.ts';
import { crc32c } from './skylink/crc32c.ts';
import { connect } from './transports/connect.ts';
import { formatSource, isUnstableName, parseSource } from './transports/source.ts';

/** `[[bridge.device]]` of the configuration. */
export interface DeviceConfig {
  /** `serial:/dev/serial/by-id/...?baud=115200`, `tcp://HOST:PORT`. */
  readonly source: string;
  /** `skylink`, `ymodem`. */
  readonly driver: string;
  /** Name or ID of the share. */
  readonly share: string;
  /** Within the share; empty: the share itself. */
  readonly folder: string;
  readonly mode: MirrorMode;
}

export interface FolderRequest {
  readonly share: string;
  /** With one leading slash. */
  readonly folder: string;
  /** For `openFolderWriter`: another one for each device. */
  readonly label: string;
}

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
  close(): Promise<void>;
}

const DRIVERS: ReadonlyMap<string, Driver> = new Map(
  [skylinkDriver, ymodemDriver].map((driver) => [driver.name, driver]),
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
      kept.map(({ keeper, device, folder }) => {
        const { source, driver, share, mode } = device;
        return { source, driver, share, folder, mode, ...keeper.status };
      }),
    show(display, { seconds = 0, source } = {}) {
      for (const { keeper, device } of kept) {
        if (source === undefined || source === device.source) keeper.show(display, seconds);
      }
    },
    async close() {
      await Promise.all(kept.map(({ keeper }) => keeper.close()));
    },
  };
}

function prepare(device: DeviceConfig, options: BridgeOptions) {
  const source = parseSource(device.source);
  const label = formatSource(source);
  const driver = DRIVERS.get(device.driver);
  if (driver === undefined) {
    const nearest = nearestName(device.driver, DRIVERS.keys());
    throw userError('bridge.driver', `there is no driver ${printable(device.driver, 40)}`, {
      remedy: nearest ? `did you mean ${nearest}` : `choose one of ${[...DRIVERS.keys()].join(', ')}`,
      exitCode: EXIT.configuration,
    });
  }
  const folder = parseFolder(device.folder);
  const { share, mode } = device;
  const log = options.log.child('device', { source: label });
  if (isUnstableName(source)) {
    log.warn('this port may be another device after the next start; name it as in /dev/serial/by-id');
  }
  const request = { share, folder, label: crc32c(utf8(label)).toString(16).padStart(8, '0') };
  const keeper = new Keeper({
    connect: (signal) => connect(source, signal),
    driver,
    mode,
    memory: options.memory,
    memoryKey: `${share} ${folder}`,
    openFolder: () => options.folderFor(request),
    clock: options.clock,
    log,
    ...(options.random ? { random: options.random } : {}),
    onEvent: (event) => options.onEvent({ ...event, source: device.source, share, folder }),
  });
  return { keeper, label, folder };
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
