/** Reads files and hashes them on a thread of its own: see hashing.ts. */

import { toHex } from '../base/bytes.ts';
import { SkylarkError } from '../base/errors.ts';
import { openSha256 } from '../crypto/hash.ts';
import { sameFacts } from '../platform/files.ts';
import {
  type AnchoredDirectories,
  type AnchoredFile,
  openAnchoredDirectories,
} from '../platform/files-anchored.ts';
import { serveWorker } from '../platform/workers.ts';
import type { HashAnswer, HashOutcome, HashRequest } from './hashing.ts';

const BUFFER = 1_048_576;
/** Bytes after which a large file lets a cancellation through. */
const BREATHE = 67_108_864;

/** Files that are flushed at the same time: a file system puts them into one transaction. */
const AT_ONCE = 8;

/** For all files: nothing waits between filling it and hashing what is in it. */
const buffer = new Uint8Array(BUFFER);

serveWorker<HashRequest, HashAnswer>(async ({ root, paths }, { signal }) => {
  const directories = openAnchoredDirectories(root);
  try {
    const outcomes: HashOutcome[] = [];
    const todo = paths.entries();
    const work = async (): Promise<void> => {
      for (const [i, path] of todo) outcomes[i] = await hashOne(directories, path, signal);
    };
    const ended = await Promise.allSettled(Array.from({ length: Math.min(AT_ONCE, paths.length) }, work));
    for (const each of ended) if (each.status === 'rejected') throw each.reason;
    return { outcomes };
  } finally {
    directories.close();
  }
});

async function hashOne(
  directories: AnchoredDirectories,
  path: string,
  signal: AbortSignal,
): Promise<HashOutcome> {
  let file: AnchoredFile;
  try {
    file = directories.openFile(path);
  } catch (thrown) {
    return failure(thrown);
  }
  try {
    await file.flush();
    return await hashContents(file, signal);
  } catch (thrown) {
    return failure(thrown);
  } finally {
    file.close();
  }
}

async function hashContents(file: AnchoredFile, signal: AbortSignal): Promise<HashOutcome> {
  const hash = openSha256();
  const end = Number(file.facts.size);
  let position = 0;
  for (let breath = BREATHE; ; ) {
    const count = file.read(buffer, position);
    hash.update(buffer.subarray(0, count));
    position += count;
    // What grows without end is noticed at once, not when the disk is full.
    if (count < buffer.length || position > end) break;
    if (position < breath) continue;
    breath += BREATHE;
    await new Promise<void>((resolve) => setImmediate(resolve));
    signal.throwIfAborted();
    if (!sameFacts(file.look(), file.facts)) return { state: 'changed' };
  }
  if (position !== end || !sameFacts(file.look(), file.facts)) return { state: 'changed' };
  return { state: 'hashed', sha256: toHex(hash.digest()), facts: file.facts };
}

function failure(thrown: unknown): HashOutcome {
  if (!(thrown instanceof SkylarkError) || thrown.fault !== 'environment') throw thrown;
  return { state: 'failed', code: thrown.code, message: thrown.message };
}
