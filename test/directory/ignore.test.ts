import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { errorCode } from '../../agent/base/errors.ts';
import { type EntryKind, parseIgnoreText } from '../../agent/directory/ignore.ts';
import { changedRules, EVERYTHING, Selection } from '../../agent/directory/selection.ts';
import { peerTest } from '../support/peers.ts';

function selectionOf(text: string): Selection {
  const selection = new Selection();
  selection.set(EVERYTHING, text);
  return selection;
}

function ignores(text: string, path: string, kind: EntryKind = 'file'): boolean {
  return selectionOf(text).standing(path, kind) === 'ignored';
}

test('a pattern without a slash counts at any depth, one with a slash from the top', () => {
  assert.ok(ignores('*.tmp', '/a.tmp'));
  assert.ok(ignores('*.tmp', '/b/c/a.tmp'));
  assert.ok(!ignores('*.tmp', '/a.tmpx'));
  assert.ok(ignores('/cache', '/cache'));
  assert.ok(!ignores('/cache', '/b/cache'));
  assert.ok(ignores('b/c', '/b/c'));
  assert.ok(!ignores('b/c', '/a/b/c'));
});

test('two asterisks stand for any number of folders, at the end for what is inside', () => {
  assert.ok(ignores('a/**/z', '/a/z'));
  assert.ok(ignores('a/**/z', '/a/b/c/z'));
  assert.ok(ignores('**/z', '/z'));
  assert.ok(ignores('***/z', '/z'), 'more of them are no more');
  assert.ok(!ignores('a/**', '/a', 'directory'));
  assert.ok(!ignores('a/***', '/a', 'directory'));
  assert.ok(ignores('a/**', '/a/b'));
});

test('what lies in an ignored folder can not be taken back; what lies beside can', () => {
  assert.ok(ignores('build/\n!build/keep.txt', '/build/keep.txt'));
  assert.ok(!ignores('build/*\n!build/keep.txt', '/build/keep.txt'));
  assert.ok(ignores('build/*\n!build/keep.txt', '/build/other.txt'));
});

test('a slash at the end means folders only', () => {
  assert.ok(ignores('build/', '/build', 'directory'));
  assert.ok(!ignores('build/', '/build', 'file'));
  assert.ok(ignores('build/', '/src/build/x'));
});

test('brackets stand for one of several characters, a range backwards for its first', () => {
  assert.ok(ignores('[ab].mid', '/a.mid'));
  assert.ok(ignores('[b-d]', '/c'));
  assert.ok(!ignores('[!b-d]', '/c'));
  assert.ok(ignores('[d-b]', '/d'));
  assert.ok(!ignores('[d-b]', '/c'));
  assert.ok(!ignores('[d-b]', '/b'));
  assert.ok(ignores('/x[/y]/z', '/xy/z'), 'a slash between brackets parts nothing');
  assert.ok(!ignores('/x[y/z', '/x[y/z'), 'nor is one that never closes anything');
});

test('comments, blank lines and spaces at the end count for nothing, unless they are escaped', () => {
  assert.equal(parseIgnoreText('# no\n\n   \n').length, 0);
  assert.ok(ignores('\\#yes', '/#yes'));
  assert.ok(ignores('\\!yes', '/!yes'));
  assert.ok(ignores('a.txt   ', '/a.txt'));
  assert.ok(ignores('a.txt\\ ', '/a.txt '));
  assert.ok(ignores('\u{feff}a.txt\r\n', '/a.txt'));
});

test('the root and the ignore file itself are never ignored', () => {
  assert.ok(!ignores('*\n**', '/', 'directory'));
  assert.ok(!ignores('*\n**', '/.skylarkignore'));
  assert.ok(ignores('*', '/.skylarkignore', 'directory'));
  assert.ok(ignores('*', '/b/.skylarkignore'));
});

