/**
 * A small file of our own in the root of a share, by which we recognise it: an empty mount point, another medium under
 * the same path, or a folder that was emptied looks like a thousand deletions otherwise.
 */

import { fromUtf8, toHex, utf8 } from '../base/bytes.ts';
import { environmentError, errorCode, SkylarkError } from '../base/errors.ts';
import { isJsonObject, parseJson, stringifyJson } from '../base/json.ts';
import { randomBytes } from '../crypto/random.ts';
import { type ShareRoot, STATE_FOLDER } from '../platform/files.ts';
import type { LocalIndex } from './local-index.ts';

const MARKER_PATH = `/${STATE_FOLDER}/share`;
const SETTING = 'marker';
const MAX_MARKER_BYTES = 4_096;
const NOTE =
  'The Skylark agent knows this folder by this file. Please leave it here: without it, syncing stops.';

/**
 * Makes sure that the folder is the one that the index describes. The first time it is marked, or keeps the mark that
 * it has.
 * @throws SkylarkError `share.marker_missing`, `share.marker_foreign` (the folder of another share, or a copy of its
 *   state), `share.marker_other_device` (something is mounted over our state folder), `share.root_*`, `files.*`.
 */
export async function checkMarker(root: ShareRoot, index: LocalIndex): Promise<void> {
  const expected = index.setting(SETTING);
  const there = await readMarker(root);
  if (expected === undefined) {
    const id = there ?? (await tryToMark(root));
    if (id !== undefined) index.setSetting(SETTING, id);
    return;
  }
  if (there === undefined)
    throw environmentError(
      'share.marker_missing',
      `the marker of the share is missing in ${JSON.stringify(root.path)}`,
      {
        remedy:
          'put the right folder back, mount its medium, or resume the share to accept the folder as it is',
      },
    );
  if (there !== expected)
    throw environmentError(
      'share.marker_foreign',
      `another share's folder is at ${JSON.stringify(root.path)}`,
      {
        remedy: 'put the right folder back, or resume the share to accept the folder as it is',
      },
    );
}

/** Whether there is a marker to look for. */
export function isMarked(index: LocalIndex): boolean {
  return index.setting(SETTING) !== undefined;
}

/** The owner says that this is the right folder, whatever its marker says. */
export async function renewMarker(root: ShareRoot, index: LocalIndex): Promise<void> {
  index.setSetting(SETTING, (await readMarker(root)) ?? (await writeMarker(root)));
}

async function readMarker(root: ShareRoot): Promise<string | undefined> {
  const top = await root.check();
  let bytes: Uint8Array;
  try {
    const file = await root.openFile(MARKER_PATH);
    try {
      if (file.facts.dev !== top.dev)
        throw environmentError(
          'share.marker_other_device',
          'another file system covers the marker of the share',
          {
            remedy: `unmount what is mounted below ${JSON.stringify(root.path)}`,
          },
        );
      const buffer = new Uint8Array(MAX_MARKER_BYTES);
      bytes = buffer.subarray(0, await file.read(buffer, 0n));
    } finally {
      await file.close();
    }
  } catch (thrown) {
    if (errorCode(thrown) === 'files.absent') return undefined;
    throw thrown;
  }
  return decodeMarker(bytes);
}

/** Undefined for what is no marker: somebody damaged it, and it recognises nothing any more. */
function decodeMarker(bytes: Uint8Array): string | undefined {
  try {
    const json = parseJson(fromUtf8(bytes), { depth: 2 });
    const id = isJsonObject(json) ? json.share : undefined;
    return typeof id === 'string' && /^[0-9a-f]{32}$/.test(id) ? id : undefined;
  } catch (thrown) {
    if (thrown instanceof SkylarkError) return undefined;
    throw thrown;
  }
}

/** A folder that can only be read is shared all the same, known only by what is in it. */
async function tryToMark(root: ShareRoot): Promise<string | undefined> {
  try {
    return await writeMarker(root);
  } catch (thrown) {
    const code = errorCode(thrown);
    if (code === 'files.read_only' || code === 'files.not_permitted') return undefined;
    throw thrown;
  }
}

async function writeMarker(root: ShareRoot): Promise<string> {
  const id = toHex(randomBytes(16));
  const file = await root.openTemporary('marker', { resume: true });
  try {
    await file.resize(0n);
    await file.write(utf8(`${stringifyJson({ share: id, note: NOTE })}\n`), 0n);
    const there = await root.look(MARKER_PATH);
    await file.commit(MARKER_PATH, { mode: 0o600, mtimeNs: undefined, expected: there ?? 'absent' });
    return id;
  } catch (thrown) {
    await file.discard();
    throw thrown;
  }
}
