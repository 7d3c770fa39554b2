/** What `skylark ls` and the control socket tell of the files in a share, in pages. */

import { compareBytes, utf8 } from '../base/bytes.ts';
import { userError } from '../base/errors.ts';
import { formatTimestamp } from '../base/timestamp.ts';
import type { Answers, ListedFile, Requests } from '../control/messages.ts';
import type { ListedFile as DirectoryFile } from '../directory/listing.ts';
import type { OpenShare } from './shares.ts';

const PAGE = 1_000;

/**
 * One page.
 * @throws SkylarkError (user) `file.unknown`: neither a file nor a folder has this path.
 */
export function listFiles(open: OpenShare, request: Requests['listFiles']): Answers['listFiles'] {
  const { recursive = false, after, limit = PAGE } = request;
  const path = (request.path ?? '/').replace(/(?<=.)\/+$/, '');
  if (after === undefined && !isListed(open, path)) {
    throw userError('file.unknown', `there is nothing at ${path} in the share ${open.club.name}`, {
      remedy: 'list the folder above it to see what there is',
    });
  }
  const files: ListedFile[] = [];
  for (const file of recursive ? below(open, path, after) : inFolder(open, path, after)) {
    if (files.length === limit) return { files, next: files.at(-1)?.path ?? null };
    files.push(listedFile(file));
  }
  return { files, next: null };
}

/** A folder may be listed only because something is in it. */
function isListed({ share }: OpenShare, path: string): boolean {
  if (path === '/' || share.ls(path).next().done !== true) return true;
  for (const file of share.ls(path.slice(0, path.lastIndexOf('/')) || '/'))
    if (file.path === path) return true;
  return false;
}

function* inFolder({ share }: OpenShare, path: string, after: string | undefined): Generator<DirectoryFile> {
  const last = after === undefined ? undefined : utf8(after);
  for (const file of share.ls(path)) {
    if (last === undefined || compareBytes(utf8(file.path), last) > 0) yield file;
  }
}

/** Everything below a path, in the order of the records' keys. */
function* below(
  { share, database }: OpenShare,
  path: string,
  after: string | undefined,
): Generator<DirectoryFile> {
  const own = share.ls(path).next().value as DirectoryFile | undefined;
  if (own?.path === path && after === undefined) yield own;
  const prefix = path.endsWith('/') ? path : `${path}/`;
  for (const { key } of database.iterate({ prefix, ...(after === undefined ? {} : { after }) })) {
    if (key === '/') continue;
    // A file is listed as itself, a folder as what is in it.
    const first = share.ls(key).next().value as DirectoryFile | undefined;
    yield first?.path === key ? first : { ...FOLDER, path: key };
  }
}

const FOLDER = {
  kind: 'directory',
  size: undefined,
  sha256: undefined,
  mtime: undefined,
  mode: undefined,
  isHere: true,
} as const;

function listedFile({ path, kind, size, mtime, sha256: hash, isHere }: DirectoryFile): ListedFile {
  return {
    path,
    kind,
    size: Number(size ?? 0n),
    mtime: mtime === undefined ? null : formatTimestamp(mtime),
    ...(hash === undefined ? {} : { sha256: hash }),
    here: isHere,
  };
}
