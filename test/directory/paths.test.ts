import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { utf8 } from '../../agent/base/bytes.ts';
import { SkylarkError } from '../../agent/base/errors.ts';
import {
  alternativeName,
  checkSharePath,
  isBelow,
  isWithin,
  joinPath,
  nameRefusalOf,
  refusalOf,
} from '../../agent/directory/paths.ts';
import { foldName, nameOf, parentOf } from '../../agent/platform/files.ts';

const good = fc
  .array(
    fc
      .string({ unit: 'binary', minLength: 1, maxLength: 40 })
      .filter((name) => nameRefusalOf(name) === undefined && !name.includes('/')),
    { minLength: 1, maxLength: 6 },
  )
  .map((names) => `/${names.join('/')}`);

test('ordinary and odd names are taken', () => {
  for (const path of [
    '/',
    '/a',
    '/a b/ü/🎹.mid',
    '/new\nline',
    '/...',
    '/..a',
    '/a..',
    '/ ',
    '/-rf',
    '/CON',
    '/a:b*c?"<>|\\',
    '/.hidden',
    '/clearskies',
    `/${'x'.repeat(255)}`,
  ])
    assert.equal(refusalOf(path), undefined, JSON.stringify(path));
});

test('everything that could leave the share or confuse it is refused', () => {
  const refused: [string, string][] = [
    ['', 'not_absolute'],
    ['a/b', 'not_absolute'],
    ['../x', 'not_absolute'],
    ['//', 'component_empty'],
    ['/a//b', 'component_empty'],
    ['/a/', 'component_empty'],
    ['/.', 'component_dots'],
    ['/..', 'component_dots'],
    ['/a/../b', 'component_dots'],
    ['/a\0', 'component_nul'],
    ['/\ud800', 'not_unicode'],
    ['/\udc00\ud800', 'not_unicode'],
    [`/${'x'.repeat(256)}`, 'component_too_long'],
    [`/${'ü'.repeat(128)}`, 'component_too_long'],
    [`/${'a/'.repeat(9_000)}a`, 'too_long'],
  ];
  for (const [path, refusal] of refused) {
    assert.equal(refusalOf(path), refusal, JSON.stringify(path.slice(0, 40)));
    assert.throws(
      () => checkSharePath(path),
      (thrown) =>
        thrown instanceof SkylarkError && thrown.fault === 'peer' && thrown.code === `path.${refusal}`,
    );
  }
});

test('our own names are refused in every form that some file system takes for them', () => {
  const own = [
    '.clearskies',
    '.ClearSkies',
    '.clear\u017fkies',
    '.clears\u212aies',
    '.clear\u200cskies',
    '.clearskies.',
    '.clearskies ',
    '.clearskies. .',
    'CLEARS~1',
    'cl3fa9~1',
    'x.!clearsky',
    'X.!ClearSky',
    'x.!clearsky.',
    '.!clearsky',
  ];
  for (const name of own)
    for (const path of [`/${name}`, `/a/${name}`, `/${name}/share`, `/a/${name}/tmp/x`])
      assert.equal(refusalOf(path), 'component_reserved', JSON.stringify(path));
});

test('a path is the joint of its parent and its name, and lies below all of its parents', () => {
  fc.assert(
    fc.property(good, (path) => {
      assert.equal(refusalOf(path), undefined);
      assert.equal(joinPath(parentOf(path), nameOf(path)), path);
      for (let at = path; at !== '/'; at = parentOf(at)) {
        assert.ok(isBelow(path, parentOf(at)));
        assert.ok(isWithin(path, at));
      }
      assert.ok(!isBelow(path, path));
      assert.ok(!isBelow(`${path}x`, path));
    }),
  );
});

test('whatever a peer sends is decided without anything but a refusal', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 400 }), (text) => {
      const refusal = refusalOf(text);
      if (refusal !== undefined || text === '/') return;
      for (const name of text.slice(1).split('/')) {
        assert.ok(
          name !== '' && name !== '.' && name !== '..' && !name.includes('\0') && utf8(name).length <= 255,
        );
        assert.notEqual(foldName(name), '.clearskies');
      }
    }),
    { numRuns: 500 },
  );
});

test('an alternative name fits, keeps its extension and is another name', () => {
  assert.equal(alternativeName('Secret.txt', 2), 'Secret (2).txt');
  assert.equal(alternativeName('.profile', 3), '.profile (3)');
  fc.assert(
    fc.property(
      fc
        .string({ unit: 'grapheme', minLength: 1, maxLength: 255 })
        .filter((name) => nameRefusalOf(name) === undefined && !name.includes('/')),
      fc.integer({ min: 2, max: 999 }),
      (name, attempt) => {
        const other = alternativeName(name, attempt);
        assert.ok(utf8(other).length <= 255 && other.isWellFormed());
        assert.notEqual(foldName(other), foldName(name));
      },
    ),
  );
});
