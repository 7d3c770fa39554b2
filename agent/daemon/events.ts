/** What happens in shares, as events for who watches. */

import type { Club } from '../club/club.ts';
import type { AgentEvent } from '../control/messages.ts';
import type { Change } from '../database/database.ts';
import type { ShareEvent } from '../directory/share.ts';

type Untimed = Omit<AgentEvent, 'time'>;

export function shareEvents(club: Club, event: ShareEvent): Untimed[] {
  switch (event.kind) {
    case 'placed':
      return [{ event: 'file_added', share: club.id, path: event.path, size: Number(event.size) }];
    case 'conflict':
      return [{ event: 'conflict', share: club.id, path: event.path }];
    case 'put_right':
      return [{ event: 'edit_put_right', share: club.id, path: event.path }];
    case 'problems':
      return event.problems.map(({ code, message }) => ({ event: 'problem', share: club.id, code, message }));
  }
}

/** Changes of records; that of another member's file is told when it has arrived, by `shareEvents`. */
export function recordEvents(club: Club, changes: readonly Change[]): Untimed[] {
  return changes.flatMap((change) => {
    const event = recordEvent(change);
    return event === undefined || change.after.key === '/' ? [] : [{ ...event, share: club.id }];
  });
}

function recordEvent({ before, after, origin }: Change): Untimed | undefined {
  const path = after.key;
  const wasLive = before !== undefined && !before.deleted;
  if (after.deleted) return wasLive ? { event: 'file_removed', path: before.key } : undefined;
  if (wasLive && before.key !== path) return { event: 'file_renamed', path, from: before.key };
  if (origin !== 'local') return undefined;
  return { event: wasLive ? 'file_changed' : 'file_added', path };
}
