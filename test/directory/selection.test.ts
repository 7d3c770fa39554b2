/** Which part of a share a device keeps, and in which directions changes go. */

import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { EVERYTHING, type SelectionRules } from '../../agent/directory/selection.ts';
import { eventually } from '../support/eventually.ts';
import { connect, type Member, withClub } from './members.ts';

const rules = (changed: Partial<SelectionRules>): SelectionRules => ({ ...EVERYTHING, ...changed });

function put(member: Member, path: string, text = path): void {
  mkdirSync(join(member.at(path), '..'), { recursive: true });
  writeFileSync(member.at(path), text);
}

function read(member: Member, path: string): string | undefined {
  return existsSync(member.at(path)) ? readFileSync(member.at(path), 'utf8') : undefined;
}

/** All files in the folder, without our own. */
function files(member: Member): string[] {
  return readdirSync(member.folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.parentPath.includes('.clearskies'))
    .map(({ parentPath, name }) => join(parentPath, name).slice(member.folder.length))
    .sort();
}

function keys(member: Member): string[] {
  return Array.from(member.database.iterate(), ({ key }) => key).filter((key) => key !== '/');
}

async function noted(...members: Member[]): Promise<void> {
  for (const member of members) await member.share.rescan();
}

/** Every record with its clock. */
function known(member: Member): string {
  const records = Array.from(member.database.iterate(), ({ uuid, key, vectorClock }) => [
    uuid,
    key,
    [...vectorClock].map(String).sort(),
  ]);
  return JSON.stringify(records);
}

/** Both know the same records, and have done what there is to do. */
async function inStep(a: Member, b: Member): Promise<void> {
  await eventually(`${a.name} and ${b.name} are in step`, async () => {
    await noted(a, b);
    return known(a) === known(b) && a.share.status().isSynced && b.share.status().isSynced;
  });
  await noted(a, b);
}

describe('a share that only sends', () => {
  it('sends what is done here, does nothing that others do, and relays it', () =>
    withClub(async (club) => {
      const a = await club.member('a', { share: { rules: rules({ direction: 'send' }) } });
      const b = await club.member('b');
      const c = await club.member('c');
      put(a, 'mine');
      connect(a, b);
      connect(a, c);
      await inStep(a, b);
      assert.equal(read(b, 'mine'), 'mine');
      put(b, 'theirs');
      rmSync(b.at('mine'));
      await inStep(a, b);
      await eventually('records are relayed', () => known(a) === known(c));
      assert.deepEqual(files(a), ['/mine']);
      assert.deepEqual(keys(a), ['/theirs']);
      assert.deepEqual(keys(c), ['/theirs'], 'records are relayed');
      const { unwantedFiles, pendingFiles, isSynced } = a.share.status();
      assert.deepEqual(
        { unwantedFiles, pendingFiles, isSynced },
        { unwantedFiles: 2, pendingFiles: 0, isSynced: true },
      );
    }));

  it('keeps both versions when somebody changed what is changed here', () =>
    withClub(async (club) => {
      const a = await club.member('a', { share: { rules: rules({ direction: 'send' }) } });
      const b = await club.member('b');
      put(a, 'f', 'first');
      connect(a, b);
      await inStep(a, b);
      put(b, 'f', 'of b');
      await inStep(a, b);
      assert.equal(read(a, 'f'), 'first');
      put(a, 'f', 'of a');
      await inStep(a, b);
      assert.equal(read(a, 'f'), 'of a');
      await eventually('b has both', () => files(b).length === 2);
      assert.deepEqual(
        files(b)
          .map((path) => read(b, path))
          .sort(),
        ['of a', 'of b'],
      );
    }));

  it('does what others did once it goes in both directions, and loses nothing on the way', () =>
    withClub(async (club) => {
      const a = await club.member('a', { share: { rules: rules({ direction: 'send' }) } });
      const b = await club.member('b');
      put(a, 'stays');
      put(a, 'edited', 'old');
      put(a, 'deleted');
      put(a, 'moved');
      connect(a, b);
      await inStep(a, b);
      put(b, 'edited', 'new');
      rmSync(b.at('deleted'));
      renameSync(b.at('moved'), b.at('elsewhere'));
      put(b, 'theirs');
      await inStep(a, b);
      assert.deepEqual(files(a), ['/deleted', '/edited', '/moved', '/stays']);
      await a.share.select(EVERYTHING);
      await inStep(a, b);
      assert.deepEqual(files(a), ['/edited', '/elsewhere', '/stays', '/theirs']);
      assert.equal(read(a, 'edited'), 'new');
      assert.deepEqual(files(b), files(a));
    }));

  it('joins with what is in its folder', () =>
    withClub(async (club) => {
      const b = await club.member('b');
      put(b, 'theirs');
      await noted(b);
      mkdirSync(join(club.top, 'a'));
      writeFileSync(join(club.top, 'a', 'mine'), 'mine');
      const a = await club.member('a', {
        isJoining: true,
        share: { rules: rules({ direction: 'send' }), joiningQuiet: 200 },
      });
      connect(a, b);
      await inStep(a, b);
      assert.deepEqual(files(a), ['/mine']);
      assert.deepEqual(files(b), ['/mine', '/theirs']);
    }));
});

