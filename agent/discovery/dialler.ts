/** Dials what the plan (dial-plan.ts) says, and tells it what came of it. */

import type { Clock, Timer } from '../base/clock.ts';
import { type Endpoint, formatEndpoint } from '../base/endpoint.ts';
import { asError, internalError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { DialPlan } from './dial-plan.ts';
import type { DialOutcome, Place } from './place-table.ts';
import type { Candidate, SoughtId, SourceName } from './source.ts';

/** What to connect to. */
export interface DialTarget {
  readonly id: string;
  readonly club: string;
  readonly address: Endpoint;
  /** Who is said to be there. */
  readonly peer: string | undefined;
  /** Versions of the secure channel that it is said to accept. */
  readonly versions: readonly number[];
  readonly source: SourceName;
}

/**
 * Connects, authenticates and opens the session; resolves once that stands or has failed. The signal means that the dial is
 * no longer wanted; it is never about a session that stands. What it throws counts as `failed`.
 */
export type Dial = (target: DialTarget, signal: AbortSignal) => Promise<DialOutcome>;

/** What became of a place, for people who ask why nothing connects. */
export interface Attempt {
  readonly id: string;
  readonly club: string;
  readonly address: string;
  readonly peer: string | undefined;
  readonly source: SourceName;
  readonly state: 'connected' | 'dialling' | 'waiting';
  readonly lastOutcome: DialOutcome['kind'] | undefined;
  /** Milliseconds; for `waiting`. */
  readonly retryIn: number | undefined;
}

export interface DiallerOptions {
  readonly dial: Dial;
  readonly clock: Clock;
  readonly log: Logger;
  /** From 0 to below 1. */
  readonly random?: () => number;
}

/** What comes together is decided together. Milliseconds. */
const GATHER_MS = 10;
/** A flood of candidates costs one decision in this time, milliseconds. */
const DECISION_PERIOD_MS = 50;
/** Longest time for one dial: connecting and the handshake have shorter limits of their own. */
const DIAL_TIMEOUT_MS = 60_000;

export class Dialler {
  readonly #options: DiallerOptions;
  readonly #clock: Clock;
  readonly #plan: DialPlan;
  readonly #dials = new Map<Place, { readonly controller: AbortController; readonly done: Promise<void> }>();
  #gathering: Timer | undefined;
  #wake: Timer | undefined;
  #decidedAt = -Infinity;
  #closed = false;

  constructor(options: DiallerOptions) {
    this.#options = options;
    this.#clock = options.clock;
    this.#plan = new DialPlan(options.clock.monotonic(), options.random ?? Math.random);
  }

  /** What is sought from now on, complete. Dials for what is no longer sought are given up. */
  seek(ids: readonly SoughtId[]): void {
    this.#plan.seek(ids);
    this.#decideSoon();
  }

  offer(candidate: Candidate): void {
    if (this.#plan.offer(candidate, this.#clock.monotonic())) this.#decideSoon();
  }

  /** To be told for each session with a member, whoever dialled, also before `dial` resolves. */
  sessionOpened(club: string, peer: string): void {
    this.#plan.sessionOpened(club, peer, this.#clock.monotonic());
    this.#decideSoon();
  }

  sessionEnded(club: string, peer: string): void {
    this.#plan.sessionEnded(club, peer, this.#clock.monotonic());
    this.#decideSoon();
  }

  networkChanged(): void {
    this.#plan.networkChanged(this.#clock.monotonic());
    this.#decideSoon();
  }

  attempts(): Attempt[] {
    const now = this.#clock.monotonic();
    return Array.from(this.#plan.places(), (place) => {
      const isConnected = this.#plan.isConnected(place);
      const isDialling = place.dialledSince !== undefined;
      return {
        id: place.id,
        club: place.club,
        address: formatEndpoint(place.address),
        peer: place.peer,
        source: place.source,
        state: isConnected ? 'connected' : isDialling ? 'dialling' : 'waiting',
        lastOutcome: place.lastOutcome,
        retryIn: isConnected || isDialling ? undefined : Math.max(0, place.dueAt - now),
      };
    });
  }

  /** Gives up all dials and waits for their end. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#gathering?.cancel();
    this.#wake?.cancel();
    const dials = [...this.#dials.values()];
    for (const { controller } of dials) controller.abort(noLongerWanted());
    await Promise.all(dials.map(({ done }) => done));
  }

  #decideSoon(): void {
    if (this.#closed) return;
    const rest = this.#decidedAt + DECISION_PERIOD_MS - this.#clock.monotonic();
    this.#gathering ??= this.#clock.after(Math.max(GATHER_MS, rest), () => {
      this.#gathering = undefined;
      this.#decide();
    });
  }

  #decide(): void {
    if (this.#closed) return;
    const now = this.#clock.monotonic();
    this.#decidedAt = now;
    const { start, cancel, wakeAt } = this.#plan.next(now);
    for (const place of cancel) this.#dials.get(place)?.controller.abort(noLongerWanted());
    for (const place of start) this.#start(place);
    this.#wake?.cancel();
    this.#wake =
      wakeAt === undefined ? undefined : this.#clock.after(Math.max(0, wakeAt - now), () => this.#decide());
  }

  #start(place: Place): void {
    const controller = new AbortController();
    const done = this.#dial(place, controller).finally(() => {
      this.#dials.delete(place);
      this.#decideSoon();
    });
    this.#dials.set(place, { controller, done });
  }

  async #dial(place: Place, controller: AbortController): Promise<void> {
    const { dial, log } = this.#options;
    const timeout = this.#clock.after(DIAL_TIMEOUT_MS, () => controller.abort(noLongerWanted()));
    const { id, club, address, peer, versions, source } = place;
    let outcome: DialOutcome;
    try {
      outcome = await dial({ id, club, address, peer, versions, source }, controller.signal);
    } catch (thrown) {
      outcome = { kind: 'failed' };
      log.debug('a dial failed', { address: formatEndpoint(address), source, error: asError(thrown) });
    }
    timeout.cancel();
    this.#plan.settled(place, outcome, this.#clock.monotonic());
  }
}

function noLongerWanted(): Error {
  return internalError('dial.no_longer_wanted', 'the dial is no longer wanted');
}
