/**
 * Being told of changes by the kernel (inotify(7), through fs.watch), one directory at a time.
 *
 * Node hides one thing that must not be missed: when more happens than fits into the kernel's queue, the rest is lost,
 * and libuv drops the notice about it. But then the queue was full, and libuv hands over a full queue in one go: events
 * that arrive in one turn of the event loop, as many as the queue can hold, mean that some may be missing.
 */

import fs from 'node:fs';
import { asError, environmentError, errorCode } from '../base/errors.ts';
import { fileError } from './files-calls.ts';
import type { DirectoryHandle } from './files-directories.ts';
import { decodeName } from './files-list.ts';

export interface DirectoryWatch {
  close(): void;
}

/**
 * @param name what changed in the directory: added, removed, renamed, or its contents or attributes; undefined if that
 *   is not known: anything directly in the directory, or the directory itself, may have changed.
 */
export type WatchListener = (name: string | undefined) => void;

const overflowListeners = new Set<() => void>();
let inThisTurn = 0;
let queueLength: number | undefined;

/** Calls back when events of any watch may have been lost: what is watched must be looked at again. */
export function onWatchOverflow(listener: () => void): () => void {
  overflowListeners.add(listener);
  return () => overflowListeners.delete(listener);
}

/** @throws SkylarkError `files.too_many_watches`, other `files.*`. */
export function watchDirectory(handle: DirectoryHandle, listener: WatchListener): DirectoryWatch {
  try {
    const ownName = String(handle.fd);
    // Through the open handle, so that the watch is on the directory that was walked to. It stays when that closes.
    const watcher = fs.watch(
      `/proc/self/fd/${handle.fd}`,
      { persistent: false, encoding: 'latin1' },
      (_event, bytes) => {
        countEvent();
        // What happens to the directory itself comes under the name it was opened by.
        const isItself = bytes === null || bytes === ownName;
        listener(isItself ? undefined : decodeName(bytes));
      },
    );
    watcher.on('error', () => listener(undefined));
    return { close: () => watcher.close() };
  } catch (thrown) {
    // ENOSPC: max_user_watches. EMFILE: max_user_instances.
    const code = errorCode(thrown);
    if (code === 'ENOSPC' || code === 'EMFILE')
      throw environmentError('files.too_many_watches', 'the system has no more directory watches to give', {
        cause: asError(thrown),
        remedy: 'raise fs.inotify.max_user_watches',
      });
    throw fileError('watch', handle.path, thrown);
  }
}

function countEvent(): void {
  if (inThisTurn === 0)
    setImmediate(() => {
      const count = inThisTurn;
      inThisTurn = 0;
      queueLength ??= readQueueLength();
      // Events of directories that are no longer watched are in the queue too, but don't reach us: half will do.
      if (count >= queueLength / 2) for (const listener of overflowListeners) listener();
    });
  inThisTurn += 1;
}

function readQueueLength(): number {
  try {
    return Number(fs.readFileSync('/proc/sys/fs/inotify/max_queued_events', 'utf8')) || 16_384;
  } catch {
    return 16_384;
  }
}
