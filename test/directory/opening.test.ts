/** A share right after its opening: what was done in the folder meanwhile is not known yet. */

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { it } from 'node:test';
import { eventually, withClub } from './members.ts';

it('does not count as in step before the folder was looked at', () =>
  withClub(async (club) => {
    const a = await club.member('a');
    for (let i = 0; i < 300; i++) writeFileSync(a.at(`song ${i}`), `song ${i}`);
    await a.share.rescan();
    assert.equal(a.share.status().isSynced, true);
    await a.close();
    for (let i = 0; i < 300; i++) writeFileSync(a.at(`song ${i}`), `another song ${i}`);
    await a.open();
    const { isSynced, isRecorded } = a.share.status();
    assert.deepEqual({ isSynced, isRecorded }, { isSynced: false, isRecorded: false });
    assert.equal(a.share.holding, 'not_yet');
    await eventually('it is in step', () => a.share.status().isSynced);
    const size = BigInt('another song 0'.length);
    const { files, bytes } = a.share.status();
    assert.equal(files, 300);
    assert.ok(bytes >= 300n * size, 'and what was changed is known by then');
  }));
