/** What of TLS this side offers and takes. */

import type { SrpGroupBits } from '../../crypto/srp-groups.ts';

/** RFC 5054, 2.7. */
export interface TlsSuite {
  readonly name: TlsSuiteName;
  readonly number: number;
  readonly keyBytes: 16 | 32;
}

export type TlsSuiteName = 'TLS_SRP_SHA_WITH_AES_256_CBC_SHA' | 'TLS_SRP_SHA_WITH_AES_128_CBC_SHA';

export const TLS_SUITES: Readonly<Record<TlsSuiteName, TlsSuite>> = {
  TLS_SRP_SHA_WITH_AES_256_CBC_SHA: {
    name: 'TLS_SRP_SHA_WITH_AES_256_CBC_SHA',
    number: 0xc020,
    keyBytes: 32,
  },
  TLS_SRP_SHA_WITH_AES_128_CBC_SHA: {
    name: 'TLS_SRP_SHA_WITH_AES_128_CBC_SHA',
    number: 0xc01d,
    keyBytes: 16,
  },
};

/** What is left out has the default of `DEFAULT_TLS_POLICY`. */
export interface TlsPolicy {
  /** Offered or accepted, the preferred first. */
  readonly suites?: readonly TlsSuiteName[];
  /** A server uses the first; a client accepts all of them. */
  readonly groups?: readonly SrpGroupBits[];
  /** RFC 7627. False only for an old peer: without it, two connections with different peers can share a master secret. */
  readonly requireExtendedMasterSecret?: boolean;
  /** RFC 7366. False only for an old peer: MAC-then-encrypt can't be made free of timing differences in JavaScript. */
  readonly requireEncryptThenMac?: boolean;
}

export const DEFAULT_TLS_POLICY: Required<TlsPolicy> = {
  suites: ['TLS_SRP_SHA_WITH_AES_256_CBC_SHA', 'TLS_SRP_SHA_WITH_AES_128_CBC_SHA'],
  groups: [3072, 2048, 4096, 8192],
  requireExtendedMasterSecret: true,
  requireEncryptThenMac: true,
};
