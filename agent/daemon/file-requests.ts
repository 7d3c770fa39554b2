/** The commands of the control socket about the files of a share: what is kept of them, one of them, all of them. */

import type { Clock } from '../base/clock.ts';
import { EXIT, environmentError, userError } from '../base/errors.ts';
import { printable } from '../base/printable.ts';
import { formatTimestamp } from '../base/timestamp.ts';
import { MAX_PIECE } from '../control/file-messages.ts';
import type { Answers, Requests, StreamItems, StreamRequests } from '../control/messages.ts';
import type { ControlledAgent } from '../control/server.ts';
import type { ArchivedFile } from '../directory/archive.ts';
import { heartbeat } from '../directory/heartbeat.ts';
import type { Asking, Contents } from '../directory/read-contents.ts';
import type { VerifyCounts, VerifyStep } from '../directory/verify.ts';
import type { OpenShare } from './shares.ts';

const PAGE = 100;
/** Between two words about a file that is still on its way, milliseconds. */
const TELL_MS = 500;

export function fileRequests(
  openShareOf: (share: string) => OpenShare,
  clock: Clock,
): Pick<ControlledAgent, 'history' | 'restore' | 'verify' | 'readFile'> {
  return {
    history: (request) => history(openShareOf(request.share), request),
    restore: (request) => restore(openShareOf(request.share), request),
    verify: (request, signal) => verify(openShareOf(request.share), signal),
    readFile: (request, signal) => readFile(openShareOf(request.share), request, clock, signal),
  };
}

async function history(
  { club, database, share }: OpenShare,
  request: Requests['history'],
): Promise<Answers['history']> {
  const path = withoutSlash(request.path ?? '/');
  const before = request.before === undefined ? undefined : BigInt(request.before);
  const { versions, next } = await share.custody.history.page(path, before, request.limit ?? PAGE);
  const isKnown = () =>
    path === '/' ||
    database.get(path) !== undefined ||
    database.iterate({ prefix: `${path}/` }).next().done !== true;
  if (versions.length === 0 && before === undefined && !isKnown()) {
    throw userError(
      'file.unknown',
      `neither the share ${printable(club.name, 200)} nor its archive has anything at ${printable(path, 500)}`,
      { remedy: "'skylark history' with the share alone lists all that is kept" },
    );
  }
  return { versions: versions.map(listedVersion), next: next === undefined ? null : Number(next) };
}

async function restore({ share }: OpenShare, request: Requests['restore']): Promise<Answers['restore']> {
  const { history: kept, restorer } = share.custody;
  const { version: number } = request;
  const path = withoutSlash(request.path);
  const version = kept.version(path, number === undefined ? undefined : BigInt(number));
  const restored = await restorer.restore(version, withoutSlash(request.to ?? path));
  return {
    version: Number(version.id),
    path: restored.path,
    size: Number(restored.size),
    sha256: restored.sha256,
    changed: restored.isChanged,
    replaced: restored.replaced === undefined ? null : Number(restored.replaced),
    newer: restored.isNewer,
  };
}

async function* verify(
  { club, share }: OpenShare,
  signal: AbortSignal,
): ReturnType<ControlledAgent['verify']> {
  if (share.status().isPaused) {
    throw environmentError('share.paused', `the share ${printable(club.name, 200)} is paused`, {
      remedy: "'skylark resume' it first: what is damaged is to be repaired",
      exitCode: EXIT.tryAgain,
    });
  }
  const { missing, unread, ...counts } = yield* translated(share.custody.verifier.verify(signal), verifyItem);
  return { ...verifyCounts(counts), missing, unread };
}

async function* readFile(
  { share }: OpenShare,
  request: StreamRequests['readFile'],
  clock: Clock,
  signal: AbortSignal,
): ReturnType<ControlledAgent['readFile']> {
  const left = new AbortController();
  let [fetched, total] = [0, 0];
  const heard = (bytes: number, of: bigint) => {
    fetched += bytes;
    total = Number(of);
  };
  const opening = open(share, request, { signal: AbortSignal.any([signal, left.signal]), heard });
  try {
    const { contents, version } = yield* heartbeat(clock, TELL_MS, opening, () =>
      total === 0 ? { fetched } : { fetched, size: total },
    );
    const { size, sha256, mtime, from } = contents;
    yield {
      file: {
        size: Number(size),
        sha256,
        mtime: mtime === undefined ? null : formatTimestamp(mtime),
        from,
        version: version === undefined ? null : Number(version.id),
      },
    };
    for (let at = 0n; at < size; ) {
      const piece = new Uint8Array(size - at < BigInt(MAX_PIECE) ? Number(size - at) : MAX_PIECE);
      const count = await contents.read(piece, at);
      if (count === 0) break;
      yield { data: piece.subarray(0, count) } satisfies StreamItems['readFile'];
      at += BigInt(count);
    }
    return {};
  } finally {
    left.abort(environmentError('contents.left', 'nobody waits for the file any more'));
    // However far it was: it may still come, and nobody would close it.
    void opening.then(
      ({ contents }) => contents.close(),
      () => {},
    );
  }
}

async function open(
  share: OpenShare['share'],
  request: StreamRequests['readFile'],
  asking: Asking,
): Promise<{ readonly contents: Contents; readonly version?: ArchivedFile }> {
  const { history: kept, reader } = share.custody;
  const path = withoutSlash(request.path);
  if (request.version === undefined) return { contents: await reader.open(path, asking) };
  const version = kept.version(path, request.version === null ? undefined : BigInt(request.version));
  return { contents: await reader.openArchived(version, asking), version };
}

/** The same generator with other items; left when it is left. */
async function* translated<A, B, R>(
  items: AsyncGenerator<A, R, void>,
  translate: (item: A) => B,
): AsyncGenerator<B, R, void> {
  try {
    for (;;) {
      const step = await items.next();
      if (step.done) return step.value;
      yield translate(step.value);
    }
  } finally {
    await items[Symbol.asyncDispose]();
  }
}

function verifyItem(step: VerifyStep): StreamItems['verify'] {
  const counts = verifyCounts(step.counts);
  if (step.kind === 'progress') return counts;
  const { path, outcome, message } = step;
  return { ...counts, path, outcome, message };
}

function verifyCounts({ bytes, totalBytes, ...counts }: VerifyCounts) {
  return { ...counts, bytes: Number(bytes), totalBytes: Number(totalBytes) };
}

function listedVersion(file: ArchivedFile): Answers['history']['versions'][number] {
  const { id, key, at, reason, size, mtime, sha256 } = file;
  return {
    version: Number(id),
    path: key,
    archived: formatTimestamp(at),
    reason,
    size: Number(size),
    mtime: formatTimestamp(mtime),
    sha256: sha256 ?? null,
  };
}

function withoutSlash(path: string): string {
  return path.replace(/(?<=.)\/+$/, '');
}
