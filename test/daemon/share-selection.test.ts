/** What is stored of a share's selection, when it can and when it can't be put into force. */

import assert from 'node:assert/strict';
import { it } from 'node:test';
import { environmentError } from '../../agent/base/errors.ts';
import type { Json } from '../../agent/base/json.ts';
import type { Club } from '../../agent/club/club.ts';
import { changeSelection, selectionOf, selectionSettings } from '../../agent/daemon/share-selection.ts';
import type { SelectionRules } from '../../agent/directory/selection.ts';

/** A share that takes what it is given, or can't note it. */
function setting(canNote: boolean) {
  let settings: ReadonlyMap<string, Json> = selectionSettings({ ignore: ['*.tmp'] });
  const selected: SelectionRules[] = [];
  const club = {
    id: 'c1',
    name: 'Music',
    level: 'read_write',
    get settings() {
      return settings;
    },
  } as Club;
  const parts: Parameters<typeof changeSelection>[2] = {
    registry: {
      async configure(_, changed) {
        settings = new Map([...settings, ...(changed.settings ?? [])]);
      },
    },
    share: {
      async select(rules) {
        if (!canNote) throw environmentError('sqlite.disk_full', 'the database is full');
        selected.push(rules);
      },
    },
  };
  return { club, parts, selected };
}

it('is stored and in force', async () => {
  const { club, parts, selected } = setting(true);
  await changeSelection(club, { isShallow: true }, parts);
  assert.deepEqual(selected, [selectionOf(club)]);
  assert.deepEqual([selectionOf(club).isShallow, selectionOf(club).ignore], [true, ['*.tmp']]);
});

it('stays as it was when the share can not note it', async () => {
  const { club, parts } = setting(false);
  const before = selectionOf(club);
  await assert.rejects(changeSelection(club, { ignore: ['x'] }, parts), { code: 'sqlite.disk_full' });
  assert.deepEqual(selectionOf(club), before);
});
