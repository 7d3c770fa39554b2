/** Joining a club with an access code: an intent that lasts until some peer has given us its keys. */

import { type Clock, sleep } from '../base/clock.ts';
import {
  asError,
  EXIT,
  environmentError,
  errorCode,
  peerError,
  SkylarkError,
  userError,
} from '../base/errors.ts';
import type { Secret } from '../base/log.ts';
import { openBackoff } from '../base/retry.ts';
import type { Access } from './access-code.ts';
import type { Club } from './club.ts';
import type { KeysMessage } from './keys.ts';
import type { AccessLevel } from './session.ts';

export interface JoinRequest {
  readonly access: Access;
  /** Checks and stores the keys; resolves when they are durable. The share may be opened here too. */
  readonly adopt: (keys: KeysMessage, peer: string) => Promise<Club>;
  /** `HOST:PORT` to dial, besides those that discovery comes up with. */
  readonly addresses?: readonly string[] | undefined;
  /** Gives up. */
  readonly signal: AbortSignal;
  /** Told of every peer that was tried in vain. */
  readonly onFailure?: ((address: string, why: Error) => void) | undefined;
}

const RETRY = { first: 500, longest: 10_000 };

export class Joining {
  readonly id: string;
  readonly secret: Secret<string>;
  /** The peer ID that we shall have in the club. */
  readonly peer: string;
  /** Settles with the club, or with the best reason why there is none. */
  readonly result: Promise<Club>;
  readonly #request: JoinRequest;
  readonly #settled = new AbortController();
  /** Not aborted by success: the connection that brought the keys goes on. */
  readonly #givenUp = new AbortController();
  readonly #outcome = Promise.withResolvers<Club>();
  #storing = false;
  /** Why it was given up while keys were being stored: that must end first, since it decides. */
  #rejection: Error | undefined;
  #wasRefused = false;
  #lastFailure: Error | undefined;

  constructor(request: JoinRequest, peer: string) {
    this.#request = request;
    this.peer = peer;
    this.id = request.access.id;
    this.secret = request.access.secret;
    this.result = this.#outcome.promise;
  }

  /** Aborted when it is decided, either way. */
  get signal(): AbortSignal {
    return this.#settled.signal;
  }

  /** Dials the given addresses until it is decided. */
  run(dial: (address: string, signal: AbortSignal) => Promise<unknown>, clock: Clock): Promise<Club> {
    const { signal, addresses = [] } = this.#request;
    const onAbort = () => this.#reject(this.#reason(signal.reason));
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
    void this.#dialAll(addresses, dial, clock);
    return this.result.finally(() => signal.removeEventListener('abort', onAbort));
  }

  /**
   * A peer offers the keys. One at a time, and no more once they are stored.
   * @returns the level that we got.
   */
  async store(keys: KeysMessage): Promise<AccessLevel> {
    if (this.#storing || this.signal.aborted) {
      throw peerError('join.taken', 'another peer was quicker to give the keys');
    }
    this.#storing = true;
    try {
      const club = await this.#request.adopt(keys, this.peer);
      this.#settle();
      this.#outcome.resolve(club);
      return club.level;
    } catch (thrown) {
      this.#storing = false;
      if (this.#rejection !== undefined) this.#reject(this.#rejection);
      // Unusable keys are this peer's fault, and another one may do better; anything else stands in every peer's way.
      if (!(thrown instanceof SkylarkError && thrown.fault === 'peer')) this.#reject(asError(thrown));
      throw thrown;
    }
  }

  /** Somebody was tried in vain. */
  failed(address: string, why: Error): void {
    if (this.signal.aborted) return;
    this.#lastFailure = why;
    if (isRefusal(why)) this.#wasRefused = true;
    this.#request.onFailure?.(address, why);
  }

  giveUp(why: Error): void {
    this.#reject(why);
  }

  async #dialAll(
    addresses: readonly string[],
    dial: (address: string, signal: AbortSignal) => Promise<unknown>,
    clock: Clock,
  ): Promise<void> {
    const refused = await Promise.all(addresses.map((address) => this.#dialOne(address, dial, clock)));
    // Whoever names the places to ask wants to know at once that they all said no.
    if (addresses.length > 0 && refused.every(Boolean)) this.#reject(refusal());
  }

  /** @returns whether the peer there does not accept the code. */
  async #dialOne(
    address: string,
    dial: (address: string, signal: AbortSignal) => Promise<unknown>,
    clock: Clock,
  ): Promise<boolean> {
    const backoff = openBackoff(RETRY);
    while (!this.signal.aborted) {
      try {
        await dial(address, this.#givenUp.signal);
      } catch (thrown) {
        if (isRefusal(asError(thrown))) return true;
      }
      await sleep(clock, backoff.next(), this.signal).catch(() => {});
    }
    return false;
  }

  #reason(given: unknown): Error {
    if (this.#wasRefused) return refusal();
    if (given instanceof SkylarkError && given.fault !== 'environment') return given;
    return environmentError('join.nobody', 'no device that knows this code could be reached', {
      remedy:
        'see that the device which made the code is on and in the same network, or give its address with --peer',
      exitCode: EXIT.tryAgain,
      cause: this.#lastFailure,
    });
  }

  #reject(why: Error): void {
    if (this.signal.aborted) return;
    if (this.#storing) {
      this.#rejection = why;
      return;
    }
    this.#settle();
    this.#outcome.reject(why);
    this.#givenUp.abort(why);
  }

  #settle(): void {
    this.#settled.abort(environmentError('join.over', 'the joining is over'));
  }
}

function isRefusal(why: Error): boolean {
  return errorCode(why) === 'channel.authentication_failed';
}

function refusal(): SkylarkError {
  return userError('join.refused', 'the device was reached, but does not accept this code', {
    remedy: 'it may be used, revoked or expired: ask for a new one',
    exitCode: EXIT.notPermitted,
  });
}
