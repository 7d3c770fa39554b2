/** What SQLite and the file system say, in terms that an owner can act on. */

import { EXIT, environmentError, errorCode, internalError, SkylarkError } from '../base/errors.ts';

export function damaged(path: string, what: string, cause?: unknown): SkylarkError {
  return environmentError('sqlite.damaged', `the database ${path} is damaged: ${what}`, {
    remedy:
      'put it back from a backup, or move it away and join the shares again; the files themselves are not touched',
    exitCode: EXIT.configuration,
    cause,
  });
}

/** Runs an operation; what it throws is translated. */
export function guarded<T>(path: string, operation: () => T): T {
  try {
    return operation();
  } catch (thrown) {
    throw translate(thrown, path);
  }
}

/** SQLite's primary result codes (sqlite.org/rescode.html) that say something about the machine. */
const RESULTS: Readonly<Record<number, (path: string, cause: unknown) => SkylarkError>> = {
  3: noAccess,
  5: busy,
  6: busy,
  8: noAccess,
  10: (path, cause) =>
    environmentError('sqlite.io', `the disk failed while ${path} was read or written`, {
      remedy: 'check the disk or card, and its cable',
      cause,
    }),
  11: (path, cause) => damaged(path, 'its structure is broken', cause),
  13: (path, cause) =>
    environmentError('sqlite.disk_full', `there is no space left for ${path}`, {
      remedy: 'free some space on that disk',
      cause,
    }),
  14: noAccess,
  23: noAccess,
  26: (path, cause) => damaged(path, 'it is not a database', cause),
};

function busy(path: string, cause: unknown): SkylarkError {
  return environmentError('sqlite.busy', `another program holds ${path} locked`, {
    remedy: 'end that program',
    exitCode: EXIT.tryAgain,
    cause,
  });
}

function noAccess(path: string, cause: unknown): SkylarkError {
  return environmentError('sqlite.no_access', `${path} can't be opened or written`, {
    remedy: 'check the permissions of the file and its folder',
    exitCode: EXIT.notPermitted,
    cause,
  });
}

/** A SkylarkError for everything that SQLite or the file system can say about `path`. */
export function translate(thrown: unknown, path: string): unknown {
  if (thrown instanceof SkylarkError) return thrown;
  const code = errorCode(thrown);
  if (code === 'ERR_SQLITE_ERROR') {
    const result = (thrown as { errcode?: unknown }).errcode;
    const known = typeof result === 'number' ? RESULTS[result & 0xff] : undefined;
    return (
      known?.(path, thrown) ?? internalError('sqlite.failed', `SQLite: ${String(thrown)}`, { cause: thrown })
    );
  }
  if (code === 'ENOSPC' || code === 'EDQUOT') return RESULTS[13]!(path, thrown);
  if (code === 'EIO') return RESULTS[10]!(path, thrown);
  if (code?.startsWith('E') && !code.startsWith('ERR_')) return noAccess(path, thrown);
  return thrown;
}