test('only what is below the chosen parts is wanted, and the folders on the way there', () => {
  const selection = new Selection();
  selection.set(changedRules(EVERYTHING, { only: ['photos/2024/', '/music'], ignore: ['*.tmp'] }), '');
  assert.equal(selection.standing('/photos', 'directory'), 'wanted');
  assert.equal(selection.standing('/photos', 'file'), 'outside');
  assert.equal(selection.standing('/photos/2023', 'directory'), 'outside');
  assert.equal(selection.standing('/photos/2024/a/b.jpg', 'file'), 'wanted');
  assert.equal(selection.standing('/photos/2024b', 'directory'), 'outside');
  assert.equal(selection.standing('/music', 'file'), 'wanted');
  assert.equal(selection.standing('/music/x.tmp', 'file'), 'ignored');
  assert.equal(selection.standing('/other.txt', 'file'), 'outside');
});

test('rules that nobody can mean are refused', () => {
  const refusal = (change: Parameters<typeof changedRules>[1]) => {
    try {
      changedRules(EVERYTHING, change);
      return undefined;
    } catch (thrown) {
      return errorCode(thrown);
    }
  };
  assert.equal(refusal({ ignore: ['# a comment'] }), 'ignore.no_pattern');
  assert.equal(refusal({ ignore: ['a\nb'] }), 'ignore.no_pattern');
  assert.equal(refusal({ ignore: ['x'.repeat(1_025)] }), 'ignore.too_long');
  assert.equal(refusal({ ignore: Array.from({ length: 1_001 }, (_, i) => `p${i}`) }), 'ignore.too_many');
  assert.equal(refusal({ only: ['a/../b'] }), 'only.not_a_path');
  assert.deepEqual(changedRules(EVERYTHING, { only: ['a', '/'] }).only, []);
});

test('patterns made to take long are refused, or take no longer than others', () => {
  const path = `/${'a/'.repeat(100)}${'a'.repeat(250)}`;
  const repeated = (count: number, pattern: string) =>
    Array.from({ length: count }, () => pattern).join('\n');
  for (const evil of [
    repeated(30, `${'*a'.repeat(500)}b`),
    repeated(30, `**/*${'a'.repeat(100)}b*/c`),
    `**/${'**/a/'.repeat(200)}b\n${'**/a/'.repeat(200)}b`,
    repeated(100, `${'a/'.repeat(50)}b`),
  ])
    assert.throws(() => selectionOf(evil), { code: 'ignore.too_costly' });
  const allowed = [
    repeated(2, `${'*a'.repeat(500)}b`),
    repeated(30, `*b${'a'.repeat(500)}`),
    `${'**/a/'.repeat(200)}b`,
    `/${'['.repeat(1_000)}`,
  ];
  assert.equal(selectionOf(allowed.join('\n')).standing(path, 'file'), 'wanted');
});

test('what is remembered of folders changes nothing', () => {
  const [text, deep] = ['x\n!x/y\n/a/b/*\n!/a/b/c', `/${'d/'.repeat(2_040)}f`];
  const used = selectionOf(text);
  const paths = ['/a', '/a/b', '/a/b/c', '/a/b/c/d', '/a/b/e', '/a/b/e/f', '/x', '/x/y', '/q/x/y/z', deep];
  for (const kind of ['file', 'directory', 'file'] as const)
    for (const path of [...paths, ...paths.toReversed()])
      assert.equal(used.standing(path, kind), selectionOf(text).standing(path, kind), path);
});

test('any text is a pattern or none, and any path has a standing', () => {
  fc.assert(
    fc.property(
      fc.array(fc.string({ unit: 'grapheme', maxLength: 40 }), { maxLength: 20 }),
      fc.array(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 10 }), { minLength: 1, maxLength: 6 }),
      (lines, names) => {
        const path = `/${names.map((name) => name.replaceAll('/', '_')).join('/')}`;
        const standing = selectionOf(lines.join('\n')).standing(path, 'file');
        assert.ok(standing === 'wanted' || standing === 'ignored');
      },
    ),
  );
});

