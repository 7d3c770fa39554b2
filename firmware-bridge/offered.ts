/** Files that devices send on their own accord. */

import type { Device, DeviceFile } from './drivers/driver.ts';
import type { Mirror, Problem } from './mirror.ts';

/** Whatever becomes of the file, the device hears of it, and hears of success only when the file is in its place. */
export async function takeOffered(
  mirror: Mirror,
  device: Device,
  file: DeviceFile,
  signal: AbortSignal,
): Promise<readonly Problem[]> {
  let isStored = false;
  try {
    const problems = await mirror.take(device, file, signal);
    isStored = problems.length === 0;
    return problems;
  } finally {
    await device.release?.(file, isStored);
  }
}
