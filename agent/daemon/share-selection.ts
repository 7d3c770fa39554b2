/** What is kept of each share here: in the share's settings, so that it outlasts restarts, and handed to the open share. */

import { EXIT, environmentError, userError } from '../base/errors.ts';
import type { Json } from '../base/json.ts';
import type { Club } from '../club/club.ts';
import type { Registry } from '../club/registry.ts';
import {
  changedRules,
  decodeRules,
  EVERYTHING,
  encodeRules,
  type SelectionChange,
  type SelectionRules,
} from '../directory/selection.ts';

const SETTING = 'selection';

/** @throws SkylarkError (environment) `share.settings_damaged`. */
export function selectionOf({ name, settings }: Pick<Club, 'name' | 'settings'>): SelectionRules {
  const stored = settings.get(SETTING);
  if (stored === undefined) return EVERYTHING;
  try {
    return decodeRules(stored);
  } catch (cause) {
    // Without them, what was ignored would be sent to everybody.
    throw environmentError('share.settings_damaged', `what is kept of the share ${name} can't be read`, {
      cause,
      remedy: 'put back a copy of the state file, or leave the share and join it again',
      exitCode: EXIT.configuration,
    });
  }
}

/** The settings of a new share. @throws SkylarkError (user) `ignore.*`, `only.*`. */
export function selectionSettings(change: SelectionChange | undefined): ReadonlyMap<string, Json> {
  return change === undefined
    ? new Map()
    : new Map([[SETTING, encodeRules(changedRules(EVERYTHING, change))]]);
}

/** @throws SkylarkError (user) `share.can_not_send`. */
export function checkMaySend(level: Club['level'], change: SelectionChange | undefined): void {
  if (level === 'read_write' || change?.direction !== 'send') return;
  throw userError('share.can_not_send', 'the share is read-only here: this device can only receive it', {
    remedy: 'leave out the direction, or join with a code that was made with --mode read_write',
    exitCode: EXIT.notPermitted,
  });
}

export interface ChangedParts {
  readonly registry: Pick<Registry, 'configure'>;
  /** Undefined while it is not open: it begins with what is stored. */
  readonly share: { select(rules: SelectionRules): Promise<void> } | undefined;
}

/**
 * Changes what is kept, durably, and resolves when the share has noted it; the folder follows. If it can't be noted, the
 * earlier choice stays the one that is stored and in force.
 * @throws SkylarkError (user) `ignore.*`, `only.*`, `share.can_not_send`; (environment) `sqlite.*`.
 */
export async function changeSelection(
  club: Club,
  change: SelectionChange,
  { registry, share }: ChangedParts,
): Promise<SelectionRules> {
  checkMaySend(club.level, change);
  const before = selectionOf(club);
  const rules = changedRules(before, change);
  const store = (stored: SelectionRules) =>
    registry.configure(club.id, { settings: new Map([[SETTING, encodeRules(stored)]]) });
  await store(rules);
  try {
    await share?.select(rules);
  } catch (thrown) {
    // What is told of it must be true. If that fails, too, the next start does what was asked for.
    await store(before).catch(() => undefined);
    throw thrown;
  }
  return rules;
}
