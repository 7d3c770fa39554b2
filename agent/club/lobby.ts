/**
 * Room for connections that have not proved anything yet (docs/protocol.md, section 4: at most 64). When it is full the
 * oldest goes: who is honest is through in a fraction of a second, who holds places only pushes out its own.
 */

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
