/**
 * How a restart finds out from the disk what had been done of what we were about to do: only what is exactly as intended
 * counts, everything else is left for the detector and the next try.
 */

import type { Clock } from '../base/clock.ts';
import { errorCode } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { ShareRoot } from '../platform/files.ts';
import type { Sqlite } from '../platform/sqlite.ts';
import type { Archive, ArchivedFile } from './archive.ts';
import type { ContentCache } from './cache.ts';
import type { Hashing } from './hashing.ts';
import { claimedRow, decodeIntents, type Intent, indexRow, localPathOf, type Noted } from './intents.ts';
import type { LocalIndex } from './local-index.ts';
import { checkMarker, isMarked } from './marker.ts';
import type { Partials } from './partials.ts';
import type { PendingStore } from './pending.ts';
import type { Selection } from './selection.ts';

export interface RecoveryOptions {
  readonly sqlite: Sqlite;
  readonly club: string;
  readonly index: LocalIndex;
  readonly archive: Archive;
  readonly root: ShareRoot;
  readonly selection: Pick<Selection, 'isWanted'>;
  readonly hashing: Hashing;
  readonly log: Logger;
  readonly signal: AbortSignal;
  /** Compares record and index anew; inside a transaction. */
  readonly settle: (uuid: string) => void;
}

export interface StartOptions extends RecoveryOptions {
  readonly pending: Pick<PendingStore, 'isWanted'>;
  readonly partials: Pick<Partials, 'clean'>;
  readonly cache: Pick<ContentCache, 'clean'>;
  readonly clock: Clock;
}

const READ_ONLY: ReadonlySet<string | undefined> = new Set(['files.read_only', 'files.not_permitted']);

/**
 * What must have been done in a folder, once, before anything in it counts for anything. On the right medium only: on an
 * empty mount point, or another medium, it would look as if nothing had been done of what was half done.
 */
export class FolderStart {
  readonly #options: StartOptions;
  #isDone = false;
  #running: Promise<void> | undefined;

  constructor(options: StartOptions) {
    this.#options = options;
  }

  /** Until then nothing may be done in the folder, and nothing in it be noted. */
  get isDone(): boolean {
    return this.#isDone;
  }

  /** @throws SkylarkError `share.*` while it is not the right folder, `files.*`, `sqlite.*`: to be called again then. */
  async run(): Promise<void> {
    if (this.#isDone) return;
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
    });
    await this.#running;
  }

  async #run(): Promise<void> {
    const { index, partials, pending, cache, clock, root } = this.#options;
    if (isMarked(index)) await checkMarker(root, index);
    else await root.check();
    await recover(this.#options);
    try {
      await partials.clean((sha256) => pending.isWanted(sha256), clock.now());
      await cache.clean();
    } catch (thrown) {
      // What lies on a medium that can only be read can be given to others all the same.
      if (!READ_ONLY.has(errorCode(thrown))) throw thrown;
    }
    this.#isDone = true;
  }
}

/** To be called before the detector looks at anything. */
export async function recover(options: RecoveryOptions): Promise<void> {
  const { sqlite, club, log } = options;
  const stored = sqlite
    .prepare<{ id: bigint; intents: string }>(
      'SELECT id, intents FROM directory_intent WHERE club = ? ORDER BY id',
    )
    .all(club);
  let found = 0;
  for (const { id, intents } of stored) {
    for (const noted of decodeIntents(intents)) if (await recoverOne(noted, options)) found += 1;
    sqlite.prepare('DELETE FROM directory_intent WHERE id = ?').run(id);
  }
  if (stored.length > 0) log.info('finished what an interruption had left half done', { changes: found });
}

async function recoverOne({ intent, archived }: Noted, options: RecoveryOptions): Promise<boolean> {
  const { sqlite, archive } = options;
  const kept = archived === undefined ? undefined : archive.get(archived);
  const isKept = kept !== undefined && (await isKeptAlone(intent, kept, options));
  const finish = await whatHappened(intent, isKept, options);
  sqlite.transaction(() => {
    if (kept !== undefined && !isKept) archive.forget(kept);
    finish?.();
  });
  return finish !== undefined;
}

/**
 * Whether the archive has the file, and nobody else. Before a file is replaced, it has a second name in the archive; if it
 * came no further, whoever writes to the file would write to what is kept: the second name goes again.
 */
async function isKeptAlone(
  intent: Intent,
  kept: ArchivedFile,
  { archive, index, root }: RecoveryOptions,
): Promise<boolean> {
  const facts = await root.look(kept.path);
  if (facts === undefined) return false;
  if (facts.links === 1) return true;
  const path =
    'row' in intent
      ? localPathOf(index, intent.row.path, intent.row.localName)
      : index.localPath(intent.path);
  const there = await root.look(path);
  if (there?.ino !== facts.ino || there.dev !== facts.dev) return true;
  await archive.discard(kept);
  return false;
}

/** What to write if the change had happened; undefined if not. */
async function whatHappened(
  intent: Intent,
  isKept: boolean,
  { index, root, selection, hashing, signal, settle }: RecoveryOptions,
): Promise<(() => void) | undefined> {
  if (intent.op === 'restore') return undefined;
  if (intent.op === 'remove') {
    const row = index.byPath(intent.path);
    if (row === undefined || (await root.look(index.localPath(intent.path))) !== undefined) return undefined;
    if (row.kind === 'file' && !isKept) return undefined;
    return () => {
      index.remove(intent.path);
      if (row.uuid !== undefined) settle(row.uuid);
    };
  }
  const { row } = intent;
  // Either spelling answers, and the detector sees which one it is.
  if (intent.op === 'move' && row.kind === 'directory') return undefined;
  const local = localPathOf(index, row.path, row.localName);
  const facts = await root.look(local);
  if (facts === undefined || facts.kind !== row.kind) return undefined;
  const from = intent.op === 'move' ? index.byPath(intent.from) : undefined;
  // Its owner may have written into it since, under its new name.
  const isMoved = from?.ino === facts.ino && from.size === facts.size && from.mtimeNs === facts.mtimeNs;
  if (row.kind === 'file' && !isMoved) {
    if (facts.size !== row.size) return undefined;
    const outcome = await hashing.hash(root, local, facts.size, signal);
    if (outcome.state !== 'hashed' || outcome.sha256 !== row.sha256) return undefined;
  }
  return () => {
    if (from !== undefined && from.path !== row.path) index.remove(from.path);
    index.put(claimedRow(indexRow(row, facts), selection));
    if (row.uuid !== undefined) settle(row.uuid);
  };
}
