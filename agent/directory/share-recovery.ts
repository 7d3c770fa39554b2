/**
 * What an interruption has left half done is finished once, on the right medium: on an empty mount point, or another
 * medium, it would look as if nothing of it had been done.
 */

import type { Clock } from '../base/clock.ts';
import { errorCode } from '../base/errors.ts';
import { type RecoveryOptions, recover } from './intents.ts';
import { checkMarker, isMarked } from './marker.ts';
import type { ShareParts } from './share-parts.ts';

export interface ShareRecoveryOptions extends Omit<RecoveryOptions, 'index' | 'archive' | 'settle'> {
  readonly parts: Pick<ShareParts, 'index' | 'archive' | 'placer' | 'pending' | 'partials' | 'cache'>;
  readonly clock: Clock;
}

const READ_ONLY: ReadonlySet<string | undefined> = new Set(['files.read_only', 'files.not_permitted']);

export class ShareRecovery {
  readonly #options: ShareRecoveryOptions;
  #isDone = false;
  #running: Promise<void> | undefined;

  constructor(options: ShareRecoveryOptions) {
    this.#options = options;
  }

  /** Until then nothing may be done in the folder, and nothing in it be noted. */
  get isDone(): boolean {
    return this.#isDone;
  }

  /** At the start. What can't be recovered without the folder keeps until it is back. @throws `files.*`, `sqlite.*`. */
  async begin(): Promise<void> {
    try {
      await this.run();
    } catch (thrown) {
      if (!errorCode(thrown)?.startsWith('share.')) throw thrown;
    }
  }

  /** @throws `share.*` if it is not the right folder; `files.*`, `sqlite.*`. */
  async run(): Promise<void> {
    if (this.#isDone) return;
    this.#running ??= this.#recover().finally(() => {
      this.#running = undefined;
    });
    await this.#running;
  }

  async #recover(): Promise<void> {
    const { root, parts, clock } = this.#options;
    const { index, archive, placer, pending, partials, cache } = parts;
    if (isMarked(index)) await checkMarker(root, index);
    await recover({ ...this.#options, index, archive, settle: (uuid) => placer.settle(uuid) });
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
