import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { utf8 } from '../../agent/base/bytes.ts';
import { numberedPath, pathOfName } from '../../firmware-bridge/names.ts';

test('plain names stay as they are', () => {
  for (const name of [
    'REC0001 Étude in B♭.mid',
    'a b (2).mid',
    'folder/take 1.mid',
    '👩‍🎹.mid',
    'ノクターン.mid',
  ]) {
    assert.equal(pathOfName(name), `/${name}`);
  }
});

test('whatever a device says becomes a path that is safe everywhere', () => {
  const nasty = fc.constantFrom(
    '..',
    '.',
    '/',
    '\\',
    '\0',
    '\n',
    '\u001b',
    '\u202e',
    '.!clearsky',
    '.clearskies',
    ' ',
  );
  const names = fc
    .array(fc.oneof(nasty, fc.string({ unit: 'binary' })), { maxLength: 12 })
    .map((parts) => parts.join(''));
  fc.assert(
    fc.property(names, (name) => {
      const path = pathOfName(name);
      assert.ok(path.isWellFormed() && path === path.normalize('NFC'));
      assert.doesNotMatch(path, /[\p{Cc}\u202a-\u202e\u2066-\u2069\\]/u);
      const components = path.split('/').slice(1);
      assert.ok(components.length >= 1 && components.length <= 8);
      for (const component of components) {
        assert.ok(component.trim() !== '' && !component.startsWith('.') && !component.endsWith('.!clearsky'));
        assert.ok(utf8(component).length <= 241);
      }
      assert.equal(pathOfName(path), path);
    }),
    { numRuns: 500 },
  );
});

test('a long name keeps its extension and whole characters', () => {
  const path = pathOfName(`${'♭'.repeat(200)}.mid`);
  assert.match(path, /^\/♭{78}\.mid$/);
  assert.ok(utf8(pathOfName('x'.repeat(5_000))).length <= 241);
});

test('a number goes before the extension', () => {
  assert.equal(numberedPath('/a/song.mid', 1), '/a/song.mid');
  assert.equal(numberedPath('/a/song.mid', 2), '/a/song (2).mid');
  assert.equal(numberedPath('/a.b/song', 12), '/a.b/song (12)');
  assert.equal(numberedPath('/x.tar.gz', 3), '/x.tar (3).gz');
});
