/** Placing what records ask for into a real folder, without a detector and without peers. */

import assert from 'node:assert/strict';
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { silentLogger } from '../../agent/base/log.ts';
import type { Outcome } from '../../agent/directory/place.ts';
import { recover } from '../../agent/directory/recovery.ts';
import { Selection } from '../../agent/directory/selection.ts';
import { FOLDER, file, id, inPlace, openFilesBelow, type Place, sha256 } from './placing.ts';

describe('a file is placed', () => {
  it('with its mode, without set-user-id, and its time', () =>
    inPlace(async (place) => {
      const rest = { unix_mode: '04751', mtime: '2001-02-03T04:05:06.000789Z' };
      assert.equal(await place.file('f', '/folder/file', 'contents', rest), 'done');
      assert.deepEqual(place.shown(), ['folder/', 'folder/file=contents']);
      const { mode, mtimeNs } = fs.statSync(place.at('folder/file'), { bigint: true });
      assert.equal(mode & 0o7777n, 0o751n);
      assert.equal(mtimeNs / 1_000n, 981_173_106_000_789n);
      assert.deepEqual(place.placed, ['/folder/file']);
      assert.deepEqual(place.parts.pending.totals(), {
        files: 0,
        bytes: 0n,
        folders: 0,
        refused: 0,
        unwanted: 0,
        unwantedBytes: 0n,
      });
    }));

  it('under its own name, also if what was in the way goes just when it is looked at', () =>
    inPlace(async (place) => {
      const { root } = place;
      const { look } = root;
      fs.symlinkSync(tmpdir(), place.at('folder'));
      root.look = (path) => {
        fs.rmSync(place.at('folder'), { force: true });
        return look.call(root, path);
      };
      place.record({ uuid: 'd', key: '/folder', value: FOLDER });
      assert.equal(await place.apply('d'), 'blocked');
      root.look = look;
      assert.equal(await place.apply('d'), 'done');
      assert.deepEqual(place.shown(), ['folder/']);
    }));

  it('under its own name, also if a folder on the way is away while it is looked at', () =>
    inPlace(async (place) => {
      const { root } = place;
      const { lookExactly } = root;
      place.record({ uuid: 'd', key: '/folder', value: FOLDER });
      assert.equal(await place.apply('d'), 'done');
      root.lookExactly = async (path) => {
        if (path !== '/folder/inner') return lookExactly.call(root, path);
        fs.renameSync(place.at('folder'), `${place.folder} aside`);
        try {
          return await lookExactly.call(root, path);
        } finally {
          fs.renameSync(`${place.folder} aside`, place.at('folder'));
        }
      };
      fs.mkdirSync(place.at('folder/inner'));
      place.record({ uuid: 'i', key: '/folder/inner', value: FOLDER });
      assert.equal(await place.apply('i'), 'done');
      root.lookExactly = lookExactly;
      assert.deepEqual(place.shown(), ['folder/', 'folder/inner/']);
    }));

  it('only when its contents are there', () =>
    inPlace(async (place) => {
      place.record({ uuid: 'f', key: '/file', value: file('contents') });
      assert.equal(await place.apply('f'), 'content');
      assert.deepEqual(place.shown(), []);
      assert.equal(place.parts.pending.get(id('f'))?.kind, 'content');
    }));

  it('without contents from elsewhere if it is empty, or a copy of what is here or in the archive', () =>
    inPlace(async (place) => {
      place.record({ uuid: 'empty', key: '/empty', value: file('') });
      assert.equal(await place.apply('empty'), 'done');
      await place.file('one', '/one', 'contents');
      place.record({ uuid: 'two', key: '/two', value: file('contents') });
      assert.equal(await place.apply('two'), 'done');
      for (const uuid of ['one', 'two']) {
        place.record({ uuid, key: `/${uuid}`, value: null });
        assert.equal(await place.apply(uuid), 'done');
      }
      place.record({ uuid: 'three', key: '/three', value: file('contents') });
      assert.equal(await place.apply('three'), 'done');
      assert.deepEqual(place.shown(), ['empty=', 'three=contents']);
    }));

  it('but not out of a local copy that has rotted', () =>
    inPlace(async (place) => {
      await place.file('one', '/one', 'contents');
      const { atimeMs, mtimeMs } = fs.statSync(place.at('one'));
      fs.writeFileSync(place.at('one'), 'c0ntents');
      fs.utimesSync(place.at('one'), atimeMs / 1_000, mtimeMs / 1_000);
      const row = place.parts.index.byPath('/one');
      const facts = await place.root.look('/one');
      assert.ok(row && facts);
      // As if the disk had returned other bytes, without any trace.
      place.parts.index.put({ ...row, mtimeNs: facts.mtimeNs, ctimeNs: facts.ctimeNs });
      place.record({ uuid: 'two', key: '/two', value: file('contents') });
      assert.equal(await place.apply('two'), 'content');
      assert.deepEqual(await place.root.listTemporaries(), []);
    }));

  it('over its older version, which goes to the archive', () =>
    inPlace(async (place) => {
      await place.file('f', '/file', 'first');
      await place.file('f', '/file', 'second');
      assert.deepEqual(place.shown(), ['file=second']);
      assert.deepEqual(place.archived(), ['/file=first']);
    }));
});

