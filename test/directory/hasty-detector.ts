/** What tests of the detector have in common. */

import assert from 'node:assert/strict';
import fs from 'node:fs';
import { type Clock, systemClock } from '../../agent/base/clock.ts';
import type { Detector } from '../../agent/directory/detect.ts';
import type { Folder } from './folder.ts';

/** Ten times as fast as time, so that waiting for quiet takes little of it. */
export const hasty: Clock = {
  now: () => systemClock.now() + 60_000_000_000n,
  monotonic: () => systemClock.monotonic() * 10,
  after: (ms, callback) => systemClock.after(ms / 10, callback),
};

export async function opened(
  folder: Folder,
  options: Parameters<Folder['detector']>[0] = {},
): Promise<Detector> {
  const detector = folder.detector({ clock: hasty, ...options });
  await detector.ready;
  await detector.settled();
  return detector;
}

export function uuidOf(folder: Folder, path: string): string {
  const record = folder.records.get(path);
  assert.ok(record, `${path} has no record`);
  return record.uuid;
}

/** The history since the last call. */
export function news(folder: Folder): string[] {
  return folder.records.history.splice(0).sort();
}

export function fill(folder: Folder, count: number): void {
  for (let i = 0; i < count; i++) fs.writeFileSync(folder.at(`/f${i}`), `file ${i}`);
}
