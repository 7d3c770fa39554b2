import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { MARKS, MIGRATIONS } from '../../agent/directory/index-table.ts';
import { type IndexRow, type LocalIndex, openLocalIndex } from '../../agent/directory/local-index.ts';
import { isBelow, joinPath, nameRefusalOf } from '../../agent/directory/paths.ts';
import { type FileFacts, parentOf } from '../../agent/platform/files.ts';
import { openSqlite } from '../../agent/platform/sqlite.ts';

function withIndex(body: (index: LocalIndex, other: LocalIndex) => void): void {
  const sqlite = openSqlite(':memory:');
  try {
    body(openLocalIndex(sqlite, 'one'), openLocalIndex(sqlite, 'two'));
  } finally {
    sqlite.close();
  }
}

const u64 = fc.bigInt(0n, 2n ** 64n - 1n);
const i64 = fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n);
const hex = (bytes: number) =>
  fc.uint8Array({ minLength: bytes, maxLength: bytes }).map((array) => Buffer.from(array).toString('hex'));
const name = fc
  .oneof(
    fc.constantFrom(
      'a',
      'b',
      'ab',
      'a b',
      '!',
      '~',
      '0',
      '__proto__',
      'constructor',
      'new\nline',
      '"',
      '\\',
      '%',
      '_',
    ),
    fc.string({ unit: 'binary', minLength: 1, maxLength: 12 }),
  )
  .filter((text) => nameRefusalOf(text) === undefined && !text.includes('/'));
const path = fc.array(name, { minLength: 1, maxLength: 4 }).map((names) => `/${names.join('/')}`);
const clock = fc.dictionary(fc.oneof(hex(16), fc.string({ maxLength: 5 })), fc.bigInt(1n, 2n ** 63n - 1n), {
  maxKeys: 3,
});

const row: fc.Arbitrary<IndexRow> = fc
  .record({
    path: fc.oneof({ weight: 9, arbitrary: path }, { weight: 1, arbitrary: fc.constant('/') }),
    kind: fc.constantFrom('file' as const, 'directory' as const),
    size: fc.bigInt(0n, 2n ** 40n),
    mtimeNs: i64,
    ctimeNs: i64,
    ino: u64,
    mode: fc.integer({ min: 0, max: 0o777 }),
    sha256: fc.option(hex(32), { nil: undefined }),
    uuid: fc.option(hex(16), { nil: undefined }),
    clock: fc.option(
      clock.map((entries) => new Map(Object.entries(entries))),
      { nil: undefined },
    ),
    found: fc.boolean(),
  })
  .map((generated) => ({
    ...generated,
    localName: undefined,
    ...(generated.kind === 'directory' ? { size: 0n, mtimeNs: 0n, ctimeNs: 0n } : {}),
  }));

test('the index answers as a plain list would, for any rows', () => {
  fc.assert(
    fc.property(fc.array(row, { maxLength: 30 }), fc.array(path, { maxLength: 5 }), (rows, removed) => {
      withIndex((index, other) => {
        const plain = new Map<string, IndexRow>();
        for (const each of rows) {
          index.put(each);
          plain.set(each.path, each);
        }
        for (const each of removed) assert.equal(index.remove(each), plain.delete(each));
        const expected = [...plain.values()];
        for (const each of expected) {
          assert.deepEqual(index.byPath(each.path), each);
          if (each.uuid !== undefined) assert.equal(index.byUuid(each.uuid)?.uuid, each.uuid);
          if (each.sha256 !== undefined)
            assert.deepEqual(
              index
                .bySha256(each.sha256, 99)
                .map((found) => found.path)
                .sort(),
              expected
                .filter(({ sha256 }) => sha256 === each.sha256)
                .map((found) => found.path)
                .sort(),
            );
          assert.ok(index.byInode(each.ino).some((found) => found.path === each.path));
        }
        const all = expected.filter((each) => each.path !== '/').map((each) => each.path);
        assert.deepEqual([...index.below('/')].map((each) => each.path).sort(), all.sort());
        const directories = new Set(all.map((each) => parentOf(each)));
        for (const directory of directories) {
          const inside = all.filter((each) => parentOf(each) === directory).sort();
          assert.deepEqual([...index.children(directory)].map((each) => each.path).sort(), inside);
          assert.equal(index.countChildren(directory), inside.length);
          assert.deepEqual(
            [...index.below(directory)].map((each) => each.path).sort(),
            all.filter((each) => isBelow(each, directory)).sort(),
          );
        }
        assert.deepEqual(
          [...index.found()].map((each) => each.path).sort(),
          expected
            .filter(({ found }) => found)
            .map((each) => each.path)
            .sort(),
        );
        const files = expected.filter(({ kind }) => kind === 'file');
        assert.deepEqual(index.totals(), {
          files: files.length,
          directories: expected.length - files.length,
          bytes: files.reduce((sum, { size }) => sum + size, 0n),
        });
        assert.deepEqual([...other.below('/')], []);
        assert.deepEqual(other.totals(), { files: 0, directories: 0, bytes: 0n });
        index.erase();
        assert.deepEqual([...index.below('/')], []);
        assert.deepEqual(index.totals(), { files: 0, directories: 0, bytes: 0n });
      });
    }),
    { numRuns: 150 },
  );
});

