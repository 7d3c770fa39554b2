/**
 * What is under way at one peer, and how much it is trusted with. The bytes asked in advance follow from how fast it
 * answers, so that a slow peer never holds many requests and a fast one is never idle.
 */

import { MAX_RANGE } from './messages.ts';

/** A peer's session, as the caller numbers it. */
export type SourceId = number;

export interface SourceLimits {
  /** Requests under way at one source. */
  readonly requests: number;
  /** Bytes under way at one source: at first, at least, at most. */
  readonly firstBytes: number;
  readonly leastBytes: number;
  readonly mostBytes: number;
  /** A request that took longer than this many milliseconds halves what its source is trusted with. */
  readonly patience: number;
  /** A source without a byte for this long is asked for nothing more until it wakes, milliseconds. */
  readonly stalled: number;
}

/** A request that was not answered yet. */
export interface Outstanding<Want> {
  readonly source: Source<Want>;
  readonly sha256: string;
  readonly offset: number;
  readonly length: number;
  readonly askedAt: number;
  /** Undefined once the answer would be of no use. */
  want: Want | undefined;
  receiving: boolean;
}

/** What a request costs besides its bytes. */
const OVERHEAD = 512;
const BLOCK = 65_536;
/** Whatever it says itself. */
const LEAST_RANGE = 16_384;

export class Source<Want> {
  readonly id: SourceId;
  readonly #limits: SourceLimits;
  readonly #outstanding = new Map<string, Outstanding<Want>>();
  #load = 0;
  #trusted: number;
  #heardAt: number;
  #shrunkAt: number;
  /** Small contents asked for since the last larger one. */
  smallRun = 0;
  /** Bytes that it wants to be asked for at a time, at most. */
  mostRange: number | undefined;
  /** The state of the schedule in which there was nothing to ask of it. */
  dryAt = -1;

  constructor(id: SourceId, limits: SourceLimits, now: number) {
    this.id = id;
    this.#limits = limits;
    this.#trusted = limits.firstBytes;
    this.#heardAt = now;
    this.#shrunkAt = now;
  }

  get isIdle(): boolean {
    return this.#outstanding.size === 0;
  }

  get hasRoom(): boolean {
    return this.#outstanding.size < this.#limits.requests && this.#load < this.#trusted;
  }

  /** Bytes that were asked for and have not come. */
  get load(): number {
    return this.#load;
  }

  /**
   * Bytes to ask at a time: a quarter of what it is trusted with, so that several requests are under way. Small contents
   * come in one go in any case.
   * @param size of the contents
   * @param most as we want it ourselves
   */
  rangeLength(size: number, most: number): number {
    const trusted = Math.min(MAX_RANGE, Math.max(BLOCK, Math.floor(this.#trusted / 4 / BLOCK) * BLOCK));
    return size <= BLOCK ? BLOCK : Math.max(LEAST_RANGE, Math.min(trusted, most, this.mostRange ?? trusted));
  }

  get requests(): Iterable<Outstanding<Want>> {
    return this.#outstanding.values();
  }

  isStalled(now: number): boolean {
    return !this.isIdle && now - this.#heardAt > this.#limits.stalled;
  }

  heard(now: number): void {
    this.#heardAt = now;
  }

  find(sha256: string, offset: number, length: number): Outstanding<Want> | undefined {
    return this.#outstanding.get(keyOf(sha256, offset, length));
  }

  /** The oldest request for a content; what answers without naming a range answers that one. */
  oldest(sha256: string): Outstanding<Want> | undefined {
    for (const request of this.#outstanding.values()) {
      if (request.sha256 === sha256 && !request.receiving) return request;
    }
    return undefined;
  }

  ask(want: Want, sha256: string, offset: number, length: number, now: number): Outstanding<Want> {
    const request: Outstanding<Want> = {
      source: this,
      sha256,
      offset,
      length,
      askedAt: now,
      want,
      receiving: false,
    };
    if (this.isIdle) this.#heardAt = now;
    this.#outstanding.set(keyOf(sha256, offset, length), request);
    this.#load += length + OVERHEAD;
    return request;
  }

  /** The request was answered, one way or another. */
  settle(request: Outstanding<Want>, now: number): void {
    this.#outstanding.delete(keyOf(request.sha256, request.offset, request.length));
    this.#load -= request.length + OVERHEAD;
    this.#heardAt = now;
  }

  /** After a whole answer: trust grows while they come promptly, and is halved, at most once a patience, when not. */
  adapt(request: Outstanding<Want>, now: number): void {
    const { patience, leastBytes, mostBytes } = this.#limits;
    if (now - request.askedAt <= patience) {
      this.#trusted = Math.min(mostBytes, this.#trusted + request.length + OVERHEAD);
    } else if (now - this.#shrunkAt > patience) {
      this.#trusted = Math.max(leastBytes, Math.floor(this.#trusted / 2));
      this.#shrunkAt = now;
    }
  }
}

function keyOf(sha256: string, offset: number, length: number): string {
  return `${sha256} ${offset} ${length}`;
}
