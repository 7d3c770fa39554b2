/**
 * Whether a member has certain contents, shown by samples at places that nobody can foresee. Who only knows their SHA-256
 * can make a record of them, and would get from us what was never part of the share.
 */

import { toHex } from '../base/bytes.ts';
import { randomBytes } from '../crypto/random.ts';
import type { OpenFile } from '../platform/files.ts';
import type { Demand } from './demand.ts';

/** A file of at most as many samples is compared as a whole. */
const SAMPLES = 16;
const SAMPLE = 4_096n;

/**
 * @param file here, with these contents
 * @throws SkylarkError (environment) `files.*` if it can't be read; the signal's reason.
 */
export async function isWithMember(
  file: OpenFile,
  sha256: string,
  demand: Pick<Demand, 'collect'>,
  signal: AbortSignal,
): Promise<boolean> {
  const { size } = file.facts;
  let isRight = true;
  const outcome = await demand.collect(
    {
      sha256,
      size,
      ranges: rangesIn(size),
      begin: () => {
        isRight = true;
      },
      write: async (bytes, position) => {
        const own = new Uint8Array(bytes.length);
        const count = await file.read(own, position);
        if (count !== bytes.length || own.some((byte, i) => byte !== bytes[i])) isRight = false;
      },
      verify: async () => isRight,
    },
    signal,
  );
  return outcome === 'collected';
}

function rangesIn(size: bigint): readonly (readonly [bigint, bigint])[] {
  if (size <= SAMPLE * BigInt(SAMPLES)) return [[0n, size]];
  return Array.from({ length: SAMPLES }, () => {
    const random = BigInt(`0x${toHex(randomBytes(8))}`);
    return [random % (size - SAMPLE + 1n), SAMPLE] as const;
  });
}
