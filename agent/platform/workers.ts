/**
 * Work that would hold up the event loop (hashing, deltas, key derivation) on threads of its own. A worker's module is
 * named `*-worker.ts`, exports nothing and calls `serveWorker` with its handler; whoever needs it opens a pool on the
 * module's name. The same code runs from TypeScript source and inside the single binary.
 */

import { readlinkSync } from 'node:fs';
import { availableParallelism, setPriority } from 'node:os';
import { parentPort, type Transferable, Worker, workerData } from 'node:worker_threads';
import { type Clock, systemClock, type Timer } from '../base/clock.ts';
import { asError, type Fault, internalError, SkylarkError } from '../base/errors.ts';
import { workerProgram } from './program.ts';

export interface WorkerPoolOptions {
  /** The worker's module below `agent/`, without `.ts`: `directory/hash-worker`. */
  readonly entry: string;
  /** Most threads at a time. Default: one for each processor but one, at least 1, at most 4. */
  readonly size?: number;
  /** Milliseconds after which an idle thread ends and gives its memory (some 5 MB) back. Default 30,000. */
  readonly idleMs?: number;
  /** Scheduling niceness of the threads, 0 (as the program) to 19. Default 10: other programs' work comes first. */
  readonly niceness?: number;
  /** Most JavaScript heap of one thread in MiB; a thread that wants more ends and fails its request. Default 128. */
  readonly heapLimitMiB?: number;
  readonly clock?: Clock;
}

/** What is garbage soon is collected soon: a worker's large things lie outside of its heap. */
const YOUNG_HEAP_MIB = 4;

export interface RunOptions {
  /** Objects inside the request that change owner instead of being copied: ArrayBuffers, ports, file handles. */
  readonly transfer?: readonly Transferable[];
  /** Gives up: a waiting request never starts, a running one is told through its context's signal. */
  readonly signal?: AbortSignal;
}

export interface WorkerPool<Req, Res> {
  /**
   * Runs one request on the next free thread, in the order of the calls. The number of waiting requests is the
   * caller's to bound.
   * @throws what the handler threw (SkylarkErrors arrive whole, other errors with message and code), the signal's
   *   reason, `worker.crashed`, or `worker.closed`.
   */
  run(request: Req, options?: RunOptions): Promise<Res>;
  /** Ends all threads at once; what was running or waiting rejects with `worker.closed`. */
  close(): Promise<void>;
}

export interface WorkerContext {
  /** Aborted when the caller gave up. Seen by handlers that await now and then. */
  readonly signal: AbortSignal;
  /** Marks objects inside the result that change owner instead of being copied. */
  transfer(...objects: Transferable[]): void;
}

interface ThreadSettings {
  readonly niceness: number;
}

type ToWorker<Req> =
  | { readonly kind: 'run'; readonly id: number; readonly request: Req }
  | { readonly kind: 'cancel'; readonly id: number };

type FromWorker<Res> =
  | { readonly id: number; readonly kind: 'result'; readonly result: Res }
  | { readonly id: number; readonly kind: 'error'; readonly error: PlainError };

/** An error in a form that survives the way between threads: a structured clone would lose class and fields. */
interface PlainError {
  readonly message: string;
  readonly stack: string | undefined;
  readonly code: string | undefined;
  readonly skylark: { readonly fault: Fault; readonly code: string; readonly remedy?: string } | undefined;
}

interface Job<Req, Res> {
  readonly id: number;
  readonly request: Req;
  readonly transfer: readonly Transferable[];
  readonly resolve: (result: Res) => void;
  readonly reject: (reason: Error) => void;
}

interface Thread<Req, Res> {
  readonly worker: Worker;
  job: Job<Req, Res> | undefined;
  idleTimer: Timer | undefined;
}

export function openWorkerPool<Req, Res>(options: WorkerPoolOptions): WorkerPool<Req, Res> {
  return new ThreadPool<Req, Res>(options);
}

class ThreadPool<Req, Res> implements WorkerPool<Req, Res> {
  readonly #entry: string;
  readonly #size: number;
  readonly #idleMs: number;
  readonly #settings: ThreadSettings;
  readonly #heapLimitMiB: number;
  readonly #clock: Clock;
  readonly #threads = new Set<Thread<Req, Res>>();
  readonly #waiting = new Map<number, Job<Req, Res>>();
  #nextId = 1;
  #closed = false;

