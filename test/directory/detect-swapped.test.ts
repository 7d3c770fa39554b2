/** Folders that become something else, and themselves again, while they are being looked at. */

import assert from 'node:assert/strict';
import fs from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { ShareRoot } from '../../agent/platform/files.ts';
import { eventually } from '../support/eventually.ts';
import { type Folder, inRecords, onDisk, withFolder } from './folder.ts';
import { opened } from './hasty-detector.ts';

/** Puts a link in the place of a folder. @returns puts it back. */
function swap(folder: Folder, path: string): () => void {
  const aside = join(folder.path, '..', 'aside');
  fs.renameSync(folder.at(path), aside);
  fs.symlinkSync(aside, folder.at(path));
  return () => {
    fs.rmSync(folder.at(path));
    fs.renameSync(aside, folder.at(path));
  };
}

/** The root, with watches that are made in another way. */
function watching(root: ShareRoot, watch: ShareRoot['watch']): ShareRoot {
  return new Proxy(root, {
    get(target, name) {
      if (name === 'watch') return watch;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

test('what is in a folder that was a link for a moment while it was scanned is noted soon', () =>
  withFolder(async (folder) => {
    fs.mkdirSync(folder.at('/d/inner'), { recursive: true });
    let isSwapped = false;
    const root = watching(folder.root, async (path, listener) => {
      if (path !== '/d/inner' || isSwapped) return folder.root.watch(path, listener);
      isSwapped = true;
      const putBack = swap(folder, '/d');
      return folder.root.watch(path, listener).finally(putBack);
    });
    await opened(folder, { root });
    assert.ok(isSwapped);
    fs.writeFileSync(folder.at('/d/inner/new'), 'new');
    await eventually('it is noted', () => folder.records.get('/d/inner/new') !== undefined);
    assert.deepEqual(inRecords(folder), onDisk(folder));
  }));