describe('a share that only receives', () => {
  it('keeps what is new here beside it, and puts right what is changed', () =>
    withClub(async (club) => {
      const a = await club.member('a', { share: { rules: rules({ direction: 'receive' }) } });
      const b = await club.member('b');
      put(b, 'f', 'right');
      connect(a, b);
      await inStep(a, b);
      put(a, 'f', 'wrong');
      put(a, 'own');
      await noted(a);
      await eventually('it is put right', () => read(a, 'f') === 'right');
      await inStep(a, b);
      assert.deepEqual(keys(b), ['/f']);
      assert.equal(a.share.status().besideFiles, 1);
      assert.equal(a.share.status().putRightFiles, 1);
      assert.match(
        a.share
          .problems()
          .map(({ message }) => message)
          .join(),
        /only receives/,
      );
      await a.share.select(EVERYTHING);
      await inStep(a, b);
      assert.deepEqual(files(b), ['/f', '/own']);
      assert.equal(a.share.status().besideFiles, 0);
    }));
});

describe('ignore patterns', () => {
  it('keep local files out of the records and records out of the folder', () =>
    withClub(async (club) => {
      const a = await club.member('a', { share: { rules: rules({ ignore: ['*.tmp', '/cache/'] }) } });
      const b = await club.member('b');
      const c = await club.member('c');
      for (const path of ['f', 'x.tmp', 'cache/deep/y']) put(a, path);
      for (const path of ['g', 'z.tmp', 'cache/w']) put(b, path);
      connect(a, b);
      connect(a, c);
      await inStep(a, b);
      await eventually('records are relayed', () => known(a) === known(c));
      assert.deepEqual(files(a), ['/cache/deep/y', '/f', '/g', '/x.tmp']);
      assert.deepEqual(files(b), ['/cache/w', '/f', '/g', '/z.tmp']);
      assert.deepEqual(keys(c), ['/cache', '/cache/w', '/f', '/g', '/z.tmp'], 'records are relayed');
      const { unwantedFiles, isSynced } = a.share.status();
      assert.deepEqual({ unwantedFiles, isSynced }, { unwantedFiles: 2, isSynced: true });
    }));

  it('that come later delete nothing, here or elsewhere; and what is done meanwhile is no deletion', () =>
    withClub(async (club) => {
      const a = await club.member('a');
      const b = await club.member('b');
      for (let i = 0; i < 30; i++) put(a, `d/${i}`);
      connect(a, b);
      await inStep(a, b);
      await a.share.select(rules({ ignore: ['d'] }));
      await inStep(a, b);
      assert.equal(files(a).length, 30);
      assert.equal(files(b).length, 30);
      rmSync(a.at('d'), { recursive: true });
      put(b, 'd/0', 'newer');
      await inStep(a, b);
      assert.equal(files(b).length, 30);
      await a.share.select(EVERYTHING);
      await inStep(a, b);
      assert.deepEqual(a.share.problems(), []);
      assert.equal(files(b).length, 30);
      assert.deepEqual(files(a), files(b), 'what was removed while it was ignored is back');
      assert.equal(read(a, 'd/0'), 'newer');
    }));

  it('that the database refuses to note are not in force, delete nothing, and may come again', () =>
    withClub(async (club) => {
      const [a, b] = [await club.member('a'), await club.member('b')];
      for (let i = 0; i < 300; i++) put(a, `d/${i}`);
      connect(a, b);
      await inStep(a, b);
      for (const refused of [
        "CREATE TEMP TRIGGER refuse BEFORE UPDATE ON directory_file WHEN new.name = '99' BEGIN SELECT RAISE(ABORT, 'no'); END",
        "CREATE TEMP TRIGGER refuse BEFORE UPDATE ON directory_setting BEGIN SELECT RAISE(ABORT, 'no'); END",
      ]) {
        a.sqlite.exec(refused);
        await assert.rejects(a.share.select(rules({ ignore: ['d'] })));
        assert.deepEqual(a.share.selection.rules, EVERYTHING);
        a.sqlite.exec('DROP TRIGGER refuse');
        await inStep(a, b);
        for (const path of ['d/0', 'd/1', 'd/299']) put(a, path, refused);
        await inStep(a, b);
        assert.equal(files(b).length, 300);
        for (const path of ['d/0', 'd/1', 'd/299']) assert.equal(read(b, path), refused);
      }
      await a.share.select(rules({ ignore: ['d'] }));
      put(a, 'd/1', 'for nobody');
      await inStep(a, b);
      assert.equal(files(b).length, 300);
      assert.notEqual(read(b, 'd/1'), 'for nobody');
    }));

  it('that go again let what lies there be used, replaced or kept beside what came', () =>
    withClub(async (club) => {
      const a = await club.member('a');
      const b = await club.member('b');
      for (const path of ['same', 'remote', 'local', 'both']) put(a, `d/${path}`, 'old');
      connect(a, b);
      await inStep(a, b);
      await a.share.select(rules({ ignore: ['/d/*'] }));
      put(a, 'd/local', 'of a');
      put(a, 'd/both', 'of a');
      put(a, 'd/new', 'of a');
      put(b, 'd/remote', 'of b');
      put(b, 'd/both', 'of b');
      await inStep(a, b);
      await a.share.select(EVERYTHING);
      await inStep(a, b);
      assert.equal(read(a, 'd/same'), 'old');
      assert.equal(read(a, 'd/remote'), 'of b', 'the stale file makes room');
      assert.equal(read(b, 'd/new'), 'of a');
      for (const member of [a, b]) {
        const found = files(member).map((path) => read(member, path));
        assert.ok(found.filter((text) => text === 'of a').length >= 3, 'what was edited here is everywhere');
        assert.ok(found.filter((text) => text === 'of b').length >= 2, 'what was edited there is everywhere');
      }
    }));

  it('of a file in the share count for all members, and follow its changes', () =>
    withClub(async (club) => {
      const a = await club.member('a');
      const b = await club.member('b');
      put(a, '.skylarkignore', '*.log\n');
      await noted(a);
      await eventually('it is read', () => a.share.selection.ignoreFile === '*.log\n');
      put(a, 'x.log');
      put(a, 'f');
      connect(a, b);
      await inStep(a, b);
      assert.deepEqual(files(b), ['/.skylarkignore', '/f']);
      put(b, 'y.log');
      await inStep(a, b);
      assert.deepEqual(files(a), ['/.skylarkignore', '/f', '/x.log']);
      put(b, '.skylarkignore', '# nothing\n');
      await eventually('all is everywhere', () => files(a).length === 4 && files(b).length === 4);
      await inStep(a, b);
      assert.deepEqual(files(a), ['/.skylarkignore', '/f', '/x.log', '/y.log']);
    }));

  it('of an ignore file that is removed elsewhere, or was only found at joining, are over', () =>
    withClub(async (club) => {
      const a = await club.member('a');
      put(a, '.skylarkignore', '*.log');
      await noted(a);
      mkdirSync(join(club.top, 'b'));
      writeFileSync(join(club.top, 'b', 'found.txt'), 'found');
      const b = await club.member('b', { isJoining: true, share: { joiningQuiet: 200 } });
      connect(a, b);
      await eventually('it is in force', () => b.share.selection.ignoreFile === '*.log');
      rmSync(a.at('.skylarkignore'));
      await noted(a);
      await eventually('it is over', () => b.share.selection.ignoreFile === '');
      mkdirSync(join(club.top, 'c'));
      writeFileSync(join(club.top, 'c', '.skylarkignore'), '*');
      const c = await club.member('c', { isJoining: true, share: { joiningQuiet: 200 } });
      assert.equal(c.share.selection.ignoreFile, '*');
      connect(a, c);
      await eventually('joining is over', () => !c.share.status().isJoining);
      await eventually('what was found is over', () => c.share.selection.ignoreFile === '');
      assert.deepEqual(files(c), []);
    }));

  it('of a damaged ignore file leave those before it in force, and that is told', () =>
    withClub(async (club) => {
      const a = await club.member('a');
      put(a, '.skylarkignore', '*.log\n');
      await noted(a);
      await eventually('it is read', () => a.share.selection.ignoreFile === '*.log\n');
      writeFileSync(a.at('.skylarkignore'), Buffer.from([0xff, 0xfe, 0x0a]));
      await noted(a);
      await eventually('it is told', () =>
        a.share.problems().some(({ code }) => code === 'share.ignore_file'),
      );
      put(a, 'x.log');
      await noted(a);
      assert.deepEqual(keys(a), ['/.skylarkignore']);
      put(a, '.skylarkignore', '');
      await noted(a);
      await eventually('it is over', () => a.share.problems().length === 0 && keys(a).length === 2);
    }));

  it('hold over a restart, also when they changed while nothing ran', () =>
    withClub(async (club) => {
      const a = await club.member('a');
      const b = await club.member('b');
      put(a, '.skylarkignore', 'x\n');
      put(a, 'x');
      put(a, 'y');
      connect(a, b);
      await inStep(a, b);
      await a.close();
      put(a, '.skylarkignore', 'y\n');
      rmSync(a.at('y'));
      await a.open();
      connect(a, b);
      await inStep(a, b);
      assert.deepEqual(files(a), ['/.skylarkignore', '/x']);
      assert.deepEqual(files(b), ['/.skylarkignore', '/x', '/y']);
    }));

  it('make a move over their border what it looks like from the other side', () =>
    withClub(async (club) => {
      const a = await club.member('a', { share: { rules: rules({ ignore: ['/out/'] }) } });
      const b = await club.member('b');
      put(a, 'f', 'f');
      put(b, 'out/g', 'g');
      put(b, 'h', 'h');
      connect(a, b);
      await inStep(a, b);
      // Out of what is kept, by us: for the others it is gone.
      mkdirSync(a.at('out'));
      renameSync(a.at('f'), a.at('out/f'));
      // Into it and out of it, by them.
      renameSync(b.at('out/g'), b.at('g'));
      renameSync(b.at('h'), b.at('out/h'));
      await eventually('all is noted', async () => {
        await inStep(a, b);
        return read(a, 'g') === 'g' && !existsSync(a.at('h')) && !existsSync(b.at('f'));
      });
      assert.deepEqual(files(a), ['/g', '/out/f']);
      assert.deepEqual(files(b), ['/g', '/out/h']);
      // Into what is kept, by us.
      renameSync(a.at('out/f'), a.at('f'));
      await inStep(a, b);
      assert.deepEqual(files(b), ['/f', '/g', '/out/h']);
    }));
});

