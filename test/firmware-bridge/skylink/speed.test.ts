/** How much of a line is used: with virtual time, so exactly the same everywhere. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { measureReading } from '../../support/skylink-speed.ts';

for (const { baud, frame, least } of [
  { baud: 115_200, frame: 254, least: 0.9 },
  { baud: 115_200, frame: 1024, least: 0.9 },
  { baud: 1_000_000, frame: 1024, least: 0.9 },
  { baud: 1_000_000, frame: 4106, least: 0.9 },
]) {
  test(`${baud} baud, 16 ms latency, frames of ${frame}: at least ${100 * least} % of the line`, async () => {
    const { used, retries } = await measureReading({ baud, frame, latency: 16, bytes: baud / 2, corrupt: 0 });
    assert.ok(used >= least, `${(100 * used).toFixed(1)} %`);
    assert.equal(retries, 0);
  });
}

test('one byte in a thousand damaged leaves at least a third of the line', async () => {
  for (const [baud, frame] of [
    [115_200, 254],
    [115_200, 1024],
    [1_000_000, 1024],
  ] as const) {
    const { used } = await measureReading({ baud, frame, latency: 16, bytes: baud / 5, corrupt: 0.001 });
    assert.ok(used >= 0.33, `${baud} baud: ${(100 * used).toFixed(1)} %`);
  }
});

test('a line of unknown speed is learned, slow or fast', async () => {
  for (const baud of [2_400, 9_600, 3_000_000]) {
    const options = { baud, frame: 254, latency: 4, bytes: baud * 5, corrupt: 0, unknown: true };
    const { used } = await measureReading({ ...options, bytes: Math.min(400_000, baud * 2) });
    assert.ok(used >= 0.75, `${baud} baud: ${(100 * used).toFixed(1)} %`);
  }
});
