import assert from 'node:assert/strict';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { isFolder, openNewFile, pathBelow } from '../../agent/platform/new-file.ts';

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'skylark-new-file-'));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

test('a new file is there whole or not at all, with the time that it should have', async (t) => {
  const top = folder(t);
  const file = await openNewFile(join(top, 'song'));
  await file.write(Buffer.from('one '));
  await file.write(Buffer.from('two'));
  assert.ok(!readdirSync(top).includes('song'));
  await file.commit(1_000_000_000_123_000_000n);
  file.discard();
  assert.deepEqual(readdirSync(top), ['song']);
  assert.equal(readFileSync(file.path, 'utf8'), 'one two');
  assert.equal(statSync(file.path, { bigint: true }).mtimeNs / 1_000n, 1_000_000_000_123_000n);

  const given = await openNewFile(join(top, 'given up'));
  await given.write(Buffer.from('half'));
  given.discard();
  given.discard();
  assert.deepEqual(readdirSync(top), ['song']);
});

test('it never takes the place of anything, also of what came meanwhile', async (t) => {
  const top = folder(t);
  writeFileSync(join(top, 'there'), 'mine');
  symlinkSync('/nowhere', join(top, 'link'));
  for (const name of ['there', 'link'])
    await assert.rejects(openNewFile(join(top, name)), { code: 'file.exists', exitCode: 73 });
  await assert.rejects(openNewFile(join(top, 'no/song')), { code: 'file.no_folder', exitCode: 73 });
  const file = await openNewFile(join(top, 'late'));
  writeFileSync(join(top, 'late'), 'mine');
  await assert.rejects(file.commit(undefined), { code: 'file.exists' });
  file.discard();
  assert.deepEqual(readdirSync(top).sort(), ['late', 'link', 'there']);
  assert.equal(readFileSync(join(top, 'late'), 'utf8'), 'mine');
});

test('what lies below a folder is found through links, and also before it is there', async (t) => {
  const top = folder(t);
  mkdirSync(join(top, 'share/inner'), { recursive: true });
  mkdirSync(join(top, 'outside'));
  symlinkSync(join(top, 'share'), join(top, 'to share'));
  symlinkSync(join(top, 'outside'), join(top, 'share/out'));
  const below = (path: string) => pathBelow(join(top, 'share'), join(top, path));
  assert.equal(await below('share/song'), '/song');
  assert.equal(await below('to share/inner/song'), '/inner/song');
  assert.equal(await below('share/new/folders/song'), '/new/folders/song');
  assert.equal(await below('share/..song'), '/..song');
  assert.equal(await below('share/out/song'), undefined);
  assert.equal(await below('share'), undefined);
  assert.equal(await below('shared/song'), undefined);
  assert.equal(await below('song'), undefined);
  assert.deepEqual([await isFolder(top), await isFolder(join(top, 'no'))], [true, false]);
});
