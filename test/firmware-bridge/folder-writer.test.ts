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
import { openShareRoot } from '../../agent/platform/files.ts';
import { openFolderWriter } from '../../firmware-bridge/folder-writer.ts';
import { content } from './conformance.ts';

async function place(t: TestContext, folder = '/piano') {
  const path = mkdtempSync(join(tmpdir(), 'skylark-folder-'));
  t.after(() => rmSync(path, { recursive: true }));
  const root = await openShareRoot(path);
  t.after(() => root.close());
  return { path, root, writer: openFolderWriter({ root, folder, label: 'test' }) };
}

const MTIME = 1_700_000_000_000_000_000n;

test('a file appears under its name when it is whole, with its time, in folders that are made for it', async (t) => {
  const { path, writer } = await place(t);
  const bytes = content(1, 100_000);
  const incoming = await writer.begin(bytes.length);
  await incoming.write(bytes.subarray(0, 70_000));
  await incoming.write(bytes.subarray(70_000));
  assert.ok(!readdirSync(path).includes('piano'));
  const placed = await incoming.commit('/takes/one.mid', MTIME, undefined);
  const file = join(path, 'piano/takes/one.mid');
  assert.ok(Buffer.compare(readFileSync(file), bytes) === 0);
  assert.equal(statSync(file).mtimeMs, 1_700_000_000_000);
  assert.equal(statSync(file).mode & 0o777, 0o644);
  assert.equal(statSync(join(path, 'piano')).mode & 0o777, 0o755);
  assert.deepEqual([placed.kind, placed.size], ['file', bytes.length]);
  const read: Uint8Array[] = [];
  for await (const piece of writer.read('/takes/one.mid')) read.push(piece);
  assert.ok(Buffer.compare(Buffer.concat(read), bytes) === 0);
});

test('nothing is replaced but what was seen', async (t) => {
  const { path, writer } = await place(t, '/');
  const put = async (seen: Parameters<Awaited<ReturnType<typeof writer.begin>>['commit']>[2]) => {
    const incoming = await writer.begin(3);
    await incoming.write(Uint8Array.of(1, 2, 3));
    try {
      return await incoming.commit('/a.mid', MTIME, seen);
    } catch (thrown) {
      await incoming.abort();
      throw thrown;
    }
  };
  writeFileSync(join(path, 'a.mid'), "the owner's");
  await assert.rejects(put(undefined), { code: 'files.changed' });
  const seen = await writer.look('/a.mid');
  writeFileSync(join(path, 'a.mid'), "the owner's newer one");
  await assert.rejects(put(seen), { code: 'files.changed' });
  assert.equal(readFileSync(join(path, 'a.mid'), 'utf8'), "the owner's newer one");
  await put(await writer.look('/a.mid'));
  assert.deepEqual([...readFileSync(join(path, 'a.mid'))], [1, 2, 3]);
  await assert.rejects(writer.remove('/a.mid', seen ?? assert.fail()), { code: 'files.changed' });
  await writer.remove('/a.mid', (await writer.look('/a.mid')) ?? assert.fail());
  assert.equal(await writer.look('/a.mid'), undefined);
});

test('what a crash left half written is used up by the next file', async (t) => {
  const { path, root, writer } = await place(t);
  const lost = await writer.begin(9);
  await lost.write(content(2, 5_000));
  const again = openFolderWriter({ root, folder: '/piano', label: 'test' });
  const incoming = await again.begin(3);
  await incoming.write(Uint8Array.of(7));
  await incoming.commit('/b.mid', MTIME, undefined);
  assert.deepEqual([...readFileSync(join(path, 'piano/b.mid'))], [7]);
  await lost.abort();
  assert.deepEqual(readdirSync(join(path, '.clearskies/tmp')), []);
});

test('a link in the folder leads nowhere', async (t) => {
  const { path, writer } = await place(t);
  const outside = mkdtempSync(join(tmpdir(), 'skylark-outside-'));
  t.after(() => rmSync(outside, { recursive: true }));
  mkdirSync(join(path, 'piano'));
  symlinkSync(outside, join(path, 'piano/takes'));
  symlinkSync(join(outside, 'x'), join(path, 'piano/x.mid'));
  const incoming = await writer.begin(1);
  await incoming.write(Uint8Array.of(1));
  await assert.rejects(incoming.commit('/takes/one.mid', MTIME, undefined), { name: 'SkylarkError' });
  await assert.rejects(incoming.commit('/x.mid', MTIME, undefined), { name: 'SkylarkError' });
  assert.equal((await writer.look('/x.mid'))?.kind, 'other');
  await incoming.abort();
  assert.deepEqual(readdirSync(outside), []);
});

test('a file follows its name, and never over another', async (t) => {
  const { path, writer } = await place(t);
  const incoming = await writer.begin(1);
  await incoming.write(Uint8Array.of(1));
  const placed = await incoming.commit('/a.mid', MTIME, undefined);
  const moved = await writer.move('/a.mid', '/sub/b.mid', placed);
  assert.equal(moved.size, 1);
  assert.deepEqual(readdirSync(join(path, 'piano')), ['sub']);
  writeFileSync(join(path, 'piano/c.mid'), 'there');
  await assert.rejects(writer.move('/sub/b.mid', '/c.mid', moved), { code: 'files.exists' });
});

test('a file that can not fit is refused before anything is written', async (t) => {
  const { writer, path } = await place(t);
  await assert.rejects(writer.begin(Number.MAX_SAFE_INTEGER), { code: 'files.no_space' });
  assert.deepEqual(readdirSync(path), []);
});

test('a half written file is gone on with after a restart, if it is still the same content', async (t) => {
  const { path, root, writer } = await place(t);
  const half = await writer.begin(9_000, 'device 1 2');
  assert.equal(half.resumed, 0);
  await half.write(content(2, 9_000).subarray(0, 5_000));
  await half.keep();
  const again = openFolderWriter({ root, folder: '/piano', label: 'test' });
  const incoming = await again.begin(9_000, 'device 1 2');
  assert.equal(incoming.resumed, 5_000);
  const stored: Uint8Array[] = [];
  for await (const piece of incoming.stored()) stored.push(piece);
  assert.deepEqual(Buffer.concat(stored), Buffer.from(content(2, 9_000).subarray(0, 5_000)));
  await incoming.write(content(2, 9_000).subarray(5_000));
  await incoming.commit('/a.mid', MTIME, undefined);
  assert.deepEqual(readFileSync(join(path, 'piano/a.mid')), Buffer.from(content(2, 9_000)));
});

test('what is left of another content, and of nobody else, is removed', async (t) => {
  const { path, root, writer } = await place(t);
  const half = await writer.begin(9_000, 'device 1 2');
  await half.write(Uint8Array.of(1));
  await half.keep();
  await (await openFolderWriter({ root, folder: '/piano', label: 'test2' }).begin(1, 'x')).keep();
  const incoming = await openFolderWriter({ root, folder: '/piano', label: 'test' }).begin(
    9_000,
    'device 1 3',
  );
  assert.equal(incoming.resumed, 0);
  await incoming.abort();
  const left = readdirSync(join(path, '.clearskies/tmp'));
  assert.equal(left.length, 1);
  assert.match(left[0] ?? '', /^bridge-test2-/);
});