const facts = (from: IndexRow): FileFacts => ({ ...from, dev: 1n, links: 1 });

test('a listing is compared in every field that tells a change', () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(
        row.filter((each) => each.path !== '/'),
        { selector: ({ path }) => path, maxLength: 8 },
      ),
      (rows) => {
        withIndex((index) => {
          const inTop = rows.map((each) => ({
            ...each,
            path: joinPath('/top', each.path.slice(1).replaceAll('/', '-')),
          }));
          const unique = [...new Map(inTop.map((each) => [each.path, each])).values()];
          for (const each of unique) index.put(each);
          const listing = new Map(unique.map((each) => [each.path.slice(5), facts(each)]));
          assert.deepEqual(index.compare('/top', listing), { known: unique.length, differing: [] });
          assert.deepEqual(index.compare('/elsewhere', listing).known, 0);
          for (const each of unique) {
            const own = each.path.slice(5);
            const same = facts(each);
            const changes: FileFacts[] = [
              { ...same, kind: same.kind === 'file' ? 'directory' : 'file' },
              { ...same, ino: same.ino === 0n ? 1n : same.ino - 1n },
              { ...same, mode: same.mode ^ 0o100 },
            ];
            if (same.kind === 'file')
              changes.push(
                { ...same, size: same.size + 1n },
                { ...same, mtimeNs: same.mtimeNs ^ 1n },
                { ...same, ctimeNs: same.ctimeNs ^ 1n },
              );
            for (const changed of changes)
              assert.deepEqual(index.compare('/top', new Map([...listing, [own, changed]])).differing, [
                { name: own, isKnown: true },
              ]);
            index.setMark(each.path, 'gone');
            assert.deepEqual(index.compare('/top', listing).differing, [{ name: own, isKnown: true }]);
            index.setMark(each.path, 'none');
          }
          assert.deepEqual(
            index.compare('/top', new Map([...listing, ['another', facts(unique[0] ?? newFile)]])),
            {
              known: unique.length,
              differing: [{ name: 'another', isKnown: false }],
            },
          );
        });
      },
    ),
    { numRuns: 60 },
  );
});

const newFile: IndexRow = {
  path: '/f',
  kind: 'file',
  size: 1n,
  mtimeNs: 2n,
  ctimeNs: 3n,
  ino: 4n,
  mode: 0o644,
  sha256: undefined,
  uuid: undefined,
  clock: undefined,
  found: false,
  localName: undefined,
};

test('marks are kept per row and tree, counted, and read in pages', () => {
  withIndex((index) => {
    const put = (path: string, change: Partial<IndexRow> = {}) => index.put({ ...newFile, path, ...change });
    put('/a', { kind: 'directory', size: 0n });
    for (let i = 0; i < 10; i++)
      put(`/a/f${i}`, { ino: BigInt(100 + i), uuid: i.toString(16).padStart(32, '0') });
    for (const path of ['/a!', '/a0', '/ab/x', '/b']) put(path, { ino: 7n });
    index.markTree('/a', 'gone');
    assert.deepEqual(index.unread(), { files: 0, bytes: 0n });
    assert.equal(index.countLost(), 10);
    const first = index.marked('gone', -1, 4);
    const rest = index.marked('gone', first.at(-1)!.id, 99);
    assert.deepEqual(
      [...first, ...rest].map(({ row: { path } }) => path).sort(),
      ['/a', ...Array.from({ length: 10 }, (_, i) => `/a/f${i}`)].sort(),
    );
    // One of them lies elsewhere now, and is still to be examined.
    put('/new', { ino: 103n });
    index.setMark('/new', 'examine');
    assert.equal(index.countLost(), 9);
    assert.deepEqual(
      [index.mayHaveMoved(index.byPath('/a/f3')!), index.mayHaveMoved(index.byPath('/a/f4')!)],
      [true, false],
    );
    put('/a/f3', { ino: 103n });
    assert.equal(index.marked('gone', -1, 99).length, 10);
    assert.deepEqual(index.unread(), { files: 1, bytes: 1n });
    assert.deepEqual(index.marked('none', -1, 9), []);
  });
});