describe('what the owner did is left alone', () => {
  it('when he changed the file that would be replaced', () =>
    inPlace(async (place) => {
      await place.file('f', '/file', 'first');
      fs.writeFileSync(place.at('file'), 'edited');
      assert.equal(await place.file('f', '/file', 'second'), 'blocked');
      assert.deepEqual(place.shown(), ['file=edited']);
      assert.deepEqual(place.archived(), []);
      assert.ok(place.nudged.includes('/file'));
      assert.deepEqual(await place.root.listTemporaries(), []);
      assert.equal(place.parts.pending.get(id('f'))?.kind, 'content');
    }));

  it('when something of his, or a link, a pipe or a folder, has taken the place', () =>
    inPlace(async (place) => {
      fs.writeFileSync(place.at('file'), 'his own');
      fs.symlinkSync('/etc/passwd', place.at('link'));
      fs.mkdirSync(place.at('folder'));
      fs.symlinkSync(tmpdir(), place.at('linked'));
      for (const name of ['file', 'link', 'folder', 'linked/inside', 'file/inside'])
        assert.equal(await place.file(name, `/${name}`, 'from a peer'), 'blocked', name);
      assert.equal(fs.existsSync(join(tmpdir(), 'inside')), false);
      assert.equal(fs.readFileSync(place.at('file'), 'utf8'), 'his own');
      assert.ok(fs.lstatSync(place.at('link')).isSymbolicLink());
    }));

  it('without a copy of contents that have no way to their place, however often it is tried', () =>
    inPlace(async (place) => {
      const contents = 'large '.repeat(20_000);
      assert.equal(await place.file('one', '/one', contents), 'done');
      fs.symlinkSync(tmpdir(), place.at('linked'));
      place.record({ uuid: 'folder', key: '/linked', value: FOLDER });
      place.record({ uuid: 'two', key: '/linked/two', value: file(contents) });
      for (let attempt = 0; attempt < 3; attempt++) assert.equal(await place.apply('two'), 'blocked');
      assert.deepEqual(await place.root.listTemporaries(), []);
      assert.deepEqual(openFilesBelow(place.folder), []);
      fs.unlinkSync(place.at('linked'));
      assert.equal(await place.apply('two'), 'done');
      assert.equal(fs.readFileSync(place.at('linked/two'), 'utf8'), contents);
    }));

  it('when he changed the file that would be deleted or renamed', () =>
    inPlace(async (place) => {
      for (const name of ['a', 'b']) {
        await place.file(name, `/${name}`, 'first');
        fs.writeFileSync(place.at(name), `edited ${name}`);
      }
      place.record({ uuid: 'a', key: '/a', value: null });
      place.record({ uuid: 'b', key: '/c', value: file('first') });
      assert.equal(await place.apply('a'), 'blocked');
      assert.equal(await place.apply('b'), 'blocked');
      assert.deepEqual(place.shown(), ['a=edited a', 'b=edited b']);
    }));

  it('in a folder that is deleted elsewhere', () =>
    inPlace(async (place) => {
      place.record({ uuid: 'd', key: '/folder', value: FOLDER });
      await place.apply('d');
      fs.writeFileSync(place.at('folder/his'), 'own');
      place.record({ uuid: 'd', key: '/folder', value: null });
      assert.equal(await place.apply('d'), 'done');
      assert.deepEqual(place.shown(), ['folder/', 'folder/his=own']);
      assert.equal(place.parts.index.byPath('/folder')?.uuid, undefined);
    }));

  it('when he was faster with the same', () =>
    inPlace(async (place) => {
      await place.file('f', '/file', 'first');
      fs.rmSync(place.at('file'));
      place.record({ uuid: 'f', key: '/file', value: null });
      assert.equal(await place.apply('f'), 'done');
      assert.equal(place.parts.index.byPath('/file'), undefined);
      assert.deepEqual(place.archived(), []);
    }));
});

