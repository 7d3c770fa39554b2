/** A bridge as the daemon opens it, into a real folder, and what it says. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { systemClock } from '../../agent/base/clock.ts';
import { silentLogger } from '../../agent/base/log.ts';
import { openShareRoot } from '../../agent/platform/files.ts';
import { openFolderWriter } from '../../firmware-bridge/folder-writer.ts';
import {
  type Bridge,
  type BridgeEvent,
  type BridgeOptions,
  type DeviceConfig,
  openBridge,
} from '../../firmware-bridge/index.ts';
import { TestMemory } from './memory-folder.ts';

export interface Stage {
  readonly path: string;
  readonly events: BridgeEvent[];
  readonly memory: TestMemory;
  open(devices: readonly Partial<DeviceConfig>[], options?: Partial<BridgeOptions>): Bridge;
  /** Waits for something to have happened, or to become true with something that happens. */
  until(what: (event: BridgeEvent) => boolean): Promise<BridgeEvent>;
}

export async function stage(t: TestContext): Promise<Stage> {
  const path = mkdtempSync(join(tmpdir(), 'skylark-bridge-'));
  const root = await openShareRoot(path);
  const events: BridgeEvent[] = [];
  const waiting = new Set<() => void>();
  const memory = new TestMemory();
  const bridges: Bridge[] = [];
  // The agent's clock keeps no process alive.
  const awake = setInterval(() => {}, 1_000);
  t.after(async () => {
    for (const bridge of bridges) await bridge.close();
    clearInterval(awake);
    root.close();
    rmSync(path, { recursive: true });
  });
  return {
    path,
    events,
    memory,
    open(devices, options = {}) {
      const bridge = openBridge({
        devices: devices.map((device) => ({
          source: 'tcp://127.0.0.1:1',
          driver: undefined,
          share: 'music',
          folder: 'piano',
          mode: 'archive',
          send: [],
          sendLargest: 10_000_000,
          ...device,
        })),
        folderFor: async ({ folder, label }) => openFolderWriter({ root, folder, label }),
        memory,
        clock: systemClock,
        log: silentLogger,
        onEvent: (event) => {
          events.push(event);
          for (const wake of [...waiting]) wake();
        },
        ...options,
      });
      bridges.push(bridge);
      return bridge;
    },
    until: (what) =>
      new Promise((resolve) => {
        const look = () => {
          const found = events.find(what);
          if (found === undefined) return;
          waiting.delete(look);
          resolve(found);
        };
        waiting.add(look);
        look();
      }),
  };
}