const marking = fc.record({
  path: fc.constantFrom('/a', '/a/b', '/a/c', '/d', '/e'),
  action: fc.constantFrom('put', 'mark', 'tree', 'remove'),
  mark: fc.constantFrom(...MARKS),
  kind: fc.constantFrom('file' as const, 'directory' as const),
  size: fc.bigInt(0n, 2n ** 40n),
});

test('what is still to be read is counted as it changes', () => {
  fc.assert(
    fc.property(fc.array(marking, { maxLength: 30 }), (steps) => {
      withIndex((index) => {
        for (const { path, action, mark, kind, size } of steps) {
          if (action === 'put') index.put({ ...newFile, path, kind, size }, mark);
          else if (action === 'mark') index.setMark(path, mark);
          else if (action === 'tree') index.markTree(path, mark);
          else index.remove(path);
          const files = index.marked('examine', -1, 99).filter(({ row }) => row.kind === 'file');
          const bytes = files.reduce((sum, { row }) => sum + row.size, 0n);
          assert.deepEqual(index.unread(), { files: files.length, bytes });
        }
      });
    }),
    { numRuns: 200 },
  );
});

test('what an earlier version had still to read is counted', () => {
  const sqlite = openSqlite(':memory:');
  sqlite.migrate('directory.index', MIGRATIONS.slice(0, 2));
  sqlite.exec(`
    INSERT INTO directory_share(id, club) VALUES(7, 'one');
    INSERT INTO directory_file(share, parent, name, directory, size, mtime, ctime, ino, mode, found, mark) VALUES
      (7, '/', 'a', 0, 5, 0, 0, 1, 0, 0, 1), (7, '/', 'b', 0, 6, 0, 0, 2, 0, 0, 1), (7, '/', 'c', 0, 7, 0, 0, 3, 0, 0, 0),
      (7, '/', 'd', 1, 0, 0, 0, 4, 0, 0, 1), (8, '/', 'a', 0, 9, 0, 0, 5, 0, 0, 1);
  `);
  const index = openLocalIndex(sqlite, 'one');
  assert.deepEqual(index.unread(), { files: 2, bytes: 11n });
  index.setMark('/a', 'none');
  assert.deepEqual(index.unread(), { files: 1, bytes: 6n });
  assert.deepEqual(index.totals(), { files: 3, directories: 1, bytes: 18n });
  sqlite.close();
});

test('a name that had to be replaced on the disk is found both ways, at any depth', () => {
  withIndex((index) => {
    const put = (path: string, localName: string | undefined, kind: IndexRow['kind']) =>
      index.put({ ...newFile, path, kind, localName });
    assert.equal(index.localPath('/Folder/Secret'), '/Folder/Secret');
    put('/folder', undefined, 'directory');
    put('/Folder', 'Folder (2)', 'directory');
    put('/Folder/secret', undefined, 'file');
    put('/Folder/Secret', 'Secret (2)', 'file');
    assert.equal(index.localPath('/Folder/Secret'), '/Folder (2)/Secret (2)');
    assert.equal(index.localPath('/Folder/other'), '/Folder (2)/other');
    assert.equal(index.localPath('/folder/Secret'), '/folder/Secret');
    assert.equal(index.sharePath('/', 'Folder (2)'), '/Folder');
    assert.equal(index.sharePath('/Folder', 'Secret (2)'), '/Folder/Secret');
    assert.equal(index.sharePath('/Folder', 'secret'), '/Folder/secret');
  });
});

test('settings belong to one share', () => {
  withIndex((index, other) => {
    index.setSetting('x', '1');
    index.setSetting('x', '2');
    assert.deepEqual([index.setting('x'), other.setting('x')], ['2', undefined]);
    index.setSetting('x', undefined);
    assert.equal(index.setting('x'), undefined);
  });
});

test('pages may be changed while they are read', () => {
  withIndex((index) => {
    for (let i = 0; i < 600; i++)
      index.put({ ...newFile, path: `/d${i % 3}/f${String(i).padStart(4, '0')}`, found: true });
    let seen = 0;
    for (const each of index.below('/')) {
      seen += 1;
      index.remove(each.path);
    }
    assert.deepEqual([seen, index.totals().files], [600, 0]);
  });
});
