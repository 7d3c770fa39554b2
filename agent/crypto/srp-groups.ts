/**
 * The groups of RFC 5054, appendix A, that Skylark takes part in. The RFC's 3072, 4096 and 8192 bit primes are those of
 * RFC 3526, which the platform carries; 1024 and 1536 bits are too short; GnuTLS refuses 6144.
 */

import { getDiffieHellman } from 'node:crypto';
import { concatBytes, equalBytes, fromHex } from '../base/bytes.ts';
import { sha1 } from './hash.ts';
import { fromBigInt, toBigInt, withoutLeadingZeros } from './mod-exp.ts';

export interface SrpGroup {
  readonly bits: number;
  /** Big-endian, without leading zeros. */
  readonly prime: Uint8Array;
  /** Big-endian, without leading zeros. */
  readonly generator: Uint8Array;
  readonly N: bigint;
  readonly g: bigint;
  /** The multiplier k = SHA1(N | PAD(g)), RFC 5054, 2.5.3. */
  readonly k: bigint;
}

export type SrpGroupBits = 2048 | 3072 | 4096 | 8192;

export function srpGroup(prime: Uint8Array, generator: number): SrpGroup {
  const N = toBigInt(prime);
  const g = BigInt(generator);
  const shortest = fromBigInt(N);
  return {
    bits: N.toString(2).length,
    prime: shortest,
    generator: fromBigInt(g),
    N,
    g,
    k: toBigInt(sha1(shortest, fromBigInt(g, shortest.length))),
  };
}

const made = new Map<SrpGroupBits, SrpGroup>();

export function srpGroupOf(bits: SrpGroupBits): SrpGroup {
  let group = made.get(bits);
  if (group === undefined) {
    group = MAKE[bits]();
    made.set(bits, group);
  }
  return group;
}

/** The group among `allowed` that has exactly this prime and generator (leading zeros don't matter). */
export function findSrpGroup(
  prime: Uint8Array,
  generator: Uint8Array,
  allowed: readonly SrpGroupBits[],
): SrpGroup | undefined {
  const N = withoutLeadingZeros(prime);
  const g = withoutLeadingZeros(generator);
  return allowed
    .map(srpGroupOf)
    .find((group) => equalBytes(group.prime, N) && equalBytes(group.generator, g));
}

const MAKE: Record<SrpGroupBits, () => SrpGroup> = {
  2048: () => srpGroup(fromHex(PRIME_2048), 2),
  3072: () => srpGroup(platformPrime('modp15'), 5),
  4096: () => srpGroup(platformPrime('modp16'), 5),
  8192: () => srpGroup(platformPrime('modp18'), 19),
};

function platformPrime(name: string): Uint8Array {
  return concatBytes(getDiffieHellman(name).getPrime());
}

const PRIME_2048 =
  'ac6bdb41324a9a9bf166de5e1389582faf72b6651987ee07fc3192943db56050a37329cbb4a099ed8193e0757767a13d' +
  'd52312ab4b03310dcd7f48a9da04fd50e8083969edb767b0cf6095179a163ab3661a05fbd5faaae82918a9962f0b93b8' +
  '55f97993ec975eeaa80d740adbf4ff747359d041d5c33ea71d281e446b14773bca97b43a23fb801676bd207a436c6481' +
  'f1d2b9078717461a5b9d32e688f87748544523b524b0d57d5ea77a2775d2ecfa032cfbdbf52fb3786160279004e57ae6' +
  'af874e7303ce53299ccc041c7bc308d82a5698f3a8d0c38271ae35f8e9dbfbb694b5c803d89f7ae435de236d525f5475' +
  '9b65e372fcd68ef20fa7111f9e4aff73';
