/** Who a device is that does not say so itself: the port that it is on. */

import { utf8 } from '../../agent/base/bytes.ts';
import { crc32c } from '../skylink/crc32c.ts';

/** Characters of the port's name that are shown. */
const SHOWN = 50;

/**
 * The same for the same port: a stable name (`/dev/serial/by-id/...`) makes a stable identity.
 * @returns printable ASCII, at most 80 characters.
 */
export function identityOfLine(driver: string, label: string): string {
  const shown = label.replaceAll(/[^\x21-\x7e]/g, '_').slice(-SHOWN);
  return `${driver}-${crc32c(utf8(label)).toString(16).padStart(8, '0')}-${shown}`;
}
