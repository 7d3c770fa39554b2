/** Which of two connections to the same peer of a club stays (docs/protocol.md, section 4). */

import type { AccessLevel } from './session.ts';

/** What both sides know alike of a connection. */
export interface Candidate {
  readonly level: AccessLevel;
  /** The peer's process, if it told. */
  readonly instance: string | undefined;
  readonly dialledBy: 'us' | 'them';
}

/** `wait`: give the peer, who dialled both, time to close the one that it doesn't want; then keep the newer. */
export type Verdict = 'older' | 'newer' | 'wait';

/**
 * Both sides must come to the same end without talking about it, in whatever order they see the two connections.
 * @param self our peer ID.
 * @param peer the other side's.
 */
export function judgeDuplicate(older: Candidate, newer: Candidate, self: string, peer: string): Verdict {
  // Before all else: who may only read must not end the connection of one who may write by taking its name.
  if (older.level !== newer.level) return newer.level === 'read_write' ? 'newer' : 'older';
  // The peer was restarted: nobody is behind the older one any more.
  if (older.instance !== undefined && newer.instance !== undefined && older.instance !== newer.instance) {
    return 'newer';
  }
  if (older.dialledBy !== newer.dialledBy) {
    const lowerSide = self < peer ? 'us' : 'them';
    return newer.dialledBy === lowerSide ? 'newer' : 'older';
  }
  // Only the side that dialled twice knows in which order, and whether it has given the older one up.
  return newer.dialledBy === 'us' ? 'older' : 'wait';
}

/** Notices copies of a peer: a process that was replaced by another one and comes back was never gone. */
export class InstanceHistory {
  readonly #replaced = new Map<string, readonly string[]>();

  /** The connection of the peer's process `instance` gave way to that of another one. */
  replaced(peer: string, instance: string | undefined): void {
    if (instance === undefined) return;
    const known = this.#replaced.get(peer) ?? [];
    this.#replaced.delete(peer);
    this.#replaced.set(peer, [instance, ...known].slice(0, REMEMBERED_INSTANCES));
    const [oldest] = this.#replaced.keys();
    if (this.#replaced.size > REMEMBERED_PEERS && oldest !== undefined) this.#replaced.delete(oldest);
  }

  wasReplaced(peer: string, instance: string | undefined): boolean {
    return instance !== undefined && this.#replaced.get(peer)?.includes(instance) === true;
  }
}

const REMEMBERED_INSTANCES = 8;
const REMEMBERED_PEERS = 1_024;
