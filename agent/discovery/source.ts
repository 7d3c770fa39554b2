/**
 * Finding other members. There are many ways (broadcast in the local network, addresses given or remembered; later mDNS,
 * trackers, MQTT), and each is a source: it is told what we seek, announces us where it can, and gives candidates, places
 * where somebody who has one of the IDs may be. The dialler (dialler.ts) decides which of them to try, and when.
 *
 * A source only ever says "seen". That somebody was not seen says nothing: broadcasts get lost, trackers sleep.
 *
 * The ID is an access ID or a key ID: discovery does not know the difference (core.md, "Peer Discovery").
 */

import type { Endpoint } from '../base/endpoint.ts';

/** An ID that we have the secret of, and so can be found under, and find others under. */
export interface SoughtId {
  /** Access ID or key ID: 64 hexadecimal digits. */
  readonly id: string;
  /** Our own peer ID under it: 32 hexadecimal digits. */
  readonly peer: string;
  /** Versions of the secure channel that we accept for it, the preferred one first. */
  readonly establish: readonly number[];
  /**
   * What the ID belongs to: a connection to a peer under one ID of a club serves the others, too. A joiner has none yet and
   * makes a name up.
   */
  readonly club: string;
  /** Of several IDs of a club, the highest is tried first: the read-write key's before the read-only one's. */
  readonly preference: number;
}

export interface Announcement {
  /** Where we accept connections; `::` and `0.0.0.0` stand for all addresses. Undefined: nowhere, so nothing is announced. */
  readonly listen: Endpoint | undefined;
  readonly ids: readonly SoughtId[];
}

/** In the order in which the dialler believes them. */
export type SourceName = 'lan' | 'remembered' | 'manual';

/** A place where a peer may be. From outside: anything in it may be a lie. */
export interface Candidate {
  readonly id: string;
  /** `host` may be a name if a person gave it; it is resolved at each dial. */
  readonly address: Endpoint;
  /** Peer ID, if the source knows it. */
  readonly peer: string | undefined;
  /** Versions of the secure channel that it is said to accept; never empty. */
  readonly versions: readonly number[];
  readonly source: SourceName;
  /** Milliseconds on the monotonic clock. */
  readonly seenAt: number;
}

export interface DiscoverySource {
  readonly name: SourceName;
  /** What we seek and announce from now on, complete. What is new is announced at once. */
  announce(announcement: Announcement): void;
  /** The network changed, or the machine slept: what was announced may have been lost. */
  refresh(): void;
  close(): Promise<void>;
}

/** The version of the secure channel that every ClearSkies peer has. */
export const DEFAULT_VERSIONS: readonly number[] = [1];
