/** Two and three whole shares in one process, joined by real sessions over memory: what members do to each other's folders. */

import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import {
  chmod,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { describe, it } from 'node:test';
import { connect, type Member, withClub } from '../directory/members.ts';
import { eventually } from '../support/eventually.ts';
import { sameTree, treeOf } from '../support/folder-tree.ts';

function same(a: Member, b: Member, what: string): Promise<void> {
  return eventually(what, () => sameTree(a.folder, b.folder, { times: true })).catch(async (thrown) => {
    const [left, right] = [await treeOf(a.folder, { times: true }), await treeOf(b.folder, { times: true })];
    const only = (x: string[], y: string[]) => x.filter((line) => !y.includes(line));
    throw new Error(`${what}; only ${a.name}: ${only(left, right)}; only ${b.name}: ${only(right, left)}`, {
      cause: thrown,
    });
  });
}

async function settled(...members: Member[]): Promise<void> {
  await eventually('everything is in step', () => members.every(({ share }) => share.status().isSynced));
}

/** Contents of everything that the member keeps hidden. */
async function archived(member: Member): Promise<string[]> {
  const folder = member.at('.clearskies/archive');
  const names = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  return Promise.all(
    names
      .filter((entry) => entry.isFile())
      .map((entry) => readFile(`${entry.parentPath}/${entry.name}`, 'utf8')),
  );
}

describe('two shares show the same', () => {
  it('after creating, editing, renaming and deleting, with folders, modes and times', () =>
    withClub(async (club) => {
      const a = await club.member('a');
      const b = await club.member('b');
      connect(a, b);
      await mkdir(a.at('deep/er'), { recursive: true });
      await mkdir(a.at('empty folder'));
      await writeFile(a.at('deep/er/song.mid'), Buffer.alloc(300_000, 'MThd'));
      await writeFile(a.at('zero'), '');
      await writeFile(a.at('run.sh'), '#!/bin/sh\n');
      await chmod(a.at('run.sh'), 0o4750);
      await utimes(a.at('run.sh'), 1_000_000_000.25, 1_000_000_000.5);
      await chmod(a.at('empty folder'), 0o711);
      await eventually('it is there', () =>
        stat(b.at('run.sh')).then(
          () => true,
          () => false,
        ),
      );
      // Set-user-id is the left one's own business.
      await chmod(a.at('run.sh'), 0o750);
      await same(a, b, 'what was created');
      assert.equal((await treeOf(b.folder)).length, 6);
      await writeFile(b.at('zero'), 'not any more');
      await same(a, b, 'an edit');
      await rename(a.at('deep/er'), a.at('shallow'));
      await rename(b.at('zero'), b.at('one'));
      await same(a, b, 'renames on both sides');
      await rm(b.at('shallow'), { recursive: true });
      await rm(a.at('empty folder'), { recursive: true });
      await same(a, b, 'deletions');
      await chmod(b.at('run.sh'), 0o600);
      await utimes(a.at('one'), 5, 5.125);
      await same(a, b, 'mode and time alone');
      await rm(a.at('one'));
      await mkdir(a.at('one'));
      await writeFile(a.at('one/inside'), 'a folder where a file was');
      await same(a, b, 'a folder in the place of a file');
      await rm(b.at('one'), { recursive: true });
      await writeFile(b.at('one'), 'and back');
      await same(a, b, 'a file in the place of a folder');
      assert.deepEqual(b.share.status().problems, []);
    }));

  it('whatever the names are', () =>
    withClub(async (club) => {
      const a = await club.member('a');
      const b = await club.member('b');
      const names = [
        'with spaces.txt',
        'emoji 🎹🎶.mid',
        'new\nline.txt',
        `${'x'.repeat(251)}.txt`,
        'é composed',
        'e\u0301 decomposed',
        'é',
        'e\u0301',
        'Case',
        'case',
        '-rf',
        'quote"\'`$(true).sh',
        'tab\there',
        'right-to-left \u202Etxt.exe',
        'back\\slash',
        '...',
        'trailing dot.',
        '__proto__',
      ];
      for (const name of names) await writeFile(a.at(name), `content of ${name}`);
      await mkdir(a.at('\u0001'));
      connect(a, b);
      await same(a, b, 'odd names');
      assert.equal((await treeOf(b.folder)).length, names.length + 1);
    }));

  it('after 2,000 small files in many folders', () =>
    withClub(async (club) => {
      const a = await club.member('a');
      const b = await club.member('b');
      for (let folder = 0; folder < 20; folder++) {
        await mkdir(a.at(`folder ${folder}`));
        for (let i = 0; i < 100; i++) await writeFile(a.at(`folder ${folder}/${i}`), `${folder} ${i}`);
      }
      await eventually('all are noted', () => a.share.status().files === 2_000 && a.share.status().isSynced);
      connect(a, b);
      await same(a, b, 'small files');
      await settled(a, b);
      assert.equal(b.share.status().files, 2_000);
    }));

  it('of a large sparse file, which is fetched in ranges and verified', () =>
    withClub(async (club) => {
      const a = await club.member('a');
      const b = await club.member('b');
      const file = await open(a.at('sparse'), 'w');
      await file.truncate(80_000_000);
      await file.write('in the middle', 50_000_000);
      await file.close();
      connect(a, b);
      await same(a, b, 'a sparse file');
    }));

  it('without a transfer when it is here already: copies, renames, and what the archive has', () =>
    withClub(async (club) => {
      const a = await club.member('a');
      const b = await club.member('b');
      connect(a, b);
      const contents = randomBytes(400_000);
      await writeFile(a.at('original'), contents);
      await same(a, b, 'the original');
      const before = b.share.traffic().received;
      assert.equal(before, contents.length);
      await writeFile(a.at('copy'), contents);
      await same(a, b, 'a copy');
      await rename(a.at('original'), a.at('renamed'));
      await same(a, b, 'a rename');
      await rm(a.at('renamed'));
      await rm(a.at('copy'));
      await same(a, b, 'all gone');
      await writeFile(a.at('again'), contents);
      await same(a, b, 'contents that the archive has');
      assert.equal(b.share.traffic().received, before);
    }));

  it('after two files have swapped their names', () =>
    withClub(async (club) => {
      const a = await club.member('a');
      const b = await club.member('b');
      await writeFile(a.at('one'), 'first');
      await writeFile(a.at('two'), 'second');
      const connection = connect(a, b);
      await same(a, b, 'both');
      await connection.cut();
      await rename(a.at('one'), a.at('three'));
      await rename(a.at('two'), a.at('one'));
      await rename(a.at('three'), a.at('two'));
      await a.share.rescan();
      connect(a, b);
      await same(a, b, 'swapped');
      assert.equal(await readFile(b.at('one'), 'utf8'), 'second');
    }));

  it('in a chain of three, the middle one passing everything on', () =>
    withClub(async (club) => {
      const [a, b, c] = [await club.member('a'), await club.member('b'), await club.member('c')];
      connect(a, b);
      connect(b, c);
      await mkdir(a.at('folder'));
      for (let i = 0; i < 15; i++) await writeFile(a.at(`folder/${i}`), randomBytes(i * 5_000));
      await writeFile(a.at('large'), randomBytes(6_000_000));
      await same(a, c, 'from the first to the last');
      await rm(c.at('folder'), { recursive: true });
      await writeFile(c.at('from the end'), 'hello');
      await same(a, c, 'from the last to the first');
      await same(a, b, 'in the middle too');
    }));

  it('fetched from two peers at the same time', () =>
    withClub(async (club) => {
      const [a, b, c] = [await club.member('a'), await club.member('b'), await club.member('c')];
      await writeFile(a.at('large'), randomBytes(30_000_000));
      connect(a, b);
      await same(a, b, 'two have it');
      await settled(a, b);
      connect(a, c);
      connect(b, c);
      await same(a, c, 'the third has it');
      assert.ok(a.share.traffic().sent > 31_000_000, 'the first served it');
      assert.ok(b.share.traffic().sent > 1_000_000, 'so did the second');
    }));
});

describe('what is replaced or deleted', () => {
  it('is kept in the archive', () =>
    withClub(async (club) => {
      const a = await club.member('a');
      const b = await club.member('b');
      connect(a, b);
      await writeFile(a.at('file'), 'first');
      await same(a, b, 'first');
      await writeFile(a.at('file'), 'second');
      await same(a, b, 'second');
      await rm(a.at('file'));
      await same(a, b, 'gone');
      assert.deepEqual((await archived(b)).sort(), ['first', 'second']);
      const history = [...b.share.history('/file')];
      assert.deepEqual(
        history.map(({ reason }) => reason),
        ['deleted', 'replaced'],
      );
      assert.equal(history[1]?.sha256, createHash('sha256').update('first').digest('hex'));
      // Its owner's own editor keeps what he likes.
      assert.deepEqual(await archived(a), []);
    }));

  it('is limited by size, oldest first', () =>
    withClub(async (club) => {
      const limits = { age: 10n ** 18n, bytes: 250_000n, files: 1_000n };
      const a = await club.member('a');
      const b = await club.member('b', { share: { archive: limits } });
      connect(a, b);
      for (let i = 0; i < 5; i++) {
        await writeFile(a.at('file'), Buffer.alloc(100_000, `${i}`));
        await same(a, b, `version ${i}`);
      }
      assert.equal((await archived(b)).length, 4);
      await b.close();
      await b.open();
      await eventually('old ones are removed', async () => (await archived(b)).length === 2);
      assert.deepEqual((await archived(b)).map((text) => text[0]).sort(), ['2', '3']);
    }));

  it('does not take what the peer does not know with it', () =>
    withClub(async (club) => {
      const a = await club.member('a');
      const b = await club.member('b');
      await mkdir(a.at('folder'));
      await writeFile(a.at('folder/known'), 'known');
      const connection = connect(a, b);
      await same(a, b, 'the folder');
      await connection.cut();
      b.share.pause();
      await writeFile(b.at('folder/unknown'), 'made on the right, not noted yet');
      await rm(a.at('folder'), { recursive: true });
      await a.share.rescan();
      connect(a, b);
      b.share.resume();
      await same(a, b, 'the unknown file is on both sides');
      assert.equal(await readFile(a.at('folder/unknown'), 'utf8'), 'made on the right, not noted yet');
    }));
});

describe('conflicting changes', () => {
  it('are both kept, under the same names on both sides', () =>
    withClub(async (club) => {
      const a = await club.member('a');
      const b = await club.member('b');
      const connection = connect(a, b);
      await writeFile(a.at('song.mid'), 'original');
      await same(a, b, 'the original');
      await settled(a, b);
      await connection.cut();
      await writeFile(a.at('song.mid'), 'changed on the left');
      await a.share.rescan();
      await writeFile(b.at('song.mid'), 'changed on the right');
      await b.share.rescan();
      connect(a, b);
      await eventually('there are two files', async () => (await treeOf(a.folder)).length === 2);
      await same(a, b, 'both have both');
      const names = (await readdir(a.folder)).filter((name) => name.startsWith('song')).sort();
      assert.match(names[0] ?? '', /^song\.CONFLICT\.[a-z2-7]{8}\.mid$/);
      assert.equal(names[1], 'song.mid');
      assert.equal(await readFile(a.at('song.mid'), 'utf8'), 'changed on the right');
      assert.equal(await readFile(a.at(names[0] ?? ''), 'utf8'), 'changed on the left');
      assert.ok(a.events.some(({ kind }) => kind === 'conflict'));
    }));

  it('of one name by two makers are both kept, equal ones are one', () =>
    withClub(async (club) => {
      const a = await club.member('a');
      const b = await club.member('b');
      await writeFile(a.at('different'), 'left');
      await writeFile(b.at('different'), 'right');
      for (const member of [a, b]) {
        await writeFile(member.at('equal'), 'same');
        await utimes(member.at('equal'), 1_000, 1_000);
        await member.share.rescan();
      }
      connect(a, b);
      await eventually('there are three files', async () => (await treeOf(a.folder)).length === 3);
      await same(a, b, 'both have all');
    }));

  it('keep both when a file is edited while its newer version is on its way', () =>
    withClub(async (club) => {
      const a = await club.member('a');
      const b = await club.member('b');
      await writeFile(a.at('file'), 'original');
      connect(a, b);
      await same(a, b, 'the original');
      await settled(a, b);
      const large = randomBytes(20_000_000);
      // The moment the record is there: its contents have yet to be asked for.
      const edited = new Promise<void>((resolve) => {
        const stop = b.database.onCommit((changes) => {
          if (!changes.some(({ after }) => after.key === '/file' && after.lastUpdatedBy === a.self)) return;
          stop();
          writeFileSync(b.at('file'), 'edited on the right');
          resolve();
        });
      });
      await writeFile(a.at('file'), large);
      await edited;
      await eventually('there are two files', async () => (await treeOf(b.folder)).length === 2);
      await same(a, b, 'both have both');
      const contents = await Promise.all(
        (await readdir(b.folder)).filter((n) => n.startsWith('file')).map((name) => readFile(b.at(name))),
      );
      assert.ok(contents.some((bytes) => bytes.equals(large)));
      assert.ok(contents.some((bytes) => bytes.toString() === 'edited on the right'));
    }));

  it('between the deletion of a folder and an edit in it keep the folder for as long as there is something in it', () =>
    withClub(async (club) => {
      const a = await club.member('a');
      const b = await club.member('b');
      const connection = connect(a, b);
      await mkdir(a.at('d'));
      await writeFile(a.at('d/file'), 'original');
      await same(a, b, 'the original');
      await settled(a, b);
      await connection.cut();
      await rm(b.at('d'), { recursive: true });
      await b.share.rescan();
      await writeFile(a.at('d/file'), 'edited later');
      await a.share.rescan();
      connect(a, b);
      await eventually('the edit is on both sides', async () => {
        const texts = await Promise.all([a, b].map((m) => readFile(m.at('d/file'), 'utf8').catch(() => '')));
        return texts.every((text) => text === 'edited later');
      });
      await settled(a, b);
      await rename(a.at('d/file'), a.at('file'));
      await eventually('the folder is gone with it', async () => (await treeOf(a.folder)).length === 1);
      await same(a, b, 'what is left');
    }));

  it('between an edit and a deletion keep the edit', () =>
    withClub(async (club) => {
      const a = await club.member('a');
      const b = await club.member('b');
      const connection = connect(a, b);
      await writeFile(a.at('file'), 'original');
      await same(a, b, 'the original');
      await settled(a, b);
      await connection.cut();
      await writeFile(a.at('file'), 'edited');
      await a.share.rescan();
      await rm(b.at('file'));
      await b.share.rescan();
      connect(a, b);
      await eventually('the edit is on both sides', async () => {
        const texts = await Promise.all(
          [a, b].map(
            async (m) => (await treeOf(m.folder)).length === 1 && (await sameTree(a.folder, b.folder)),
          ),
        );
        return texts.every(Boolean);
      });
      const [name] = (await readdir(a.folder)).filter((n) => n.startsWith('file'));
      assert.equal(await readFile(a.at(name ?? ''), 'utf8'), 'edited');
    }));
});

describe('a read-only member', () => {
  it('puts local changes right, keeps them in the archive, and spreads nothing', () =>
    withClub(async (club) => {
      const a = await club.member('a');
      const reader = await club.member('reader', { level: 'read_only' });
      const other = await club.member('other', { level: 'read_only' });
      connect(a, reader);
      await mkdir(a.at('folder'));
      await writeFile(a.at('folder/file'), 'right');
      await writeFile(a.at('second'), 'stays');
      await same(a, reader, 'what the owner made');
      await settled(a, reader);
      await writeFile(reader.at('folder/file'), 'wrong, and longer');
      await eventually(
        'the edit is undone',
        async () => (await readFile(reader.at('folder/file'), 'utf8').catch(() => '')) === 'right',
      );
      await rm(reader.at('second'));
      await chmod(reader.at('folder'), 0o700);
      await same(a, reader, 'a deletion and a mode are undone');
      await writeFile(reader.at('own'), 'beside the share');
      connect(reader, other);
      await same(a, other, 'another reader has it from the first');
      assert.deepEqual(await archived(reader), ['wrong, and longer']);
      assert.equal(await readFile(reader.at('own'), 'utf8'), 'beside the share');
      assert.equal(a.database.get('/own'), undefined);
    }));
});

describe('joining with a folder that is not empty', () => {
  it('uses what fits, erases nothing, and archives the rest', () =>
    withClub(async (club) => {
      const a = await club.member('a');
      await mkdir(a.at('folder'));
      const large = randomBytes(300_000);
      await writeFile(a.at('folder/fits'), large);
      await writeFile(a.at('elsewhere'), randomBytes(200_000));
      await writeFile(a.at('other'), 'of the club');
      await a.share.rescan();
      const b = await club.member('b', { isJoining: true });
      await b.close();
      await mkdir(b.at('folder'));
      await mkdir(b.at('old/folder'), { recursive: true });
      await writeFile(b.at('folder/fits'), large);
      await writeFile(b.at('under another name'), await readFile(a.at('elsewhere')));
      await writeFile(b.at('other'), 'of the joiner');
      await writeFile(b.at('old/folder/own'), 'in no record');
      await rm(b.at('.clearskies'), { recursive: true });
      const fresh = await club.member('c', { isJoining: true, share: { path: b.folder, joiningQuiet: 500 } });
      connect(a, fresh);
      await eventually('it is in step', () => sameTree(a.folder, b.folder));
      await eventually('joining ends', () => !fresh.share.status().isJoining);
      // What was found under another name was copied to where it belongs.
      assert.deepEqual((await archivedIn(b.folder)).sort(), ['<large>', 'in no record', 'of the joiner']);
      // 16 samples showed that the other member has it, too.
      assert.equal(fresh.share.traffic().received, 'of the club'.length + 16 * 4_096);
      await writeFile(b.at('new'), 'from now on it counts');
      await eventually('a new file spreads', () => sameTree(a.folder, b.folder));
    }));
});

async function archivedIn(folder: string): Promise<string[]> {
  const names = await readdir(`${folder}/.clearskies/archive`, { recursive: true, withFileTypes: true });
  return Promise.all(
    names
      .filter((entry) => entry.isFile())
      .map(async (entry) => {
        const text = await readFile(`${entry.parentPath}/${entry.name}`, 'utf8');
        return text.length > 1_000 ? '<large>' : text;
      }),
  );
}

describe('interruptions', () => {
  it('do not make a transfer begin again', () =>
    withClub(async (club) => {
      const a = await club.member('a');
      const b = await club.member('b');
      const contents = randomBytes(60_000_000);
      await writeFile(a.at('large'), contents);
      await a.share.rescan();
      const first = connect(a, b);
      // The rest takes a fraction of a second: looked at in every turn.
      while (b.share.traffic().received <= 30_000_000) await new Promise(setImmediate);
      await first.cut();
      await b.close();
      await b.open();
      assert.equal((await treeOf(b.folder)).length, 0, 'nothing shows under the final name');
      connect(a, b);
      await same(a, b, 'all of it is there');
      assert.ok(b.share.traffic().received < 40_000_000, `${b.share.traffic().received} bytes again`);
    }));

  it('at any time leave nothing half done', () =>
    withClub(async (club) => {
      const a = await club.member('a');
      const b = await club.member('b');
      for (let i = 0; i < 300; i++) await writeFile(a.at(`file ${i}`), randomBytes(5_000));
      await a.share.rescan();
      for (let round = 0; round < 5; round++) {
        const connection = connect(a, b);
        await eventually('some have arrived', () => b.events.length > round * 40);
        await connection.cut();
        await b.close();
        for (const line of await treeOf(b.folder)) assert.match(line, /^"\/file \d+" 5000 /);
        await b.open();
      }
      connect(a, b);
      await same(a, b, 'everything');
    }));

  it('by links in the way change nothing outside the share', () =>
    withClub(async (club) => {
      const a = await club.member('a');
      const b = await club.member('b');
      await mkdir(`${club.top}/outside`);
      await writeFile(`${club.top}/outside/victim`, 'untouched');
      await symlink(`${club.top}/outside`, b.at('folder'));
      await symlink(`${club.top}/outside/victim`, b.at('file'));
      await mkdir(a.at('folder'));
      await writeFile(a.at('folder/victim'), 'overwritten');
      await writeFile(a.at('file'), 'overwritten');
      await writeFile(a.at('plain'), 'arrives');
      connect(a, b);
      await eventually('the rest arrives', () =>
        stat(b.at('plain')).then(
          () => true,
          () => false,
        ),
      );
      await eventually('it is told', () => b.share.status().problems.length > 0);
      assert.equal(await readFile(`${club.top}/outside/victim`, 'utf8'), 'untouched');
      assert.deepEqual(await readdir(`${club.top}/outside`), ['victim']);
      assert.equal(b.share.status().isSynced, false);
      await rm(b.at('folder'));
      await rm(b.at('file'));
      await same(a, b, 'all of it, without the links');
    }));
});
