/** Of all the lines to a device so far. */

import type { LineStatistics } from './drivers/driver.ts';

export const NO_LINE: LineStatistics = { bytesIn: 0, bytesOut: 0, crcErrors: 0, retries: 0, rate: 0 };

export function addLines(a: LineStatistics, b: LineStatistics): LineStatistics {
  return {
    bytesIn: a.bytesIn + b.bytesIn,
    bytesOut: a.bytesOut + b.bytesOut,
    crcErrors: a.crcErrors + b.crcErrors,
    retries: a.retries + b.retries,
    rate: b.rate,
  };
}
