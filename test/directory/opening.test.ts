/** When a share may say that it is in step: not while it is still finding out what was done in its folder. */

import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { it } from 'node:test';
import { MARKS } from '../../agent/directory/index-table.ts';
import { eventually } from '../support/eventually.ts';
import { withClub } from './members.ts';

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

it('does not count as in step while something is missed and may yet turn up elsewhere', () =>
  withClub(async (club) => {
    const a = await club.member('a');
    for (let i = 0; i < 30; i++) writeFileSync(a.at(`song ${i}`), `song ${i}`);
    await a.share.rescan();
    const gone = a.sqlite.prepare(
      `SELECT count(*) AS count FROM directory_file WHERE mark = ${MARKS.indexOf('gone')}`,
    );
    const isMissed = () => Number(gone.get()?.count) > 0;
    const claims = () => [a.share.status().isSynced, a.share.status().isRecorded, a.share.holding];
    rmSync(a.at('song 0'));
    await eventually('it is missed', isMissed);
    assert.deepEqual(claims(), [false, false, 'not_yet']);
    await eventually('it is in step', () => a.share.status().isSynced);
    assert.equal(a.database.get('/song 0'), undefined, 'and the deletion is known by then');

    for (let i = 1; i < 30; i++) rmSync(a.at(`song ${i}`));
    await eventually('the deletions are held', () => a.share.problems().length > 0);
    assert.deepEqual(claims(), [false, false, 'not_yet']);
    await a.share.accept();
    await eventually('it is in step', () => a.share.status().isSynced);
    assert.deepEqual(claims(), [true, true, 'all']);
  }));
