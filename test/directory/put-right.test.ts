import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { it } from 'node:test';
import { EVERYTHING } from '../../agent/directory/selection.ts';
import { eventually } from '../support/eventually.ts';
import { connect, withClub } from './members.ts';

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

it('a shallow copy that only receives keeps what lies in it, also when its owner has edited it', () =>
  withClub(async (club) => {
    const owner = await club.member('owner');
    const rules = { ...EVERYTHING, direction: 'receive', isShallow: true } as const;
    const reader = await club.member('reader', { share: { rules: EVERYTHING } });
    for (const name of ['song', 'gone']) writeFileSync(owner.at(name), name);
    await owner.share.rescan();
    const connection = connect(owner, reader);
    await eventually('they arrive', () => existsSync(reader.at('song')) && existsSync(reader.at('gone')));
    await reader.share.settled();
    await reader.share.select(rules);
    await reader.share.settled();
    await connection.cut();
    writeFileSync(reader.at('song'), 'an edit');
    rmSync(reader.at('gone'));
    await reader.share.rescan();
    await reader.share.settled();
    assert.equal(readFileSync(reader.at('song'), 'utf8'), 'an edit', 'nobody has the right one now');
    connect(owner, reader);
    await eventually('it is put right', () => readFileSync(reader.at('song'), 'utf8') === 'song');
    await reader.share.settled();
    const kept = [...reader.share.history('/song')];
    assert.deepEqual(
      kept.map(({ reason }) => reason),
      ['not_permitted'],
    );
    assert.equal(readFileSync(reader.at(kept[0]?.path ?? ''), 'utf8'), 'an edit');
    assert.equal(existsSync(reader.at('gone')), false, 'what is removed here makes room');
    assert.equal(readFileSync(owner.at('gone'), 'utf8'), 'gone');
    assert.equal(reader.share.status().putRightFiles, 1);
  }));

it('what never was part of the share is given to nobody who makes a record with its checksum', () =>
  withClub(async (club) => {
    const owner = await club.member('owner');
    writeFileSync(owner.at('doc'), 'theirs');
    await owner.share.rescan();
    mkdirSync(join(club.top, 'reader'));
    const own = ['here before joining', 'an edit that was put right', 'beside the share'] as const;
    writeFileSync(join(club.top, 'reader', 'doc'), own[0]);
    const reader = await club.member('reader', {
      level: 'read_only',
      isJoining: true,
      share: { joiningQuiet: 300 },
    });
    const path = reader.at('doc');
    const isTheirs = () => existsSync(path) && readFileSync(path, 'utf8') === 'theirs';
    connect(owner, reader);
    await eventually('the first synchronisation is over', () => !reader.share.status().isJoining);
    writeFileSync(path, own[1]);
    await eventually('it is put right', () => isTheirs() && reader.share.status().putRightFiles === 1);
    writeFileSync(reader.at('beside'), own[2]);
    await eventually('a file lies beside the share', () => reader.share.status().besideFiles === 1);
    await reader.share.rescan();
    // What was in the share once, and is only in the reader's archive, still comes back.
    writeFileSync(owner.at('doc'), 'theirs, too');
    await eventually(
      'it is replaced',
      () => existsSync(path) && readFileSync(path, 'utf8') === 'theirs, too',
    );
    rmSync(owner.at('.clearskies/archive'), { recursive: true, force: true });
    owner.database.transaction(() => {
      for (const [i, contents] of [...own, 'theirs'].entries()) {
        const sha256 = createHash('sha256').update(contents).digest('hex');
        owner.database.put(`/asked${i}`, { size: contents.length, sha256 });
      }
    });
    await eventually('the last one is there', () => existsSync(owner.at(`asked${own.length}`)));
    for (const member of [owner, reader]) await member.share.settled();
    for (const i of own.keys())
      for (const member of [owner, reader]) assert.equal(existsSync(member.at(`asked${i}`)), false, own[i]);
  }));
