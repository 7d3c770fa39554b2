/**
 * SHA-256 of files, off the main thread. Many small files travel to the worker together, since a message between
 * threads costs more than hashing one of them; a single small file is read where we are, since a thread that has to be
 * started first would take longer than the whole file.
 *
 * What is hashed is flushed first: others will be told that we have it, and after a power cut the remains of a file that
 * was still in memory would look like its owner's newest version.
 */

import { toHex } from '../base/bytes.ts';
import { internalError, SkylarkError } from '../base/errors.ts';
import { sha256 } from '../crypto/hash.ts';
import { type FileFacts, type ShareRoot, sameFacts } from '../platform/files.ts';
import { openWorkerPool, type WorkerPool } from '../platform/workers.ts';

export type HashOutcome =
  /** `facts` were the same before and after the reading. */
  | { readonly state: 'hashed'; readonly sha256: string; readonly facts: FileFacts }
  /** It was written to meanwhile: try again when it is quiet. */
  | { readonly state: 'changed' }
  /** It could not be read (`files.absent`, `files.not_permitted`, `files.io`, ...). */
  | { readonly state: 'failed'; readonly code: string; readonly message: string };

/** To the worker: local paths below the root directory with this descriptor. */
export interface HashRequest {
  readonly root: number;
  readonly paths: readonly string[];
}

export interface HashAnswer {
  /** In the order of the paths. */
  readonly outcomes: readonly HashOutcome[];
}

export interface Hashing {
  /**
   * Hashes the file at a local path. Never follows links, never opens anything but regular files.
   * @param size roughly, in bytes: decides where the work is done.
   * @throws the signal's reason; SkylarkError `share.*` if the root is gone; `worker.*`.
   */
  hash(root: ShareRoot, path: string, size: bigint, signal: AbortSignal): Promise<HashOutcome>;
  close(): Promise<void>;
}

/** Up to this size a file is read at once, and several may go to the worker together. */
const SMALL = 65_536n;
/** Small files in a batch: 3 ms of work at 4 KiB each. */
const BATCH = 64;
/** With fewer small files waiting than this, the main thread reads them itself. */
const WORTH_A_THREAD = 4;
/** Small files that the main thread reads at the same time. */
const INLINE_AT_ONCE = 2;

interface Job {
  readonly path: string;
  readonly signal: AbortSignal;
  readonly resolve: (outcome: HashOutcome) => void;
  readonly reject: (reason: unknown) => void;
}

/** @param pool for tests; by default one is opened on `directory/hash-worker`, whose threads live only while they work. */
export function openHashing(
  pool: WorkerPool<HashRequest, HashAnswer> = openWorkerPool({ entry: 'directory/hash-worker' }),
): Hashing {
  return new ThreadedHashing(pool);
}

class ThreadedHashing implements Hashing {
  readonly #pool: WorkerPool<HashRequest, HashAnswer>;
  readonly #small = new Map<ShareRoot, Job[]>();
  #inline = 0;
  /** Large files that the worker has or waits for. */
  #large = 0;

  constructor(pool: WorkerPool<HashRequest, HashAnswer>) {
    this.#pool = pool;
  }

  hash(root: ShareRoot, path: string, size: bigint, signal: AbortSignal): Promise<HashOutcome> {
    if (size > SMALL) return this.#hashLarge(root, path, signal);
    return new Promise((resolve, reject) => {
      const waiting = this.#small.get(root);
      const job: Job = { path, signal, resolve, reject };
      if (waiting !== undefined) {
        waiting.push(job);
        return;
      }
      this.#small.set(root, [job]);
      // Whoever has many files asks for all of them in this turn.
      setImmediate(() => this.#start(root));
    });
  }

  async close(): Promise<void> {
    await this.#pool.close();
  }

  async #hashLarge(root: ShareRoot, path: string, signal: AbortSignal): Promise<HashOutcome> {
    this.#large += 1;
    try {
      const [outcome] = await this.#inWorker(root, [path], signal);
      if (outcome === undefined) throw internalError('hashing.no_answer', 'the worker gave no answer');
      return outcome;
    } finally {
      this.#large -= 1;
    }
  }

  #start(root: ShareRoot): void {
    const jobs = this.#small.get(root) ?? [];
    this.#small.delete(root);
    // Behind a large file they would wait for seconds.
    const isWorthIt = jobs.length >= WORTH_A_THREAD && this.#large === 0;
    if (!isWorthIt && this.#inline < INLINE_AT_ONCE) {
      this.#inline += 1;
      void this.#runInline(root, jobs).finally(() => {
        this.#inline -= 1;
      });
      return;
    }
    for (let at = 0; at < jobs.length; at += BATCH) void this.#runBatch(root, jobs.slice(at, at + BATCH));
  }

  async #runInline(root: ShareRoot, jobs: readonly Job[]): Promise<void> {
    for (const job of jobs) {
      try {
        job.signal.throwIfAborted();
        job.resolve(await hashSmall(root, job.path));
      } catch (thrown) {
        job.reject(thrown);
      }
    }
  }

  async #runBatch(root: ShareRoot, jobs: readonly Job[]): Promise<void> {
    try {
      // One share's batches end together; its files share their signal.
      const outcomes = await this.#inWorker(
        root,
        jobs.map(({ path }) => path),
        jobs[0]!.signal,
      );
      jobs.forEach((job, i) => {
        job.resolve(outcomes[i]!);
      });
    } catch (thrown) {
      for (const job of jobs) job.reject(thrown);
    }
  }

  async #inWorker(
    root: ShareRoot,
    paths: readonly string[],
    signal: AbortSignal,
  ): Promise<readonly HashOutcome[]> {
    const { outcomes } = await root.withRootDescriptor((descriptor) =>
      this.#pool.run({ root: descriptor, paths }, { signal }),
    );
    return outcomes;
  }
}

async function hashSmall(root: ShareRoot, path: string): Promise<HashOutcome> {
  try {
    const file = await root.openFile(path);
    try {
      await file.flush();
      // One byte more, to see whether it grew.
      const buffer = new Uint8Array(Number(file.facts.size < SMALL ? file.facts.size : SMALL) + 1);
      const count = await file.read(buffer, 0n);
      if (BigInt(count) !== file.facts.size || !sameFacts(file.look(), file.facts))
        return { state: 'changed' };
      return { state: 'hashed', sha256: toHex(sha256(buffer.subarray(0, count))), facts: file.facts };
    } finally {
      await file.close();
    }
  } catch (thrown) {
    if (!(thrown instanceof SkylarkError) || !thrown.code.startsWith('files.')) throw thrown;
    return { state: 'failed', code: thrown.code, message: thrown.message };
  }
}
