/** Mode and time of a file or directory, set only while it is what it is expected to be. */

import { chmod, type FileFacts, type KnownFile, stat, utimes } from './files-calls.ts';
import { checkUnchanged } from './files-rename.ts';

export interface AttributeChange {
  /** Permission bits, 0 to 0o777. */
  readonly mode?: number;
  /** Set to the microsecond; what the file system made of it stands in the returned facts. */
  readonly mtimeNs?: bigint;
}

/**
 * @param named a name that stands for exactly this inode
 * @param path for the error
 * @returns the facts afterwards. @throws `files.changed`, errors of the system.
 */
export async function applyAttributes(
  named: string,
  path: string,
  { mode, mtimeNs }: AttributeChange,
  expected: KnownFile,
): Promise<FileFacts> {
  checkUnchanged(path, await stat(named), expected);
  if (mode !== undefined) await chmod(named, mode & 0o777);
  if (mtimeNs !== undefined) await utimes(named, mtimeNs);
  return stat(named);
}
