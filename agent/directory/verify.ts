/**
 * Reads everything in the folder again and compares it with what is known of it.
 *
 * What tells damage from an edit: a file whose inode, size, time of change and time of the inode are all as they were when
 * its contents were read, but whose contents are not. No program can write to a file and leave the time of the inode as it
 * was, so this was the disk. Whatever else differs is its owner's, and left to the detector. (Two writes within one tick
 * of the clock look alike; so the bytes that were found are kept in the archive in any case.)
 *
 * What is damaged never becomes a change. It goes to the archive when right contents take its place: from another copy
 * that is here, or from a member. Where nobody has them it stays, and is told.
 */

import { type Clock, sleep } from '../base/clock.ts';
import { environmentError, errorCode } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { type FileFacts, type ShareRoot, sameFacts } from '../platform/files.ts';
import type { Archive } from './archive.ts';
import type { DiskChanges } from './changes.ts';
import type { Damages } from './damages.ts';
import type { Hashing, HashOutcome } from './hashing.ts';
import { heartbeat } from './heartbeat.ts';
import { indexRow } from './intents.ts';
import type { IndexRow, LocalIndex } from './local-index.ts';
import type { PendingStore } from './pending.ts';
import type { ContentReader } from './read-contents.ts';
import { type LocalContents, type Supply, supplyOfTemporary } from './supply.ts';

export interface VerifierOptions {
  readonly root: ShareRoot;
  readonly index: LocalIndex;
  readonly pending: PendingStore;
  readonly archive: Archive;
  readonly changes: DiskChanges;
  readonly damages: Damages;
  readonly hashing: Hashing;
  readonly reader: ContentReader;
  readonly local: LocalContents;
  readonly clock: Clock;
  readonly log: Logger;
  /** Of the share. */
  readonly signal: AbortSignal;
  /** False while nothing may be written to the folder. */
  readonly mayPlace: () => boolean;
  readonly nudge: (path: string) => void;
}

export interface VerifyCounts {
  /** Files that were read, and their bytes. */
  readonly files: number;
  readonly bytes: bigint;
  /** Of all that are to be read, as known at the beginning. */
  readonly totalFiles: number;
  readonly totalBytes: bigint;
  /** Files that the disk had changed, or can't give back; and those of them that are right again. */
  readonly damaged: number;
  readonly repaired: number;
  /** Files that were changed by somebody meanwhile: they are noted as usual. */
  readonly changed: number;
  /** Files that could not be read for another reason (permissions). */
  readonly unreadable: number;
}

export interface VerifyResult extends VerifyCounts {
  /** Files of the share that the folder does not have yet. */
  readonly missing: number;
  /** Files that are still to be read for the first time: nothing is known yet that they could be compared with. */
  readonly unread: number;
}

export type VerifyStep =
  | { readonly kind: 'progress'; readonly counts: VerifyCounts }
  | {
      readonly kind: 'file';
      readonly path: string;
      readonly outcome: 'repaired' | 'damaged' | 'unreadable';
      /** Why it could not be read. */
      readonly message: string | undefined;
      readonly counts: VerifyCounts;
    };

/** A row that can be verified. */
type FileRow = IndexRow & { readonly kind: 'file'; readonly sha256: string; readonly uuid: string };

type Verdict =
  | { readonly kind: 'good' }
  | { readonly kind: 'changed' }
  | { readonly kind: 'unreadable'; readonly message: string }
  | { readonly kind: 'damaged'; readonly found: string | undefined; readonly facts: FileFacts };

/** Of a file, or of the way to it: the disk does not give it back. */
const LOST: ReadonlySet<string | undefined> = new Set(['files.io', 'files.corrupt']);
/** So many of them one after the other: it is no file that is damaged, but the disk that does not work at all. */
const MOST_LOST = 32;

