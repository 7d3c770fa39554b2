/** Contents that are being copied, opened, verified or placed: one thing at a time with each of them. */

export interface BusyContentsOptions {
  /** Whatever the work threw. */
  readonly onFailure: (thrown: unknown, sha256: string) => void;
  /** For contents that were asked for once more meanwhile. */
  readonly again: (sha256: string) => Promise<void>;
  readonly onDone: () => void;
}

export class BusyContents {
  readonly #options: BusyContentsOptions;
  readonly #busy = new Set<string>();
  readonly #again = new Set<string>();
  #idleWaiters: (() => void)[] = [];

  constructor(options: BusyContentsOptions) {
    this.#options = options;
  }

  has(sha256: string): boolean {
    return this.#busy.has(sha256);
  }

  /** More records have asked for what is being worked on. */
  repeat(sha256: string): void {
    this.#again.add(sha256);
  }

  /** Never rejects. */
  async run(sha256: string, work: () => Promise<void>): Promise<void> {
    this.#busy.add(sha256);
    try {
      await work();
    } catch (thrown) {
      this.#options.onFailure(thrown, sha256);
    } finally {
      this.#busy.delete(sha256);
      if (this.#again.delete(sha256)) void this.run(sha256, () => this.#options.again(sha256));
      if (this.#busy.size === 0) for (const wake of this.#idleWaiters.splice(0)) wake();
      this.#options.onDone();
    }
  }

  /** Resolves when nothing is under way. */
  async idle(): Promise<void> {
    while (this.#busy.size > 0) await new Promise<void>((resolve) => this.#idleWaiters.push(resolve));
  }
}
