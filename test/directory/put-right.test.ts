import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { it } from 'node:test';
import { connect, eventually, withClub } from './members.ts';

/** Makes a file so that nobody can move or change it (chattr(1)); false where that is not possible. */
function fasten(path: string): boolean {
  try {
    execFileSync('chattr', ['+i', path], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

it('an edit of a read-only member that can not be put right is a problem that is told, and put right later', (t) =>
  withClub(async (club) => {
    const owner = await club.member('owner');
    const reader = await club.member('reader', { level: 'read_only', share: { rescanPeriod: 300 } });
    connect(owner, reader);
    writeFileSync(owner.at('song.mid'), 'theirs');
    await eventually('the file arrives', () => reader.events.some(({ kind }) => kind === 'placed'));
    const path = reader.at('song.mid');
    writeFileSync(path, 'not mine to change');
    if (!fasten(path)) return t.skip('chattr does not work here');
    try {
      await eventually('the problem is told', () =>
        reader.share.problems().some(({ code }) => code === 'files.not_permitted'),
      );
    } finally {
      execFileSync('chattr', ['-i', path]);
    }
    await eventually('it is put right', () => existsSync(path) && readFileSync(path, 'utf8') === 'theirs');
    assert.equal([...reader.share.history('/song.mid')].length, 1);
  }));
