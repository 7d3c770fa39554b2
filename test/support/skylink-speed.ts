/** Reads one file from the simulated piano over a paced line; for the speed test and the benchmark. */

import assert from 'node:assert/strict';
import { type Clock, systemClock } from '../../agent/base/clock.ts';
import { silentLogger } from '../../agent/base/log.ts';
import { skylinkDriver } from '../../firmware-bridge/drivers/skylink.ts';
import { createPiano } from '../../firmware-bridge/simulator/piano.ts';
import { seededRandom } from '../../firmware-bridge/simulator/random.ts';
import { corrupting, openLine } from './line.ts';
import { virtualClock } from './virtual-clock.ts';

export interface SpeedOptions {
  readonly baud: number;
  /** Largest content of the device's frames. */
  readonly frame: number;
  /** Of the host's adapter, milliseconds. */
  readonly latency: number;
  /** In the file. */
  readonly bytes: number;
  /** Probability for each byte, in both directions. */
  readonly corrupt: number;
  /** The host is not told the baud rate. */
  readonly unknown?: boolean;
  /** Takes the time that it takes. */
  readonly realTime?: boolean;
  readonly seed?: number;
}

export interface Speed {
  /** Of the file, a second. */
  readonly bytesPerSecond: number;
  /** Share of the line's bytes that were the file's. */
  readonly used: number;
  readonly retries: number;
  readonly crcErrors: number;
  /** Processor time of both ends, the line and the test, milliseconds. */
  readonly cpuMs: number;
  readonly elapsedMs: number;
}

export async function measureReading(options: SpeedOptions): Promise<Speed> {
  const { baud, frame, latency, bytes, corrupt, seed = 1 } = options;
  const virtual = options.realTime ? undefined : virtualClock();
  const clock: Clock = virtual ?? systemClock;
  const run = <T>(promise: Promise<T>) => virtual?.run(promise) ?? promise;
  const random = seededRandom(seed);
  const content = Uint8Array.from({ length: bytes }, () => random.integer(0, 255));
  const piano = createPiano({ seed, frame, clock });
  piano.save('measured.bin', content);
  const noise = corrupting(corrupt, random.next);
  // In real time the device needs more than its usual 64 bytes under way, since nobody wakes it on the dot.
  const lateness = virtual ? {} : { slack: 5, buffer: Math.max(64, baud / 1000) };
  const line = openLine({
    clock,
    baud,
    latency,
    ...lateness,
    ...(corrupt > 0 ? { toHost: noise, toDevice: noise } : {}),
  });
  piano.attach(line.device);
  const connection = { kind: 'stream', stream: line.host, ...(options.unknown ? {} : { baud }) } as const;
  const device = await run(
    skylinkDriver.open(connection, { clock, log: silentLogger, random: random.next, onEvent: () => {} }),
  );
  const work = async () => {
    for await (const item of device.list(undefined)) {
      if (item.kind !== 'file') continue;
      const [began, cpu] = [clock.monotonic(), process.cpuUsage()];
      let offset = 0;
      for await (const piece of device.read(item.file, 0)) {
        assert.ok(Buffer.compare(piece, content.subarray(offset, offset + piece.length)) === 0);
        offset += piece.length;
      }
      assert.equal(offset, bytes);
      const { user, system } = process.cpuUsage(cpu);
      return { elapsedMs: clock.monotonic() - began, cpuMs: (user + system) / 1000 };
    }
    throw new Error('the file is not listed');
  };
  const { elapsedMs, cpuMs } = await run(work());
  const { retries, crcErrors } = device.statistics;
  await device.close();
  await piano.close();
  const bytesPerSecond = (1000 * bytes) / elapsedMs;
  return { bytesPerSecond, used: bytesPerSecond / (baud / 10), retries, crcErrors, cpuMs, elapsedMs };
}