describe('names', () => {
  it('change without a transfer, also in a circle', () =>
    inPlace(async (place) => {
      for (const name of ['a', 'b', 'c']) await place.file(name, `/${name}`, `was ${name}`);
      place.record({ uuid: 'a', key: '/b', value: file('was a') });
      place.record({ uuid: 'b', key: '/c', value: file('was b') });
      place.record({ uuid: 'c', key: '/a', value: file('was c') });
      // Whoever is first, the last one is blocked or finds its contents in the archive.
      for (let round = 0; round < 3; round++)
        await Promise.all(['a', 'b', 'c'].map((uuid) => place.apply(uuid)));
      assert.deepEqual(place.shown(), ['a=was c', 'b=was a', 'c=was b']);
      assert.deepEqual(place.parts.pending.totals(), {
        files: 0,
        bytes: 0n,
        folders: 0,
        refused: 0,
        unwanted: 0,
        unwantedBytes: 0n,
      });
    }));

  it('of a whole folder change, and the old folder goes with its last file', () =>
    inPlace(async (place) => {
      for (const [uuid, key] of [
        ['d', '/old'],
        ['e', '/old/inner'],
      ] as const) {
        place.record({ uuid, key, value: FOLDER });
        await place.apply(uuid);
      }
      await place.file('f', '/old/inner/file', 'contents');
      place.record({ uuid: 'd', key: '/new', value: FOLDER });
      place.record({ uuid: 'e', key: '/new/inner', value: FOLDER });
      place.record({ uuid: 'f', key: '/new/inner/file', value: file('contents') });
      for (const uuid of ['d', 'e', 'f']) assert.equal(await place.apply(uuid), 'done');
      assert.deepEqual(place.shown(), ['new/', 'new/inner/', 'new/inner/file=contents']);
      assert.deepEqual(place.archived(), []);
    }));

  it('are taken over by a folder from a file, and back', () =>
    inPlace(async (place) => {
      await place.file('f', '/name', 'contents');
      place.record({ uuid: 'f', key: '/name', value: null });
      place.record({ uuid: 'd', key: '/name', value: FOLDER });
      await place.file('g', '/name/inside', 'more');
      assert.equal(await place.apply('d'), 'done');
      assert.deepEqual(place.shown(), ['name/', 'name/inside=more']);
      place.record({ uuid: 'g', key: '/name/inside', value: null });
      place.record({ uuid: 'd', key: '/name', value: file('and back') });
      assert.equal(await place.apply('g'), 'done');
      assert.equal(await place.apply('d', 'and back'), 'done');
      assert.deepEqual(place.shown(), ['name=and back']);
      assert.deepEqual(place.archived(), ['/name=contents', '/name/inside=more']);
    }));
});

describe('a record that changes while it is placed', () => {
  it('stays pending with its newer version', () =>
    inPlace(async (place) => {
      place.record({ uuid: 'f', key: '/file', value: file('first') });
      const placing = place.apply('f', 'first');
      await new Promise((resolve) => setImmediate(resolve));
      place.record({ uuid: 'f', key: '/file', value: file('second') });
      assert.equal(await placing, 'content');
      assert.equal(place.parts.pending.get(id('f'))?.sha256, sha256('second'));
      assert.equal(await place.apply('f', 'second'), 'done');
      assert.deepEqual(place.shown(), ['file=second']);
    }));
});

