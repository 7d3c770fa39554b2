/** Two and three whole shares in one process, joined by real sessions over memory: what members do to each other's folders. */

import assert from 'node:assert/strict';
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { connect, eventually, withClub } from '../directory/members.ts';
import { sameTree, treeOf } from '../support/folder-tree.ts';

describe('two shares', () => {
  it('show the same files: created, edited, renamed, deleted, with folders, modes and times', () =>
    withClub(async (club) => {
      const a = await club.member('a');
      const b = await club.member('b');
      connect(a, b);
      const same = (what: string) =>
        eventually(what, () => sameTree(a.folder, b.folder, { times: true })).catch(async (thrown) => {
          console.log(a.log.concat(b.log));
          console.log(a.share.status(), b.share.status());
          console.log(await treeOf(a.folder), await treeOf(b.folder));
          throw thrown;
        });
      await mkdir(a.at('deep/er'), { recursive: true });
      await mkdir(a.at('empty folder'));
      await writeFile(a.at('deep/er/song.mid'), Buffer.alloc(300_000, 'MThd'));
      await writeFile(a.at('zero'), '');
      await same('what was created is on both sides');
      assert.equal((await treeOf(b.folder)).length, 5);
      await writeFile(b.at('zero'), 'not any more');
      await same('an edit');
      await rename(a.at('deep/er'), a.at('shallow'));
      await same('a renamed folder');
      await rm(b.at('shallow'), { recursive: true });
      await same('a deletion');
    }));
});
