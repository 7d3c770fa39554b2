/** A stream on which bytes are damaged and lost, in both directions, as on a bad cable. */

import type { ByteStream } from '../../agent/base/stream.ts';
import type { Random } from './random.ts';

/** Probabilities for each byte; they may change at any time. */
export interface Disturbance {
  /** One bit is flipped. */
  readonly corrupt: number;
  /** It never arrives. */
  readonly drop: number;
}

export function disturbed(stream: ByteStream, disturbance: Disturbance, random: Random): ByteStream {
  const pass = (bytes: Uint8Array): Uint8Array => {
    const { corrupt, drop } = disturbance;
    if (corrupt === 0 && drop === 0) return bytes;
    const kept: number[] = [];
    for (const byte of bytes) {
      if (random.chance(drop)) continue;
      kept.push(random.chance(corrupt) ? byte ^ (1 << random.integer(0, 7)) : byte);
    }
    return Uint8Array.from(kept);
  };
  return {
    label: stream.label,
    async read() {
      for (;;) {
        const bytes = await stream.read();
        const passed = bytes && pass(bytes);
        if (passed === null || passed.length > 0) return passed;
      }
    },
    async write(bytes) {
      const passed = pass(bytes);
      if (passed.length > 0) await stream.write(passed);
    },
    close: () => stream.close(),
    abort: (reason) => stream.abort(reason),
  };
}
