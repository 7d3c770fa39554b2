/** Whether this machine lives on its battery, by what Linux tells of its power supplies (sysfs-class-power). */

import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

const POWER_SUPPLIES = '/sys/class/power_supply';

/**
 * @param root where the supplies are listed, each a folder
 * @returns undefined if the system can't tell: no supply is listed, or none says anything. Never rejects.
 */
export async function isOnBattery(root = POWER_SUPPLIES): Promise<boolean | undefined> {
  const names = await readdir(root).catch(() => []);
  let isKnown = false;
  let isDischarging = false;
  for (const name of names) {
    const read = (file: string) => readValue(join(root, name, file));
    const [type, scope, online, status] = await Promise.all(['type', 'scope', 'online', 'status'].map(read));
    // The battery of a mouse.
    if (scope === 'Device') continue;
    if (type === 'Battery' || type === 'UPS') {
      isKnown ||= status !== undefined;
      isDischarging ||= status === 'Discharging';
    } else if (type !== undefined && online !== undefined) {
      // Mains, or USB in one of its kinds: 1 plugged in, 2 one of several that could be chosen.
      if (online !== '0') return false;
      isKnown = true;
    }
  }
  return isKnown ? isDischarging : undefined;
}

async function readValue(path: string): Promise<string | undefined> {
  try {
    return (await readFile(path, 'utf8')).trim();
  } catch {
    // Not every supply has everything, and any of them may be unplugged at this moment.
    return undefined;
  }
}
