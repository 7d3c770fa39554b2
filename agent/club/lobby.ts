/**
 * Room for connections that have not proved anything yet (docs/protocol.md, section 4: at most 64). When it is full the
 * oldest goes: who is honest is through in a fraction of a second, who holds places only pushes out its own.
 */

import type { Clock } from '../base/clock.ts';
import { environmentError } from '../base/errors.ts';
import type { ByteStream } from '../base/stream.ts';
import type { Attempt } from './attempt.ts';
import { hostGroup } from './guessing.ts';

export interface Lobby {
  /** Takes a place; `evict` is called when another one needs it. @returns how to leave it. */
  enter(host: string, evict: () => void): () => void;
  readonly size: number;
}

export interface LobbyLimits {
  readonly places: number;
  /** Of which one address (IPv6: one /64) may have so many. */
  readonly placesForHost: number;
}

interface Guest {
  readonly group: string;
  readonly evict: () => void;
}

export function openLobby(limits: LobbyLimits): Lobby {
  // In the order of their coming.
  const guests = new Set<Guest>();

  const countOf = (group: string) => {
    let count = 0;
    for (const guest of guests) if (guest.group === group) count += 1;
    return count;
  };
  const evictOldest = (group: string) => {
    for (const guest of guests) {
      if (guest.group !== group) continue;
      guests.delete(guest);
      guest.evict();
      return;
    }
  };
  const largestGroup = (): string => {
    const counts = new Map<string, number>();
    for (const { group } of guests) counts.set(group, (counts.get(group) ?? 0) + 1);
    let largest = '';
    let most = 0;
    for (const [group, count] of counts) {
      if (count <= most) continue;
      largest = group;
      most = count;
    }
    return largest;
  };

  return {
    enter(host, evict) {
      const group = hostGroup(host);
      if (countOf(group) >= limits.placesForHost) evictOldest(group);
      else if (guests.size >= limits.places) evictOldest(largestGroup());
      const guest = { group, evict };
      guests.add(guest);
      return () => void guests.delete(guest);
    },
    get size() {
      return guests.size;
    },
  };
}

/** A refused peer has so long to go, milliseconds, and may send so much meanwhile. */
const SEEING_OFF_MS = 2_000;
const SEEING_OFF_BYTES = 1_048_576;

/**
 * Lets go of a connection that was refused and closed on our side: as soon as the other side has closed too, for which it
 * must have seen the refusal, or after a moment, or when the attempt is given up. Never rejects.
 */
export async function seeOff(stream: ByteStream, attempt: Attempt, clock: Clock): Promise<void> {
  const over = environmentError('pool.refused', 'the connection was refused');
  const stopAborting = attempt.onAbort((reason) => stream.abort(reason));
  const late = clock.after(SEEING_OFF_MS, () => stream.abort(over));
  for (let skipped = 0; skipped < SEEING_OFF_BYTES; ) {
    const bytes = await stream.read().catch(() => null);
    if (bytes === null) break;
    skipped += bytes.length;
  }
  late.cancel();
  stopAborting();
  stream.abort(over);
}