describe('after a crash', () => {
  /** The disk as it is after the change, the database as it was after the intent was noted. */
  async function crashed(place: Place, change: () => Promise<Outcome>): Promise<void> {
    const { sqlite, parts } = place;
    let intents: { club: string; intents: string }[] = [];
    const rows = sqlite.prepare('SELECT * FROM directory_file').all();
    const pending = sqlite.prepare('SELECT * FROM directory_pending').all();
    const submit = parts.changes.submit.bind(parts.changes);
    parts.changes.submit = (given) =>
      submit({
        ...given,
        perform: async (archived) => {
          intents = sqlite
            .prepare<{ club: string; intents: string }>('SELECT club, intents FROM directory_intent')
            .all();
          await given.perform(archived);
        },
      });
    await change();
    parts.changes.submit = submit;
    sqlite.transaction(() => {
      for (const [table, all] of [
        ['directory_file', rows],
        ['directory_pending', pending],
      ] as const) {
        sqlite.exec(`DELETE FROM ${table}`);
        for (const row of all) {
          const names = Object.keys(row);
          const marks = names.map(() => '?').join(', ');
          sqlite
            .prepare(`INSERT INTO ${table}(${names.join(', ')}) VALUES(${marks})`)
            .run(...Object.values(row));
        }
      }
      for (const row of intents)
        sqlite.prepare('INSERT INTO directory_intent(club, intents) VALUES(?, ?)').run(row.club, row.intents);
    });
  }

  async function recovered(place: Place): Promise<void> {
    const { sqlite, root, hashing, parts } = place;
    await recover({
      sqlite,
      club: 'club',
      index: parts.index,
      archive: parts.archive,
      root,
      selection: new Selection(),
      hashing,
      log: silentLogger,
      signal: new AbortController().signal,
      settle: (uuid) => parts.placer.settle(uuid),
    });
    assert.equal(sqlite.prepare('SELECT * FROM directory_intent').all().length, 0);
  }

  async function isAsOnDisk(place: Place, path: string): Promise<void> {
    const row = place.parts.index.byPath(path);
    const facts = await place.root.look(path);
    assert.ok(row && facts, `${path} is known and there`);
    assert.equal(row.ino, facts.ino);
    assert.equal(row.ctimeNs, facts.ctimeNs);
  }

  it('a file that was placed or replaced is ours, not a change of the owner', () =>
    inPlace(async (place) => {
      place.record({ uuid: 'f', key: '/file', value: file('first') });
      await crashed(place, () => place.apply('f', 'first'));
      assert.equal(place.parts.index.byPath('/file'), undefined);
      await recovered(place);
      await isAsOnDisk(place, '/file');
      place.record({ uuid: 'f', key: '/file', value: file('second') });
      await crashed(place, () => place.apply('f', 'second'));
      await recovered(place);
      await isAsOnDisk(place, '/file');
      assert.equal(place.parts.index.byPath('/file')?.sha256, sha256('second'));
      assert.deepEqual(place.archived(), ['/file=first']);
      assert.equal(place.parts.pending.totals().files, 0);
    }));

  it('a rename and a deletion are finished', () =>
    inPlace(async (place) => {
      await place.file('f', '/file', 'contents');
      place.record({ uuid: 'f', key: '/renamed', value: file('contents') });
      await crashed(place, () => place.apply('f'));
      await recovered(place);
      await isAsOnDisk(place, '/renamed');
      assert.equal(place.parts.index.byPath('/file'), undefined);
      place.record({ uuid: 'f', key: '/renamed', value: null });
      await crashed(place, () => place.apply('f'));
      await recovered(place);
      assert.equal(place.parts.index.byPath('/renamed'), undefined);
      assert.deepEqual(place.archived(), ['/renamed=contents']);
      assert.equal(place.parts.pending.totals().files, 0);
    }));

  it('what the owner wrote into a renamed file since is his', () =>
    inPlace(async (place) => {
      await place.file('f', '/file', 'contents');
      place.record({ uuid: 'f', key: '/renamed', value: file('contents') });
      await crashed(place, () => place.apply('f'));
      // Into the same inode, and as many bytes.
      fs.writeFileSync(place.at('renamed'), 'changed!');
      await recovered(place);
      const row = place.parts.index.byPath('/renamed');
      const facts = await place.root.look('/renamed');
      assert.ok(row === undefined || row.ctimeNs !== facts?.ctimeNs, 'the index takes it for what was moved');
    }));

  it('a folder that was made is ours', () =>
    inPlace(async (place) => {
      place.record({ uuid: 'd', key: '/folder', value: { ...FOLDER, unix_mode: '0711' } });
      await crashed(place, () => place.apply('d'));
      await recovered(place);
      assert.equal(place.parts.index.byPath('/folder')?.uuid, id('d'));
      assert.equal(place.parts.pending.totals().folders, 0);
    }));

  it('what had not happened is not taken for done, and what the owner did since is his', () =>
    inPlace(async (place) => {
      await place.file('f', '/file', 'first');
      place.record({ uuid: 'f', key: '/file', value: file('second') });
      await crashed(place, () => place.apply('f', 'second'));
      fs.writeFileSync(place.at('file'), 'edited after the crash');
      await recovered(place);
      assert.equal(place.parts.index.byPath('/file')?.sha256, sha256('first'));
      assert.equal(place.parts.pending.totals().files, 1);
    }));
});
