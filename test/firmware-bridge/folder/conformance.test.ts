/** The folder driver on real file systems: this one, and exFAT, which knows neither modes nor lasting inodes. */

import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { TestContext } from 'node:test';
import { systemClock } from '../../../agent/base/clock.ts';
import { silentLogger } from '../../../agent/base/log.ts';
import type { DeviceEvent } from '../../../firmware-bridge/drivers/driver.ts';
import { createFolderDriver } from '../../../firmware-bridge/drivers/folder.ts';
import { CARD, withCard } from '../../support/exfat-card.ts';
import { missingOf } from '../../support/peers.ts';
import { conformance, type Hand, type Rig } from '../conformance.ts';

/** Long enough that two changes of a test never have one time. */
const QUIET_MS = 30;

conformance('a folder', {
  open: async (t, events) => {
    const path = fs.mkdtempSync(join(tmpdir(), 'skylark-stick-'));
    t.after(() => fs.rmSync(path, { recursive: true }));
    return openRig(t, path, events);
  },
});

if (missingOf(CARD) === undefined) {
  conformance('a folder on exFAT', {
    open: (t, events) =>
      new Promise<Rig>((resolve, reject) => {
        const over = Promise.withResolvers<void>();
        const card = withCard(async ({ path }) => {
          resolve(await openRig(t, path, events));
          await over.promise;
        });
        card.catch(reject);
        t.after(async () => {
          over.resolve();
          await card;
        });
      }),
  });
}

async function openRig(t: TestContext, path: string, events: DeviceEvent[]): Promise<Rig> {
  const device = await createFolderDriver({ quietMs: QUIET_MS }).open(
    { kind: 'directory', path },
    { clock: systemClock, log: silentLogger, onEvent: (event) => events.push(event) },
  );
  t.after(() => device.close());
  return { device, events, hand: handIn(path), run: (promise) => promise };
}

function handIn(folder: string): Hand {
  const at = (name: string) => join(folder, name);
  return {
    add(name, bytes) {
      fs.mkdirSync(dirname(at(name)), { recursive: true });
      fs.writeFileSync(at(name), bytes);
    },
    change(name, bytes) {
      const before = fs.statSync(at(name)).mtimeMs;
      fs.writeFileSync(at(name), bytes);
      // As if somebody had done it later: exFAT tells times to two seconds.
      const later = Math.max(before + 2_000, fs.statSync(at(name)).mtimeMs) / 1_000;
      fs.utimesSync(at(name), later, later);
    },
    rename: (from, to) => fs.renameSync(at(from), at(to)),
    remove: (name) => fs.rmSync(at(name)),
    pressButton: () => undefined,
    display: () => '',
  };
}
