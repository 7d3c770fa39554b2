/** Name, mode and time of a file, as its record says. */

import {
  type FileFacts,
  foldName,
  type KnownFile,
  nameOf,
  parentOf,
  type ShareRoot,
} from '../platform/files.ts';
import type { FileEntry } from './entry.ts';
import { alternativeName, joinPath } from './paths.ts';
import { fileMode, isTimeOf } from './projection.ts';

/**
 * Sets what differs, and returns what the file is then.
 * @param expected what the file must be for us to touch it
 * @param facts what it was a moment ago
 * @throws SkylarkError (environment) `files.changed` if it is not as expected; other `files.*`.
 */
export function withAttributes(
  root: ShareRoot,
  local: string,
  entry: FileEntry,
  expected: KnownFile & { readonly mode: number },
  facts: FileFacts,
): Promise<FileFacts> {
  const mode = fileMode(entry, expected);
  const isTime = isTimeOf(facts, entry);
  const change = {
    ...(facts.mode === mode ? {} : { mode }),
    ...(isTime || entry.mtime === undefined ? {} : { mtimeNs: entry.mtime }),
  };
  return root.setAttributes(local, change, expected);
}

/**
 * Where case makes no difference, a name in another spelling is taken: by the file itself. It goes there by a third name.
 * @throws SkylarkError (environment) as `ShareRoot.move`.
 */
export async function moveFile(
  root: ShareRoot,
  from: string,
  to: string,
  expected: KnownFile,
): Promise<FileFacts> {
  const [folder, name] = [parentOf(to), nameOf(to)];
  const isRespelling = parentOf(from) === folder && foldName(nameOf(from)) === foldName(name);
  if (!isRespelling || (await root.look(to)) === undefined || (await root.lookExactly(to)) !== undefined)
    return root.move(from, to, expected);
  for (let attempt = 2; ; attempt++) {
    const aside = joinPath(folder, alternativeName(name, attempt));
    if ((await root.look(aside)) !== undefined) continue;
    return root.move(aside, to, await root.move(from, aside, expected));
  }
}