describe('only a part of a share', () => {
  it('is kept, under the paths that it has in the share; what lies beside it is told', () =>
    withClub(async (club) => {
      const b = await club.member('b');
      for (const path of ['p/q/1', 'p/q/deep/2', 'p/other/3', '4']) put(b, path);
      await noted(b);
      const a = await club.member('a', {
        isJoining: true,
        share: { rules: rules({ only: ['/p/q'] }), joiningQuiet: 200 },
      });
      connect(a, b);
      await inStep(a, b);
      assert.deepEqual(files(a), ['/p/q/1', '/p/q/deep/2']);
      assert.equal(keys(a).length, keys(b).length);
      assert.equal(a.share.status().unwantedFiles, 2);
      put(a, 'p/q/mine');
      put(a, 'p/outside');
      put(a, 'own/deep');
      await inStep(a, b);
      assert.deepEqual(files(b), ['/4', '/p/other/3', '/p/q/1', '/p/q/deep/2', '/p/q/mine']);
      const outside = a.share.problems().find(({ code }) => code === 'path.outside');
      assert.deepEqual([...(outside?.paths ?? [])].sort(), ['/own', '/p/outside']);
      await a.share.select(rules({ only: ['/p'] }));
      await inStep(a, b);
      assert.deepEqual(files(a), [
        '/own/deep',
        '/p/other/3',
        '/p/outside',
        '/p/q/1',
        '/p/q/deep/2',
        '/p/q/mine',
      ]);
      assert.equal(read(b, 'p/outside'), 'p/outside');
    }));

  it('is left alone by the end of joining: what was found outside of it stays', () =>
    withClub(async (club) => {
      const b = await club.member('b');
      put(b, 'p/1');
      await noted(b);
      mkdirSync(join(club.top, 'a', 'p'), { recursive: true });
      writeFileSync(join(club.top, 'a', 'p', 'found'), 'found');
      writeFileSync(join(club.top, 'a', 'outside'), 'outside');
      const a = await club.member('a', {
        isJoining: true,
        share: { rules: rules({ only: ['/p'] }), joiningQuiet: 200 },
      });
      connect(a, b);
      await eventually('joining is over', () => !a.share.status().isJoining);
      assert.deepEqual(files(a), ['/outside', '/p/1']);
    }));
});

