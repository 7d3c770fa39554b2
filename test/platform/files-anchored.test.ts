import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { errorCode } from '../../agent/base/errors.ts';
import { type AnchoredDirectories, openAnchoredDirectories } from '../../agent/platform/files-anchored.ts';
import { withCode, withShare } from './share-folder.ts';

function read(directories: AnchoredDirectories, path: string): string {
  const file = directories.openFile(path);
  try {
    const buffer = new Uint8Array(1_000);
    return Buffer.from(buffer.subarray(0, file.read(buffer, 0))).toString();
  } finally {
    file.close();
  }
}

/** What opening says: the contents or the code of the refusal. */
function outcome(directories: AnchoredDirectories, path: string): string {
  try {
    return read(directories, path);
  } catch (thrown) {
    return errorCode(thrown) ?? String(thrown);
  }
}

test('files are found at any depth, in any order, with few directories open', async () => {
  await withShare(async ({ root, at }) => {
    const paths = ['/f', '/a/f', '/a/b/f', '/a/b/c/d/f', '/ab/f', '/a/bc/f', '/z/f'];
    for (const path of paths) {
      fs.mkdirSync(join(at(path), '..'), { recursive: true });
      fs.writeFileSync(at(path), path);
    }
    await root.withRootDescriptor(async (descriptor) => {
      fc.assert(
        fc.property(fc.array(fc.constantFrom(...paths), { maxLength: 20 }), (order) => {
          const directories = openAnchoredDirectories(descriptor);
          const before = fs.readdirSync('/proc/self/fd').length;
          for (const path of order) assert.equal(read(directories, path), path);
          assert.ok(fs.readdirSync('/proc/self/fd').length - before <= 4);
          directories.close();
          assert.equal(fs.readdirSync('/proc/self/fd').length, before);
        }),
        { numRuns: 40 },
      );
    });
  });
});

test('links, pipes and folders are refused, and a moved folder is walked to anew', async () => {
  await withShare(async ({ root, at, outside }) => {
    fs.mkdirSync(join(outside, 'target'));
    fs.writeFileSync(join(outside, 'target', 'f'), 'outside');
    fs.symlinkSync(join(outside, 'target'), at('/link'));
    fs.symlinkSync(join(outside, 'target', 'f'), at('/file link'));
    fs.mkdirSync(at('/a/b'), { recursive: true });
    fs.writeFileSync(at('/a/b/f'), 'first');
    execFileSync('mkfifo', [at('/pipe')]);
    await root.withRootDescriptor(async (descriptor) => {
      const directories = openAnchoredDirectories(descriptor);
      assert.deepEqual(
        ['/link/f', '/file link', '/pipe', '/a', '/missing/f', '/a/b/f'].map((path) =>
          outcome(directories, path),
        ),
        ['files.absent', 'files.symlink', 'files.not_a_file', 'files.not_a_file', 'files.absent', 'first'],
      );
      for (const path of ['/../share/a/b/f', '/a/./b/f', '//a/b/f'])
        assert.match(outcome(directories, path), /^files\.(name_unsafe|absent)$/);
      fs.renameSync(at('/a'), at('/old'));
      assert.equal(outcome(directories, '/a/b/f'), 'files.absent');
      assert.equal(outcome(directories, '/old/b/f'), 'first');
      fs.mkdirSync(at('/a/b'), { recursive: true });
      fs.writeFileSync(at('/a/b/f'), 'second');
      assert.equal(outcome(directories, '/a/b/f'), 'second');
      // Swapped for a link while its handle is open.
      fs.renameSync(at('/a'), at('/older'));
      fs.symlinkSync(join(outside, 'target'), at('/a'));
      assert.equal(outcome(directories, '/a/f'), 'files.absent');
      directories.close();
    });
  });
});

test('a file tells when it changes under the reader', async () => {
  await withShare(async ({ root, at }) => {
    fs.writeFileSync(at('/f'), 'one');
    await root.withRootDescriptor(async (descriptor) => {
      const directories = openAnchoredDirectories(descriptor);
      const file = directories.openFile('/f');
      assert.deepEqual(file.look(), file.facts);
      fs.appendFileSync(at('/f'), 'two');
      assert.equal(file.look().size, 6n);
      file.close();
      await assert.rejects(async () => directories.directory('/f'), withCode('files.absent'));
      directories.close();
    });
  });
});