  constructor(options: WorkerPoolOptions) {
    this.#entry = options.entry;
    this.#size = options.size ?? Math.max(1, Math.min(4, availableParallelism() - 1));
    this.#idleMs = options.idleMs ?? 30_000;
    this.#settings = { niceness: options.niceness ?? 10 };
    this.#heapLimitMiB = options.heapLimitMiB ?? 128;
    this.#clock = options.clock ?? systemClock;
  }

  run(request: Req, options: RunOptions = {}): Promise<Res> {
    const { transfer = [], signal } = options;
    return new Promise<Res>((resolve, reject) => {
      if (this.#closed) return reject(closedError());
      if (signal?.aborted) return reject(signal.reason);
      const id = this.#nextId++;
      const onAbort = () => {
        this.#cancel(id);
        reject(signal?.reason);
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#waiting.set(id, {
        id,
        request,
        transfer,
        resolve: (result) => {
          signal?.removeEventListener('abort', onAbort);
          resolve(result);
        },
        reject: (reason) => {
          signal?.removeEventListener('abort', onAbort);
          reject(reason);
        },
      });
      this.#dispatch();
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    const threads = [...this.#threads];
    const jobs = [...threads.flatMap((thread) => thread.job ?? []), ...this.#waiting.values()];
    this.#waiting.clear();
    for (const job of jobs) job.reject(closedError());
    await Promise.all(threads.map((thread) => this.#end(thread)));
  }

  #dispatch(): void {
    for (const job of this.#waiting.values()) {
      try {
        const thread = this.#freeThread();
        if (thread === undefined) return;
        this.#waiting.delete(job.id);
        this.#start(thread, job);
      } catch (thrown) {
        // No thread can be had (memory, a limit on processes): this job fails, the next one tries again.
        this.#waiting.delete(job.id);
        job.reject(asError(thrown));
      }
    }
  }

  #freeThread(): Thread<Req, Res> | undefined {
    for (const thread of this.#threads) if (thread.job === undefined) return thread;
    return this.#threads.size < this.#size ? this.#openThread() : undefined;
  }

  #start(thread: Thread<Req, Res>, job: Job<Req, Res>): void {
    thread.idleTimer?.cancel();
    thread.idleTimer = undefined;
    thread.job = job;
    thread.worker.ref();
    const message: ToWorker<Req> = { kind: 'run', id: job.id, request: job.request };
    try {
      thread.worker.postMessage(message, job.transfer);
    } catch (thrown) {
      job.reject(internalError('worker.request_not_cloneable', asError(thrown).message, { cause: thrown }));
      this.#becomeIdle(thread);
    }
  }

  #openThread(): Thread<Req, Res> {
    const program = workerProgram(this.#entry);
    const worker = new Worker('url' in program ? program.url : program.text, {
      eval: 'text' in program,
      name: this.#entry,
      workerData: this.#settings,
      argv: [],
      env: workerEnvironment(),
      execArgv: [],
      resourceLimits: {
        maxOldGenerationSizeMb: this.#heapLimitMiB,
        maxYoungGenerationSizeMb: YOUNG_HEAP_MIB,
      },
    });
    const thread: Thread<Req, Res> = { worker, job: undefined, idleTimer: undefined };
    this.#threads.add(thread);
    let failure: Error | undefined;
    worker.on('message', (message: FromWorker<Res>) => this.#onAnswer(thread, message));
    worker.on('error', (thrown) => {
      failure = asError(thrown);
    });
    worker.on('messageerror', (thrown) => {
      failure = asError(thrown);
      void worker.terminate();
    });
    worker.on('exit', (exitCode) => {
      this.#threads.delete(thread);
      thread.idleTimer?.cancel();
      const { job } = thread;
      thread.job = undefined;
      job?.reject(crashedError(this.#entry, exitCode, failure));
      if (!this.#closed) this.#dispatch();
    });
    return thread;
  }

  #onAnswer(thread: Thread<Req, Res>, message: FromWorker<Res>): void {
    const { job } = thread;
    if (job === undefined || job.id !== message.id) return;
    if (message.kind === 'result') job.resolve(message.result);
    else job.reject(fromPlainError(message.error));
    this.#becomeIdle(thread);
  }

  #becomeIdle(thread: Thread<Req, Res>): void {
    thread.job = undefined;
    this.#dispatch();
    if (thread.job !== undefined) return;
    thread.worker.unref();
    thread.idleTimer = this.#clock.after(this.#idleMs, () => {
      void this.#end(thread);
    });
  }

  /** The promise of a given-up request is settled by its caller; a thread stays busy until its handler returns. */
  #cancel(id: number): void {
    if (this.#waiting.delete(id)) return;
    for (const thread of this.#threads) {
      if (thread.job?.id !== id) continue;
      const message: ToWorker<Req> = { kind: 'cancel', id };
      thread.worker.postMessage(message);
    }
  }

  async #end(thread: Thread<Req, Res>): Promise<void> {
    this.#threads.delete(thread);
    thread.idleTimer?.cancel();
    await thread.worker.terminate();
  }
}

/**
 * The whole program of a worker thread: answers one request at a time with what `handler` returns or throws.
 * To be called once, at the top level of a module that runs in a thread of an `openWorkerPool`.
 */
export function serveWorker<Req, Res>(
  handler: (request: Req, context: WorkerContext) => Res | Promise<Res>,
): void {
  const port = parentPort;
  if (port === null)
    throw internalError('worker.not_a_thread', 'a worker module was loaded outside a worker');
  lowerPriority((workerData as ThreadSettings).niceness);
  let running: { readonly id: number; readonly controller: AbortController } | undefined;

  const answer = (message: FromWorker<Res>, transfer: readonly Transferable[]) => {
    try {
      port.postMessage(message, transfer);
    } catch (thrown) {
      const failure: FromWorker<Res> = { id: message.id, kind: 'error', error: toPlainError(thrown) };
      port.postMessage(failure);
    }
  };

  const run = async (id: number, request: Req) => {
    const controller = new AbortController();
    const transfer: Transferable[] = [];
    running = { id, controller };
    try {
      const context: WorkerContext = {
        signal: controller.signal,
        transfer: (...objects) => {
          transfer.push(...objects);
        },
      };
      answer({ id, kind: 'result', result: await handler(request, context) }, transfer);
    } catch (thrown) {
      answer({ id, kind: 'error', error: toPlainError(thrown) }, []);
    } finally {
      running = undefined;
    }
  };

  port.on('message', (message: ToWorker<Req>) => {
    if (message.kind === 'run') void run(message.id, message.request);
    else if (running?.id === message.id)
      running.controller.abort(internalError('worker.cancelled', 'the caller gave up'));
  });
}

/**
 * The environment may hold secrets and says nothing that a worker needs, but for where compiled modules are kept: a
 * thread that has to translate its TypeScript anew costs 25 MB more, and three times as long to start.
 */
function workerEnvironment(): Record<string, string> {
  const { NODE_COMPILE_CACHE: compiled } = process.env;
  return compiled === undefined ? {} : { NODE_COMPILE_CACHE: compiled };
}

/** Linux schedules threads, not processes: niceness can be set for this thread alone, by its id. */
function lowerPriority(niceness: number): void {
  if (niceness === 0) return;
  try {
    const thread = /(\d+)$/.exec(readlinkSync('/proc/thread-self'))?.[1];
    if (thread !== undefined) setPriority(Number(thread), niceness);
  } catch {
    // No /proc, or not Linux: the work is done all the same.
  }
}

function toPlainError(thrown: unknown): PlainError {
  const error = asError(thrown);
  const { code } = error as { code?: unknown };
  return {
    message: error.message,
    stack: error.stack,
    code: typeof code === 'string' ? code : undefined,
    skylark:
      error instanceof SkylarkError
        ? {
            fault: error.fault,
            code: error.code,
            ...(error.remedy === undefined ? {} : { remedy: error.remedy }),
          }
        : undefined,
  };
}

function fromPlainError(plain: PlainError): Error {
  const { skylark } = plain;
  if (skylark !== undefined)
    return new SkylarkError(
      skylark.fault,
      skylark.code,
      plain.message,
      skylark.remedy === undefined ? {} : { remedy: skylark.remedy },
    );
  const error: Error & { code?: string } = new Error(plain.message);
  if (plain.code !== undefined) error.code = plain.code;
  if (plain.stack !== undefined) error.stack = plain.stack;
  return error;
}

function crashedError(entry: string, exitCode: number, cause: Error | undefined): SkylarkError {
  const why = cause?.message ?? `exit code ${exitCode}`;
  return internalError('worker.crashed', `the worker ${entry} ended unexpectedly: ${why}`, { cause });
}

function closedError(): SkylarkError {
  return internalError('worker.closed', 'the worker pool was closed');
}
