import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { utf8 } from '../../agent/base/bytes.ts';
import { type Contender, conflictKey, isConflictWorthy } from '../../agent/directory/conflict.ts';
import { EMPTY_SHA256 } from '../../agent/directory/entry.ts';

const MARK = 'q3x9k2ab';
const A = 'aa'.repeat(32);
const B = 'bb'.repeat(32);

function file(sha256: string, rest: Partial<Contender> = {}): Contender {
  return {
    key: '/foo.txt',
    value: { size: sha256 === EMPTY_SHA256 ? 0 : 5, sha256 },
    deleted: false,
    ...rest,
  };
}

function start(text: string): string {
  return [...text].slice(0, 40).join('');
}

describe('the name of a conflict copy', () => {
  const names: readonly (readonly [string, string])[] = [
    ['/foo.txt', '/foo.CONFLICT.q3x9k2ab.txt'],
    ['/deep/er/foo.txt', '/deep/er/foo.CONFLICT.q3x9k2ab.txt'],
    ['/noextension', '/noextension.CONFLICT.q3x9k2ab'],
    ['/a.b/noextension', '/a.b/noextension.CONFLICT.q3x9k2ab'],
    ['/.profile', '/.profile.CONFLICT.q3x9k2ab'],
    ['/.config.json', '/.config.CONFLICT.q3x9k2ab.json'],
    ['/archive.tar.gz', '/archive.tar.CONFLICT.q3x9k2ab.gz'],
    ['/ends in a dot.', '/ends in a dot..CONFLICT.q3x9k2ab'],
    ['/new\nline.mid', '/new\nline.CONFLICT.q3x9k2ab.mid'],
    ['/foo.CONFLICT.11111111.txt', '/foo.CONFLICT.q3x9k2ab.txt'],
    [`/${'x'.repeat(255)}`, `/${'x'.repeat(237)}.CONFLICT.q3x9k2ab`],
    [`/${'🎹'.repeat(60)}.mid`, `/${'🎹'.repeat(58)}.CONFLICT.q3x9k2ab.mid`],
    [`/a.${'e'.repeat(200)}`, `/a.${'e'.repeat(200)}.CONFLICT.q3x9k2ab`],
  ];
  for (const [key, expected] of names) {
    it(`of ${JSON.stringify(start(key))} begins ${JSON.stringify(start(expected))}`, () => {
      assert.equal(conflictKey(key, MARK), expected);
    });
  }

  it('stays in the folder, is a valid name of at most 255 bytes, and differs from the original', () => {
    const name = fc
      .string({ unit: 'grapheme', minLength: 1, maxLength: 255 })
      .filter((text) => !/[/\0]/.test(text) && text.isWellFormed() && utf8(text).length <= 255);
    fc.assert(
      fc.property(name, fc.constantFrom('/', '/folder/', '/a.b/c.d/'), (text, folder) => {
        const key = conflictKey(folder + text, MARK);
        assert.ok(key.startsWith(folder));
        const last = key.slice(folder.length);
        assert.ok(!last.includes('/') && last.isWellFormed());
        assert.ok(utf8(last).length <= 255);
        assert.notEqual(key, folder + text);
        assert.ok(last.includes(`.CONFLICT.${MARK}`));
      }),
    );
  });
});

describe('a loser is kept', () => {
  it('when its contents differ from the winner, or the winner is deleted or a folder', () => {
    assert.equal(isConflictWorthy(file(A), file(B)), true);
    assert.equal(isConflictWorthy(file(A), file(A, { deleted: true })), true);
    assert.equal(isConflictWorthy(file(A), file(A, { value: { size: null, sha256: null } })), true);
    assert.equal(isConflictWorthy(file(A), file(A, { key: '/elsewhere', value: null })), true);
  });

  it('not when the contents survive, or when there are none', () => {
    assert.equal(isConflictWorthy(file(A), file(A, { key: '/renamed.txt' })), false);
    assert.equal(
      isConflictWorthy(file(A), file(A, { value: { size: 5, sha256: A, unix_mode: '0600' } })),
      false,
    );
    assert.equal(isConflictWorthy(file(A, { deleted: true }), file(B)), false);
    assert.equal(isConflictWorthy(file(A, { value: { size: null, sha256: null } }), file(B)), false);
    assert.equal(isConflictWorthy(file(A, { value: 'not a file' }), file(B)), false);
    for (const key of ['foreign', '/', '/../x', '/.clearskies/tmp'])
      assert.equal(isConflictWorthy(file(A, { key }), file(B)), false);
  });
});
