/** A crash in the middle of a change, and a restart before the medium of the share is there. */

import assert from 'node:assert/strict';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { it } from 'node:test';
import { openSqlite } from '../../agent/platform/sqlite.ts';
import { eventually } from '../support/eventually.ts';
import { connect, type Member, withClub } from './members.ts';

/** As a crash leaves it: the file is in the archive, and nothing but the intent says why. */
function interrupted(member: Member, name: string): void {
  const sqlite = openSqlite(join(dirname(member.folder), `${member.name}.db`));
  const { id } = sqlite
    .prepare<{ id: bigint }>(
      `INSERT INTO directory_archive(club, key, size, mtime, mode, at, reason)
       VALUES('club', ?, 4, 0, 420, 0, 'replaced') RETURNING id`,
    )
    .get(`/${name}`) ?? { id: 0n };
  renameSync(
    member.at(name),
    member.at(`.clearskies/archive/0000/${id.toString(16).padStart(8, '0')}-${name}`),
  );
  sqlite
    .prepare('INSERT INTO directory_intent(club, intents) VALUES(?, ?)')
    .run('club', `[{"op":"remove","archived":${id},"path":"/${name}"}]`);
  sqlite.close();
}

it('what we were about to do is not taken for a change of the owner when the folder comes back later', () =>
  withClub(async (club) => {
    const [a, b] = [await club.member('a'), await club.member('b')];
    for (const name of ['song', 'other']) writeFileSync(a.at(name), name);
    await a.share.rescan();
    connect(a, b);
    await eventually('they arrive', () => existsSync(b.at('song')) && existsSync(b.at('other')));
    writeFileSync(a.at('other'), 'for the archive to be there');
    await a.share.rescan();
    await eventually('it changes', () => existsSync(b.at('.clearskies/archive/0000')));
    await b.share.settled();
    await b.close();
    interrupted(b, 'song');

    const away = join(dirname(b.folder), 'away');
    renameSync(b.folder, away);
    await b.open();
    await eventually('it is told', () =>
      b.share.problems().some(({ code }) => code.startsWith('share.root_')),
    );
    renameSync(away, b.folder);
    await eventually('it is back', () => b.share.problems().length === 0);
    await b.share.settled();
    assert.equal(b.database.get('/song')?.deleted, false);
    connect(a, b);
    await eventually('it is put back', () => existsSync(b.at('song')));
    assert.equal(readFileSync(a.at('song'), 'utf8'), 'song');
  }));