/** Between two words to whoever waits, milliseconds. */
const TELL_MS = 500;
/** Work in one go, and the rest after it as a part of that work: everything else comes first. Milliseconds. */
const WORK_MS = 40;
const REST = 0.5;
const LONGEST_REST_MS = 1_000;

export class Verifier {
  readonly #options: VerifierOptions;
  #isRunning = false;
  #mending: { readonly stop: AbortController; readonly over: Promise<void> } | undefined;

  constructor(options: VerifierOptions) {
    this.#options = options;
  }

  /**
   * Ends early when it is left, or by the signal; what was repaired by then is.
   * @throws SkylarkError (environment, exit code 75) `verify.running`, `share.held`, `verify.disk_fails`; the signal's
   *   reason; `share.*`.
   */
  async *verify(signal: AbortSignal): AsyncGenerator<VerifyStep, VerifyResult, void> {
    if (this.#isRunning)
      throw environmentError('verify.running', 'the share is being verified already', {
        remedy: 'wait until that is done',
        exitCode: 75,
      });
    this.#isRunning = true;
    const left = new AbortController();
    try {
      this.#mending?.stop.abort(environmentError('verify.begins', 'everything is verified now'));
      await this.#mending?.over;
      return yield* this.#verify(AbortSignal.any([signal, this.#options.signal, left.signal]));
    } finally {
      this.#isRunning = false;
      left.abort(environmentError('verify.left', 'nobody waits for the result any more'));
    }
  }

  /**
   * Looks again at what is known to be damaged, and puts right what can be. Nothing is done during `verify`.
   * @throws the signal's reason; `share.*`.
   */
  async mend(signal: AbortSignal): Promise<void> {
    if (this.#isRunning || this.#mending !== undefined || !this.#options.mayPlace()) return;
    const stop = new AbortController();
    const work = this.#mend(AbortSignal.any([signal, this.#options.signal, stop.signal]));
    this.#mending = {
      stop,
      over: work.then(
        () => undefined,
        () => undefined,
      ),
    };
    try {
      await work;
    } finally {
      this.#mending = undefined;
    }
  }

  async #mend(signal: AbortSignal): Promise<void> {
    const { damages, nudge, log } = this.#options;
    for (const row of damages.rows()) {
      signal.throwIfAborted();
      if (!isFileRow(row)) continue;
      const verdict = await this.#read(row, signal);
      if (verdict.kind === 'changed') nudge(row.path);
      if (verdict.kind === 'good') damages.remove(row.uuid);
      if (verdict.kind !== 'damaged') continue;
      if (verdict.found !== damages.foundIn(row)) damages.add(row, verdict.found);
      if (await this.#repair(row, verdict.found, verdict.facts, signal))
        log.info('a damaged file was repaired', { path: row.path });
    }
  }

  async *#verify(signal: AbortSignal): AsyncGenerator<VerifyStep, VerifyResult, void> {
    const { index, clock, pending } = this.#options;
    this.#checkHeld();
    const run = new Run(index);
    let [worked, toldAt, lost] = [0, clock.monotonic(), 0];
    for (const row of index.below('/')) {
      signal.throwIfAborted();
      if (!isFileRow(row)) continue;
      const startedAt = clock.monotonic();
      const verdict = yield* this.#patiently(this.#read(row, signal), run);
      run.read(row, verdict);
      if (verdict.kind === 'changed') this.#options.nudge(row.path);
      if (verdict.kind === 'unreadable')
        yield {
          kind: 'file',
          path: row.path,
          outcome: 'unreadable',
          message: verdict.message,
          counts: run.counts,
        };
      if (verdict.kind === 'good') this.#options.damages.remove(row.uuid);
      lost = verdict.kind === 'damaged' && verdict.found === undefined ? lost + 1 : 0;
      if (lost > MOST_LOST) throw diskFails();
      if (verdict.kind === 'damaged') yield* this.#damaged(row, verdict, run, signal);
      const now = clock.monotonic();
      worked += now - startedAt;
      if (now - toldAt >= TELL_MS) {
        toldAt = now;
        yield { kind: 'progress', counts: run.counts };
      }
      if (worked < WORK_MS) continue;
      await sleep(clock, Math.min(worked * REST, LONGEST_REST_MS), signal);
      worked = 0;
    }
    const { files: missing } = pending.totals();
    return { ...run.counts, missing, unread: index.unread().files };
  }

