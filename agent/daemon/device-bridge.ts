/** The firmware bridge, joined to the shares: where its files go, and what its buttons do. */

import { openFolderWriter } from '../../firmware-bridge/folder-writer.ts';
import {
  type Bridge,
  type BridgeEvent,
  type FolderRequest,
  openBridge,
} from '../../firmware-bridge/index.ts';
import type { ShareFolder } from '../../firmware-bridge/share-folder.ts';
import type { Clock } from '../base/clock.ts';
import { describeError, EXIT, environmentError, userError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { groupAccessCode } from '../club/access-code.ts';
import type { Club } from '../club/club.ts';
import type { Registry } from '../club/registry.ts';
import type { Configuration } from '../config/options.ts';
import { findShare } from '../control/find-share.ts';
import { openShareRoot, type ShareRoot } from '../platform/files.ts';
import { realPath } from '../platform/mounts.ts';
import type { Sqlite } from '../platform/sqlite.ts';
import { openBridgeMemory } from './bridge-memory.ts';
import type { Shares } from './shares.ts';

export interface DeviceBridgeOptions {
  readonly devices: Configuration['bridge.device'];
  readonly registry: Registry;
  readonly shares: Shares;
  readonly sqlite: Sqlite;
  readonly clock: Clock;
  readonly log: Logger;
  readonly onEvent: (event: BridgeEvent) => void;
}

/** Whoever presses the button has so long to type in the code, seconds. */
const PAIRING_S = 600;
/** A button that bounces, or is leant on, makes no second code. Milliseconds. */
const PRESS_MS = 5_000;
/** Of a file that is sent to a device. Bytes. */
const DEFAULT_LARGEST = 16_000_000;

/** Otherwise the folder would be copied into itself. @throws SkylarkError (user) `bridge.nested`. */
async function refuseNested(dir: string, target: string): Promise<void> {
  const [from, to] = [await realPath(dir), await realPath(target)];
  if (to !== from && !to.startsWith(from === '/' ? from : `${from}/`)) return;
  throw userError(
    'bridge.nested',
    `the folder ${dir} is, or lies around, the one that its files would go to`,
    {
      remedy: 'choose another folder for the device, or another folder in the share',
      exitCode: EXIT.configuration,
    },
  );
}

/** @throws SkylarkError (user, exit code 78): as `openBridge`. */
export function openDeviceBridge(options: DeviceBridgeOptions): Bridge {
  const { devices, registry, shares, sqlite, clock, log, onEvent } = options;
  const roots = new Map<string, ShareRoot>();
  const pressed = new Map<string, number>();
  const clubOf = (share: string) =>
    findShare(
      registry.list().map((club) => ({ id: club.id, name: club.name, path: club.folder, club })),
      share,
    ).club;

  /** A medium that was put in again is another one to whoever has an old root of it. */
  async function rootOf(club: Club): Promise<ShareRoot> {
    const known = roots.get(club.id);
    try {
      await known?.check();
      if (known !== undefined) return known;
    } catch {
      known?.close();
      roots.delete(club.id);
    }
    const root = await openShareRoot(club.folder, { clock });
    roots.set(club.id, root);
    return root;
  }

  async function folderFor({ share, folder, label, dir }: FolderRequest): Promise<ShareFolder> {
    const club = clubOf(share);
    const stopping = shares
      .get(club.id)
      ?.share.problems()
      .find(({ stops }) => stops === 'everything');
    if (stopping !== undefined) throw environmentError(stopping.code, stopping.message);
    if (dir !== undefined) await refuseNested(dir, `${club.folder}${folder}`);
    const root = await rootOf(club);
    const isSettled = () => shares.get(club.id)?.share.status().isRecorded === true;
    return openFolderWriter({ root, folder, label, isSettled });
  }

  /** A new code on the device's own display: whoever can press the button may have it. */
  async function pair(club: Club, source: string): Promise<void> {
    const now = clock.monotonic();
    if (now - (pressed.get(source) ?? Number.NEGATIVE_INFINITY) < PRESS_MS) return;
    pressed.set(source, now);
    const { code } = await club.codes.create({ level: club.level, lifetime: PAIRING_S });
    if (code === undefined) return;
    bridge.show({ kind: 'code', text: groupAccessCode(code.reveal()) }, { seconds: PAIRING_S, source });
  }

  const bridge = openBridge({
    devices: devices.map(({ send_largest, ...device }) => ({
      ...device,
      sendLargest: Number(send_largest ?? DEFAULT_LARGEST),
    })),
    folderFor,
    memory: openBridgeMemory(sqlite),
    clock,
    log: log.child('bridge'),
    onEvent(event) {
      onEvent(event);
      if (event.kind !== 'button') return;
      Promise.resolve()
        .then(() => pair(clubOf(event.share), event.source))
        .catch((thrown: unknown) => {
          log.warn('the button could not make an access code', {
            source: event.source,
            why: describeError(thrown),
          });
        });
    },
  });
  return {
    status: () => bridge.status(),
    show: (display, where) => bridge.show(display, where),
    look: (names) => bridge.look(names),
    async close() {
      await bridge.close();
      for (const root of roots.values()) root.close();
    },
  };
}
