/**
 * Which contents of a share other peers may have, and where they lie: the files of its records; and, for a live record
 * whose contents are not in the folder (no room, paused, something in the way, not kept here), the cache and the archive, so that a loser of a
 * conflict which is nowhere else any more can still come to those who have a place for it.
 */

import { errorCode } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { type FileFacts, type ShareRoot, sameFacts } from '../platform/files.ts';
import type { Sqlite } from '../platform/sqlite.ts';
import type { Archive } from './archive.ts';
import type { ContentCache } from './cache.ts';
import type { Damages } from './damages.ts';
import type { Hashing } from './hashing.ts';
import { filterOf, type HeldFilter, heldContents } from './held-filter.ts';
import type { LocalIndex } from './local-index.ts';
import type { PendingStore } from './pending.ts';
import type { Selection } from './selection.ts';
import type { HeldContent, Holdings } from './serve.ts';

export interface ShareHoldingsOptions {
  readonly sqlite: Sqlite;
  readonly club: string;
  readonly selection: Pick<Selection, 'isPartial'>;
  readonly root: ShareRoot;
  readonly index: LocalIndex;
  readonly archive: Archive;
  readonly cache: Pick<ContentCache, 'find' | 'contents'>;
  readonly pending: PendingStore;
  /** Files whose bytes are not theirs any more. */
  readonly damages: Pick<Damages, 'has'>;
  readonly hashing: Hashing;
  readonly log: Logger;
  readonly signal: AbortSignal;
  /** The owner changed something at this path of the share: somebody should look. */
  readonly nudge: (path: string) => void;
}

/** What was found when an archived file was read. */
interface Verified {
  readonly facts: FileFacts;
  readonly isRight: boolean;
}

/** Archived files that need not be read again before they are served. */
const MAX_VERIFIED = 256;

export class ShareHoldings implements Holdings {
  readonly #options: ShareHoldingsOptions;
  /** By local path. */
  readonly #verified = new Map<string, Promise<Verified | undefined>>();

  constructor(options: ShareHoldingsOptions) {
    this.#options = options;
  }

  /** Files of this club's records, be it an older version of them. */
  *find(sha256: string): IterableIterator<HeldContent> {
    const { index, damages } = this.#options;
    for (const row of index.bySha256(sha256)) {
      if (row.uuid === undefined || damages.has(row)) continue;
      yield { path: row.path, localPath: index.localPath(row.path), known: row };
    }
  }

  async findSpare(sha256: string): Promise<HeldContent | undefined> {
    const { archive, pending, cache } = this.#options;
    // Without a live record they are history, and nobody else's business.
    if (!pending.isKnown(sha256)) return undefined;
    const cached = cache.find(sha256);
    const spare = archive.bySha256(sha256).map(({ key, path }) => ({ key, path }));
    if (cached !== undefined) spare.unshift({ key: cached, path: cached });
    for (const { key, path } of spare) {
      const facts = await this.#verifiedFacts(path, sha256);
      if (facts !== undefined) return { path: key, localPath: path, known: facts };
    }
    return undefined;
  }

  /** For other peers; undefined where everything is kept, sooner or later. */
  filter(): Promise<HeldFilter> | undefined {
    const { sqlite, club, index, selection, signal, cache } = this.#options;
    if (!selection.isPartial) return undefined;
    const cached = cache.contents();
    const all = both(heldContents(sqlite, club, signal), cached);
    return filterOf(all, index.totals().files + cached.length);
  }

  changed({ path, localPath }: HeldContent): void {
    if (!this.#verified.delete(localPath)) this.#options.nudge(path);
  }

  /** The facts of the file if it holds these contents: a program that had it open may have written to it since. */
  async #verifiedFacts(path: string, sha256: string): Promise<FileFacts | undefined> {
    const facts = await this.#options.root.look(path).catch(() => undefined);
    if (facts?.kind !== 'file') return undefined;
    let verified = await this.#verified.get(path);
    if (verified === undefined || !sameFacts(verified.facts, facts)) {
      const reading = this.#read(path, facts, sha256);
      if (this.#verified.size >= MAX_VERIFIED) this.#verified.clear();
      this.#verified.set(path, reading);
      verified = await reading;
    }
    return verified?.isRight ? verified.facts : undefined;
  }

  /** Never rejects. */
  async #read(path: string, { size }: FileFacts, sha256: string): Promise<Verified | undefined> {
    const { hashing, root, log, signal } = this.#options;
    try {
      const outcome = await hashing.hash(root, path, size, signal);
      if (outcome.state !== 'hashed') return undefined;
      return { facts: outcome.facts, isRight: outcome.sha256 === sha256 };
    } catch (thrown) {
      log.debug('an archived file could not be read for a peer', { path, code: errorCode(thrown) });
      return undefined;
    }
  }
}

async function* both(
  first: AsyncIterable<Uint8Array>,
  second: Iterable<Uint8Array>,
): AsyncIterable<Uint8Array> {
  yield* first;
  yield* second;
}