describe('a shallow copy', () => {
  it('knows all records and fetches nothing by itself, sends what is made here, and keeps that up to date', () =>
    withClub(async (club) => {
      const a = await club.member('a', { share: { rules: rules({ isShallow: true }) } });
      const b = await club.member('b');
      put(b, 'd/1');
      put(b, '.skylarkignore', '*.no');
      connect(a, b);
      await inStep(a, b);
      await eventually('the ignore file comes', () => files(a).length === 1);
      assert.deepEqual(
        [...a.share.ls('/d')].map(({ path, isHere }) => [path, isHere]),
        [['/d/1', false]],
      );
      put(a, 'mine');
      put(a, 'x.no');
      await inStep(a, b);
      assert.deepEqual(files(b), ['/.skylarkignore', '/d/1', '/mine']);
      put(b, 'mine', 'newer');
      await inStep(a, b);
      assert.equal(read(a, 'mine'), 'newer');
      rmSync(b.at('mine'));
      await inStep(a, b);
      assert.equal(read(a, 'mine'), undefined);
      await a.share.select(EVERYTHING);
      await inStep(a, b);
      assert.equal(read(a, 'd/1'), 'd/1');
      await a.share.select(rules({ isShallow: true }));
      put(b, 'd/1', 'newer');
      await inStep(a, b);
      assert.equal(read(a, 'd/1'), 'newer', 'what lies here stays in step');
    }));

  it('joins with the files that it has already', () =>
    withClub(async (club) => {
      const b = await club.member('b');
      put(b, 'same');
      put(b, 'other');
      await noted(b);
      mkdirSync(join(club.top, 'a'));
      writeFileSync(join(club.top, 'a', 'same'), 'same');
      const a = await club.member('a', {
        isJoining: true,
        share: { rules: rules({ isShallow: true }), joiningQuiet: 200 },
      });
      connect(a, b);
      await eventually('joining is over', () => !a.share.status().isJoining);
      await inStep(a, b);
      assert.deepEqual(files(a), ['/same']);
      assert.deepEqual(
        [...a.share.ls('/')].map(({ path, isHere }) => [path, isHere]),
        [
          ['/other', false],
          ['/same', true],
        ],
      );
    }));
});
