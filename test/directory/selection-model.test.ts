/**
 * Whatever is chosen, in whatever order: no change of what is kept deletes anything anywhere, no file disappears from the
 * disk by it, and what is wanted in the end is in step.
 */

import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { it } from 'node:test';
import fc from 'fast-check';
import { EVERYTHING, type SelectionRules } from '../../agent/directory/selection.ts';
import { eventually } from '../support/eventually.ts';
import { connect, type Member, withClub } from './members.ts';

/** Folders and files have different names: what happens where they clash is shown elsewhere. */
const path = fc
  .tuple(fc.array(fc.constantFrom('a', 'b', 'd'), { maxLength: 2 }), fc.constantFrom('f', 'g.tmp', 'h'))
  .map(([folders, name]) => [...folders, name].join('/'));
const pattern = fc.constantFrom('*.tmp', 'a', '/a/', 'b/*', '!b/f', '**/h', '!*.tmp', '/d', 'a/**/f', '*');
const rules: fc.Arbitrary<SelectionRules> = fc.record({
  direction: fc.constantFrom('both', 'both', 'both', 'send', 'receive'),
  isShallow: fc.constantFrom(false, false, true),
  only: fc.oneof(fc.constant([]), fc.array(fc.constantFrom('/a', '/b', '/a/b', '/d'), { maxLength: 2 })),
  ignore: fc.array(pattern, { maxLength: 3 }),
});

type Step =
  | { readonly kind: 'select'; readonly rules: SelectionRules }
  | { readonly kind: 'ignoreFile'; readonly patterns: readonly string[] }
  | { readonly kind: 'write'; readonly by: 'a' | 'b'; readonly path: string }
  | { readonly kind: 'restart' };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('select' as const), rules }) },
  fc.record({ kind: fc.constant('ignoreFile' as const), patterns: fc.array(pattern, { maxLength: 2 }) }),
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('write' as const),
      by: fc.constantFrom('a' as const, 'b' as const),
      path,
    }),
  },
  fc.record({ kind: fc.constant('restart' as const) }),
);

/** Contents of all files, also of those in the archive. */
function contents(member: Member): Set<string> {
  const found = new Set<string>();
  const visit = (folder: string) => {
    if (!existsSync(folder)) return;
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      const inner = join(folder, entry.name);
      if (entry.isDirectory() && entry.name !== 'partial') visit(inner);
      else if (entry.isFile()) found.add(readFileSync(inner, 'utf8'));
    }
  };
  visit(member.folder);
  return found;
}

function files(member: Member): string[] {
  return readdirSync(member.folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.parentPath.includes('.clearskies'))
    .map(({ parentPath, name }) => join(parentPath, name).slice(member.folder.length))
    .sort();
}

/** Deleted records of files. */
function tombstones(member: Member): number {
  const row = member.sqlite
    .prepare<{ count: bigint }>(
      "SELECT count(*) AS count FROM database_record WHERE deleted <> 0 AND (key LIKE '%/f%' OR key LIKE '%/g%' OR key LIKE '%/h%')",
    )
    .get();
  return Number(row?.count ?? 0n);
}

function write(member: Member, inner: string, text: string): void {
  mkdirSync(dirname(member.at(inner)), { recursive: true });
  writeFileSync(member.at(inner), text);
}

async function quiet(a: Member, b: Member): Promise<void> {
  await eventually('nothing happens any more', async () => {
    for (const member of [a, b]) {
      await member.share.rescan();
      await member.share.settled();
    }
    const synced = [a, b].every(({ share }) => share.status().isSynced);
    const before = JSON.stringify([files(a), files(b)]);
    return synced && before === JSON.stringify([files(a), files(b)]);
  });
}

it('no change of what is kept deletes anything or makes a file disappear', async () => {
  const runs = process.env.SKYLARK_LONG === '1' ? 150 : 8;
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(path, { minLength: 2, maxLength: 8 }),
      fc.array(step, { minLength: 2, maxLength: 7 }),
      (paths, steps) =>
        withClub(async (club) => {
          const a = await club.member('a');
          const b = await club.member('b');
          const written = new Map<Member, Set<string>>([
            [a, new Set()],
            [b, new Set()],
          ]);
          let count = 0;
          const put = (member: Member, inner: string) => {
            const text = `${member.name} ${inner} ${count++}`;
            // What its owner replaces he does not want to keep.
            if (existsSync(member.at(inner)))
              written.get(member)?.delete(readFileSync(member.at(inner), 'utf8'));
            write(member, inner, text);
            written.get(member)?.add(text);
          };
          for (const inner of paths) put(count % 3 === 0 ? b : a, inner);
          let connection = connect(a, b);
          await quiet(a, b);
          let current = EVERYTHING;
          let deleted = tombstones(a);
          for (const each of steps) {
            const before = files(a);
            if (each.kind === 'select') {
              current = each.rules;
              await a.share.select(current);
            } else if (each.kind === 'ignoreFile') {
              writeFileSync(a.at('.skylarkignore'), each.patterns.join('\n'));
              await a.share.rescan();
            } else if (each.kind === 'restart') {
              await connection.cut();
              await a.close();
              await a.open();
              await a.share.select(current);
              connection = connect(a, b);
            } else put(each.by === 'a' ? a : b, each.path);
            await quiet(a, b);
            const after = new Set(files(a));
            // Conflicts and edits that are put right may take a file's place, never its path.
            if (each.kind !== 'write')
              for (const inner of before)
                assert.ok(after.has(inner), `${inner} has disappeared by ${JSON.stringify(each)}`);
            assert.equal(tombstones(a), deleted, `something was deleted by ${JSON.stringify(each)}`);
            assert.equal(tombstones(b), deleted);
            deleted = tombstones(a);
          }
          for (const member of [a, b]) {
            const kept = contents(member);
            for (const text of written.get(member) ?? [])
              assert.ok(kept.has(text), `${member.name} has lost what its owner wrote: ${text}`);
          }
          // All that either has comes together when everything is wanted again.
          writeFileSync(a.at('.skylarkignore'), '');
          await a.share.select(EVERYTHING);
          await a.share.rescan();
          await eventually('both have the same', async () => {
            await quiet(a, b);
            return JSON.stringify(files(a)) === JSON.stringify(files(b));
          });
        }),
    ),
    { numRuns: runs },
  );
});
