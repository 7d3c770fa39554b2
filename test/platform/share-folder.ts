/** A share in a real temporary folder, and the usual things done with it. */

import assert from 'node:assert/strict';
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SkylarkError } from '../../agent/base/errors.ts';
import { type ListedEntry, openShareRoot, type ShareRoot } from '../../agent/platform/files.ts';

export interface Place {
  readonly root: ShareRoot;
  /** Beside the share, not in it. */
  readonly outside: string;
  at(path: string): string;
}

export async function withShare(body: (place: Place) => Promise<void>): Promise<void> {
  const top = fs.mkdtempSync(join(tmpdir(), 'skylark-files-'));
  const share = join(top, 'share');
  fs.mkdirSync(share);
  const root = await openShareRoot(share);
  try {
    await body({ root, outside: top, at: (path) => join(share, path) });
  } finally {
    root.close();
    fs.rmSync(top, { recursive: true, force: true });
  }
}

export const withCode = (code: string) => (thrown: unknown) => {
  assert.ok(thrown instanceof SkylarkError, String(thrown));
  assert.equal(thrown.code, code);
  return true;
};

export async function listAll(root: ShareRoot, path = '/'): Promise<ListedEntry[]> {
  const entries: ListedEntry[] = [];
  for await (const batch of root.list(path)) entries.push(...batch);
  return entries;
}

export async function read(root: ShareRoot, path: string): Promise<string> {
  const file = await root.openFile(path);
  try {
    const buffer = new Uint8Array(1_000);
    return Buffer.from(buffer.subarray(0, await file.read(buffer, 0n))).toString();
  } finally {
    await file.close();
  }
}

export async function place(
  root: ShareRoot,
  path: string,
  content: string,
  expected: 'absent' | 'present' = 'absent',
) {
  const file = await root.openTemporary('t1', {});
  await file.write(Buffer.from(content), 0n);
  const there = expected === 'absent' ? 'absent' : await root.look(path);
  assert.ok(there !== undefined);
  try {
    return await file.commit(path, { mode: 0o644, mtimeNs: undefined, expected: there });
  } catch (thrown) {
    await file.discard();
    throw thrown;
  }
}
