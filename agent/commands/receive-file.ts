/** A file from the daemon into a new file of the user's, or to standard output: verified again as it comes. */

import { toHex } from '../base/bytes.ts';
import { environmentError } from '../base/errors.ts';
import { parseTimestamp } from '../base/timestamp.ts';
import type { ControlClient } from '../control/client.ts';
import { STREAMS, type StreamItems, type StreamRequests } from '../control/messages.ts';
import { openSha256 } from '../crypto/hash.ts';
import { openNewFile } from '../platform/new-file.ts';

export type ReceivedFile = NonNullable<StreamItems['readFile']['file']>;

interface Sink {
  write(bytes: Uint8Array): Promise<void>;
}

/** Told of how many bytes of how many have come from a member, while the file is not here; 0: that is not known yet. */
export type OnFetched = (bytes: number, size: number) => Promise<void>;

/**
 * @throws SkylarkError as the daemon answers; (environment) `contents.wrong`.
 */
export async function receiveFile(
  client: ControlClient,
  request: StreamRequests['readFile'],
  sink: Sink,
  onFetched: OnFetched,
): Promise<ReceivedFile> {
  const hash = openSha256();
  let file: ReceivedFile | undefined;
  let received = 0;
  for await (const item of client.stream(STREAMS.readFile, request)) {
    if (item.fetched !== undefined) await onFetched(item.fetched, item.size ?? 0);
    file ??= item.file;
    if (item.data === undefined) continue;
    hash.update(item.data);
    received += item.data.length;
    await sink.write(item.data);
  }
  if (file === undefined || received !== file.size || toHex(hash.digest()) !== file.sha256)
    throw environmentError('contents.wrong', 'what came is not the file: it was changed while it was read', {
      remedy: 'try again',
    });
  return file;
}

/**
 * As `receiveFile`, into a new file, which gets its name when all of it is right.
 * @param path absolute
 * @throws SkylarkError (user, exit code 73) `file.exists`, `file.no_folder`; `files.*`.
 */
export async function receiveIntoFile(
  client: ControlClient,
  request: StreamRequests['readFile'],
  path: string,
  onFetched: OnFetched,
): Promise<{ readonly file: ReceivedFile; readonly path: string }> {
  const target = await openNewFile(path);
  try {
    const file = await receiveFile(client, request, target, onFetched);
    await target.commit(file.mtime === null ? undefined : parseTimestamp(file.mtime));
    return { file, path: target.path };
  } finally {
    target.discard();
  }
}