const name = fc.string({
  unit: fc.constantFrom('a', 'b', 'c', '.', '-', '!', '#', ' ', ']'),
  minLength: 1,
  maxLength: 4,
});
const piece = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom('a', 'b', 'c', 'ab') },
  fc.constantFrom(
    '*',
    '?',
    '**',
    '[ab]',
    '[!a]',
    '[^b-c]',
    '[a-',
    '[]a]',
    '\\a',
    '\\*',
    '.',
    '-',
    '!',
    '#',
    ' ',
    '[[:alpha:]]',
    '[[:punct:]b]',
  ),
);
const component = fc.array(piece, { minLength: 1, maxLength: 3 }).map((pieces) => pieces.join(''));
const pattern = fc
  .tuple(
    fc.constantFrom('', '', '', '!'),
    fc.constantFrom('', '/', '**/'),
    fc.array(component, { minLength: 1, maxLength: 3 }),
    fc.constantFrom('', '', '/', '/**', ' '),
  )
  .map(([negation, start, components, end]) => `${negation}${start}${components.join('/')}${end}`);

peerTest('git ignores just the same', { programs: ['git'] }, () => {
  const top = mkdtempSync(join(tmpdir(), 'skylark-ignore-'));
  try {
    let run = 0;
    fc.assert(
      fc.property(
        fc.array(pattern, { minLength: 1, maxLength: 5 }),
        fc.uniqueArray(fc.array(name, { minLength: 1, maxLength: 4 }), {
          minLength: 4,
          maxLength: 12,
          selector: (names) => names.join('/'),
        }),
        (patterns, trees) => {
          const folder = join(top, `${run++}`);
          mkdirSync(folder);
          execFileSync('git', ['init', '-q', folder]);
          writeFileSync(join(folder, '.gitignore'), patterns.join('\n'));
          const paths = makeTree(folder, trees);
          const asked = [...paths.keys()].map((path) => path.slice(1));
          const selection = selectionOf(patterns.join('\n'));
          const ours = asked.filter(
            (path) => selection.standing(`/${path}`, paths.get(`/${path}`) ?? 'file') === 'ignored',
          );
          assert.deepEqual(ours.sort(), gitIgnores(folder, asked).sort());
        },
      ),
      { numRuns: process.env.SKYLARK_LONG === '1' ? 2_000 : 60 },
    );
  } finally {
    rmSync(top, { recursive: true, force: true });
  }
});

/** Files, and the folders that they lie in. */
function makeTree(top: string, trees: readonly (readonly string[])[]): Map<string, EntryKind> {
  const paths = new Map<string, EntryKind>();
  for (const names of trees) {
    if (names.some((each) => each === '.' || each === '..' || each === '.git')) continue;
    const path = `/${names.join('/')}`;
    const above = names.slice(0, -1).map((_, i) => `/${names.slice(0, i + 1).join('/')}`);
    if (paths.has(path) || above.some((folder) => paths.get(folder) === 'file')) continue;
    for (const folder of above) paths.set(folder, 'directory');
    paths.set(path, 'file');
    mkdirSync(dirname(join(top, path)), { recursive: true });
    writeFileSync(join(top, path), '');
  }
  return paths;
}

function gitIgnores(folder: string, paths: readonly string[]): string[] {
  if (paths.length === 0) return [];
  const said = runGit(folder, paths.join('\0'));
  // Source, line, pattern and path for each; a pattern that takes back counts as one that fits.
  const fields = said.split('\0').slice(0, -1);
  const ignored: string[] = [];
  for (let i = 0; i + 3 < fields.length; i += 4)
    if (fields[i + 2] !== '' && !fields[i + 2]!.startsWith('!')) ignored.push(fields[i + 3]!);
  return ignored;
}

function runGit(folder: string, input: string): string {
  const args = [
    '-C',
    folder,
    '-c',
    'core.excludesFile=/dev/null',
    'check-ignore',
    '--no-index',
    '-z',
    '-v',
    '-n',
    '--stdin',
  ];
  try {
    return execFileSync('git', args, { input, encoding: 'utf8' });
  } catch (thrown) {
    // 1: it ignores none of them.
    const { status, stdout } = thrown as { status?: number; stdout?: string };
    if (status === 1) return stdout ?? '';
    throw thrown;
  }
}
