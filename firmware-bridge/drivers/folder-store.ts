/** Writing a file of the owner's to a medium: whole and durable under its name, or not at all. */

import { utf8 } from '../../agent/base/bytes.ts';
import { userError } from '../../agent/base/errors.ts';
import { type FileFacts, isOwnName, type ShareRoot } from '../../agent/platform/files.ts';
import { deviceError } from '../device-error.ts';
import type { FileToWrite } from './driver.ts';

/** One at a time. */
const LABEL = 'bridge-write';
const FILE_MODE = 0o644;
const FOLDER_MODE = 0o755;
const LONGEST_COMPONENT = 255;
const DEEPEST = 32;

/**
 * @param stored told of every piece
 * @returns where it is and what it is there. @throws `device.refused`, `device.exists`, `bridge.content_size`; `files.*`.
 */
export async function storeFile(
  root: ShareRoot,
  { name, size, mtime, replace, content }: FileToWrite,
  signal: AbortSignal,
  stored: (bytes: number) => void,
): Promise<{ readonly path: string; readonly facts: FileFacts }> {
  const path = pathToWrite(name);
  const present = await root.look(path);
  if (present !== undefined && (!replace || present.kind !== 'file'))
    throw deviceError('device.exists', `there is a ${JSON.stringify(name)} already`);
  const temporary = await root.openTemporary(LABEL, { resume: true });
  try {
    await temporary.resize(0n);
    let position = 0;
    for await (const piece of content()) {
      signal.throwIfAborted();
      if (piece.length > size - position) throw wrongSize(name);
      await temporary.write(piece, BigInt(position));
      position += piece.length;
      stored(piece.length);
    }
    if (position !== size) throw wrongSize(name);
    const components = path.split('/').slice(1, -1);
    for (let i = 1; i <= components.length; i++)
      await root.makeDirectory(`/${components.slice(0, i).join('/')}`, FOLDER_MODE);
    const facts = await temporary.commit(path, {
      mode: FILE_MODE,
      mtimeNs: mtime,
      expected: present ?? 'absent',
    });
    return { path, facts };
  } catch (thrown) {
    await temporary.discard();
    throw thrown;
  }
}

/** @throws `device.refused` for a name that leads elsewhere, is hidden, or is ours. */
function pathToWrite(name: string): string {
  const components = name.split('/');
  const isFit = (one: string) =>
    one !== '' &&
    !one.startsWith('.') &&
    !one.includes('\0') &&
    !isOwnName(one) &&
    one.isWellFormed() &&
    utf8(one).length <= LONGEST_COMPONENT;
  if (components.length > DEEPEST || !components.every(isFit))
    throw deviceError('device.refused', `${JSON.stringify(name)} is no name for a file on a medium`);
  return `/${name}`;
}

function wrongSize(name: string) {
  return userError('bridge.content_size', `${name} is not as long as was said`);
}