  /** Waits, and tells that we still are at it. */
  #patiently<T>(work: Promise<T>, run: Run): AsyncGenerator<VerifyStep, T, void> {
    const tell = (): VerifyStep => ({ kind: 'progress', counts: run.counts });
    return heartbeat(this.#options.clock, TELL_MS, work, tell);
  }

  /** The index knew this of the file; what does the disk say? */
  async #read(row: FileRow, signal: AbortSignal): Promise<Verdict> {
    const first = await this.#hash(row, signal);
    if (first.state === 'hashed' && first.sha256 === row.sha256) return { kind: 'good' };
    if (first.state === 'changed') return { kind: 'changed' };
    if (first.state === 'failed') return this.#unread(row, first);
    if (!this.#isAsKnown(row, first.facts)) return { kind: 'changed' };
    // Memory and cables fail, too: what is read right the second time is right.
    const second = await this.#hash(row, signal);
    if (second.state !== 'hashed' || !this.#isAsKnown(row, second.facts)) return { kind: 'changed' };
    if (second.sha256 === row.sha256) {
      this.#options.log.warn('a file was read wrongly once', { path: row.path });
      return { kind: 'good' };
    }
    return { kind: 'damaged', found: second.sha256, facts: second.facts };
  }

  async #unread(row: FileRow, { code, message }: HashOutcome & { state: 'failed' }): Promise<Verdict> {
    const { root, index } = this.#options;
    // Deleted, or something else by now: the detector's business.
    if (code === 'files.absent' || code === 'files.symlink' || code === 'files.not_a_file')
      return { kind: 'changed' };
    try {
      const facts = await root.look(index.localPath(row.path));
      if (facts === undefined || !this.#isAsKnown(row, facts)) return { kind: 'changed' };
      return LOST.has(code) ? { kind: 'damaged', found: undefined, facts } : { kind: 'unreadable', message };
    } catch (thrown) {
      // The folder that it is in can't be read.
      if (!errorCode(thrown)?.startsWith('files.')) throw thrown;
      return { kind: 'unreadable', message };
    }
  }

  /** Neither the file has changed since its contents were known, nor what is known. */
  #isAsKnown(row: FileRow, facts: FileFacts): boolean {
    const known = this.#options.index.byPath(row.path);
    return known?.sha256 === row.sha256 && known.uuid === row.uuid && sameFacts(known, facts);
  }

