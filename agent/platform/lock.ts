/**
 * One daemon for a state folder. The lock is a POSIX record lock on a file in the folder, which the kernel lets go
 * when the process ends in whatever way: nothing is left behind by a crash or a power cut, and it holds across containers
 * and namespaces that share the folder. Node has no call for it; SQLite takes one for an exclusive transaction.
 */

import { existsSync, readFileSync, statSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { EXIT, environmentError, errorCode, userError } from '../base/errors.ts';

export interface Lock {
  close(): void;
}

/** A database that nobody refers to would be collected, and its lock with it. */
const held = new Set<DatabaseSync>();

/** SQLite's own result code for a lock that someone else has. */
const SQLITE_BUSY = 5;

/**
 * @param file made when missing (its folder must exist), stays empty; nothing else may open it.
 * @throws SkylarkError (user, exit code 75) `lock.taken` when another process has it, (environment, exit code 77) `lock.failed`.
 */
export function openLock(file: string): Lock {
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(file, { timeout: 0 });
    // Reads and writes nothing: the file may be empty for ever.
    database.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
  } catch (cause) {
    database?.close();
    if (isBusy(cause)) throw takenError(file);
    throw environmentError('lock.failed', `${file} can't be locked`, {
      remedy: 'check the permissions of the file and its folder',
      exitCode: EXIT.notPermitted,
      cause,
    });
  }
  const locked = database;
  held.add(locked);
  return {
    close: () => {
      if (held.delete(locked)) locked.close();
    },
  };
}

function isBusy(thrown: unknown): boolean {
  return (
    errorCode(thrown) === 'ERR_SQLITE_ERROR' &&
    ((thrown as { errcode?: unknown }).errcode as number) % 256 === SQLITE_BUSY
  );
}

function takenError(file: string) {
  const holder = lockHolder(file);
  const who = holder === undefined ? 'another process' : `another process (${holder})`;
  return userError('lock.taken', `${who} works with this state folder and holds ${file}`, {
    remedy: 'stop it first or choose another folder with --state',
    exitCode: EXIT.tryAgain,
  });
}

/** The process that has a POSIX lock on the file, by the kernel's table (proc_locks(5)); for messages only. */
function lockHolder(file: string): number | undefined {
  if (!existsSync('/proc/locks')) return undefined;
  try {
    const { ino } = statSync(file, { bigint: true });
    for (const line of readFileSync('/proc/locks', 'utf8').split('\n')) {
      const holder = /POSIX\s+ADVISORY\s+\w+\s+(\d+)\s+[0-9a-f]+:[0-9a-f]+:(\d+)\s/.exec(line);
      if (holder !== null && BigInt(holder[2] ?? '') === ino) return Number(holder[1]);
    }
  } catch {
    // Not readable here: the message does without.
  }
  return undefined;
}