  #hash(row: FileRow, signal: AbortSignal): Promise<HashOutcome> {
    const { hashing, root, index, reader } = this.#options;
    return hashing.hash(root, index.localPath(row.path), row.size, reader.hashSignal(row.size, signal));
  }

  async *#damaged(
    row: FileRow,
    { found, facts }: Verdict & { kind: 'damaged' },
    run: Run,
    signal: AbortSignal,
  ): AsyncGenerator<VerifyStep, void, void> {
    const { damages, log } = this.#options;
    // At once: from here on nobody is given these bytes.
    damages.add(row, found);
    const isRepaired = yield* this.#patiently(this.#repair(row, found, facts, signal), run);
    const outcome = isRepaired ? 'repaired' : 'damaged';
    if (isRepaired) run.repaired += 1;
    log.warn('the disk has damaged a file', { path: row.path, outcome, expected: row.sha256, found });
    yield { kind: 'file', path: row.path, outcome, message: undefined, counts: run.counts };
  }

  /** @throws the signal's reason; `share.*`. */
  async #repair(
    row: FileRow,
    found: string | undefined,
    facts: FileFacts,
    signal: AbortSignal,
  ): Promise<boolean> {
    const { log, nudge } = this.#options;
    let supply: Supply | undefined;
    try {
      supply = await this.#rightContents(row, signal);
      if (supply === undefined) return false;
      await this.#replace(row, found, facts, supply);
      return true;
    } catch (thrown) {
      await supply?.discard();
      if (signal.aborted || !errorCode(thrown)?.startsWith('files.')) throw thrown;
      log.warn('a damaged file could not be repaired', { path: row.path, code: errorCode(thrown) });
      nudge(row.path);
      return false;
    }
  }

  async #rightContents({ uuid, sha256, size }: FileRow, signal: AbortSignal): Promise<Supply | undefined> {
    const { local, reader } = this.#options;
    const copy = await local.copy(sha256, size, `repair-${uuid}`);
    if (copy !== undefined) return copy;
    const fetched = await reader.fetch({ sha256, size }, { signal });
    return typeof fetched === 'string' ? undefined : supplyOfTemporary(fetched.temporary);
  }

  /** The damaged file goes to the archive, the right one takes its place; no version changes. */
  async #replace(row: FileRow, found: string | undefined, now: FileFacts, supply: Supply): Promise<void> {
    const { index, archive, changes, damages } = this.#options;
    this.#checkHeld();
    const local = index.localPath(row.path);
    const { path: key, size, mtimeNs: mtime, mode } = row;
    let facts: FileFacts | undefined;
    await changes.submit({
      paths: [row.path],
      intent: { op: 'place', row },
      archive: { key, sha256: found, size, mtime, mode, reason: 'damaged' },
      perform: async (archived) => {
        const kept = archived === undefined ? now : await archive.keep(local, archived, now);
        try {
          facts = await supply.commit(local, { mode, mtimeNs: mtime, expected: kept });
        } catch (thrown) {
          if (archived !== undefined) await archive.discard(archived);
          throw thrown;
        }
      },
      finish: () => {
        const known = index.byPath(row.path);
        // Its record may have got a new version meanwhile, whose contents are still to come.
        if (facts !== undefined && known?.uuid === row.uuid)
          index.put(indexRow({ ...row, clock: known.clock }, facts));
        damages.remove(row.uuid);
      },
    });
  }

  #checkHeld(): void {
    if (this.#options.mayPlace()) return;
    throw environmentError('share.held', 'the folder is not ready to be verified', {
      remedy: "'skylark status' says why",
      exitCode: 75,
    });
  }
}

/** What has been found so far. */
class Run {
  #counts: VerifyCounts;

  constructor(index: LocalIndex) {
    const { files, bytes } = index.totals();
    const none = { files: 0, bytes: 0n, damaged: 0, repaired: 0, changed: 0, unreadable: 0 };
    this.#counts = { ...none, totalFiles: files, totalBytes: bytes };
  }

  get counts(): VerifyCounts {
    return this.#counts;
  }

  get repaired(): number {
    return this.#counts.repaired;
  }

  set repaired(repaired: number) {
    this.#counts = { ...this.#counts, repaired };
  }

  read({ size }: FileRow, { kind }: Verdict): void {
    const counts = this.#counts;
    const one = (which: Verdict['kind']) => (kind === which ? 1 : 0);
    this.#counts = {
      ...counts,
      files: counts.files + 1,
      bytes: counts.bytes + size,
      damaged: counts.damaged + one('damaged'),
      changed: counts.changed + one('changed'),
      unreadable: counts.unreadable + one('unreadable'),
    };
  }
}

function diskFails() {
  return environmentError('verify.disk_fails', `the disk gave back none of ${MOST_LOST} files`, {
    remedy: 'check the disk and its cable, and verify again',
    exitCode: 75,
  });
}

function isFileRow(row: IndexRow): row is FileRow {
  return row.kind === 'file' && row.sha256 !== undefined && row.uuid !== undefined;
}
