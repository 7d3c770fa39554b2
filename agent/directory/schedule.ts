/**
 * Which bytes to ask of whom, and when. Pure: it is told what happens and the time, and answers with requests. Contents
 * are cut into ranges and spread over all peers that may have them.
 */

import { type Interval, merged, takeFirst } from './intervals.ts';
import type { Likelihood } from './presence.ts';
import {
  EVERYTHING_ALLOWED,
  SCHEDULE_LIMITS,
  type ScheduleAllowance,
  type ScheduleLimits,
} from './schedule-limits.ts';
import { type Outstanding, Source, type SourceId } from './schedule-source.ts';
import { EARLIER, takeUp, type Want, type Wanted, wantOf } from './schedule-want.ts';

export { SCHEDULE_LIMITS };

export interface Request {
  readonly source: SourceId;
  readonly sha256: string;
  readonly offset: number;
  /** Bytes, 1 to MAX_RANGE. */
  readonly length: number;
}

/** What an answer is to us. `late`: it was asked for, but is of no use any more; `unasked`: it never was. */
export type Reception = 'useful' | 'late' | 'unasked';

/** Contents up to this size are not held up by larger ones. */
const SMALL = 1_048_576;
/** So many small contents may pass while larger ones wait. */
const SMALL_RUN = 64;
export class Schedule {
  readonly #limits: ScheduleLimits;
  readonly #likelihood: (source: SourceId, sha256: string) => Likelihood;
  readonly #allowance: ScheduleAllowance;
  readonly #sources = new Map<SourceId, Source<Want>>();
  readonly #wants = new Map<string, Want>();
  /** Those with missing ranges, in the order in which they came. */
  readonly #small = new Set<Want>();
  readonly #large = new Set<Want>();
  /** Counts everything that may give a source something to do. */
  #state = 0;
  #turn = 0;

  /** @param likelihood whether to ask that source for that content; remembered until `reconsider`. */
  constructor(
    likelihood: (source: SourceId, sha256: string) => Likelihood,
    limits: ScheduleLimits = SCHEDULE_LIMITS,
    allowance: ScheduleAllowance = EVERYTHING_ALLOWED,
  ) {
    this.#likelihood = likelihood;
    this.#allowance = allowance;
    this.#limits = limits;
  }

  /** How many more contents `want` should be given. */
  get room(): number {
    return Math.max(0, this.#limits.contents - this.#wants.size);
  }

  has(sha256: string): boolean {
    return this.#wants.has(sha256);
  }

  /** Bytes that were asked for and have not come. */
  get underWay(): number {
    let sum = 0;
    for (const { load } of this.#sources.values()) sum += load;
    return sum;
  }

  /** Bytes that are here, of all contents that are not whole. */
  get done(): number {
    let sum = 0;
    for (const { done } of this.#wants.values()) sum += done;
    return sum;
  }

  /** Bytes of a content that are here. */
  progress(sha256: string): number {
    return this.#wants.get(sha256)?.done ?? 0;
  }

  /** 0 for what is not wanted. */
  sizeOf(sha256: string): number {
    return this.#wants.get(sha256)?.size ?? 0;
  }

  addSource(id: SourceId, now: number): void {
    this.#sources.set(id, new Source(id, this.#limits, now));
    this.#state += 1;
  }

  /** It gives at most so many bytes in one answer from now on, by its own word; undefined: as many as are asked for. */
  limitRange(id: SourceId, bytes: number | undefined): void {
    const source = this.#sources.get(id);
    if (source !== undefined) source.mostRange = bytes;
  }

  /** It is gone: what was asked of it is asked of others. */
  removeSource(id: SourceId): void {
    const source = this.#sources.get(id);
    if (source === undefined) return;
    this.#sources.delete(id);
    this.#takeBack(source);
    for (const want of this.#wants.values()) want.likelihoods.delete(id);
    this.#state += 1;
  }

  want(wanted: Wanted): void {
    if (this.#wants.has(wanted.sha256)) return;
    const want = wantOf(wanted);
    this.#wants.set(want.sha256, want);
    this.#open(want);
  }

  /** Nobody needs it any more, or it is verified. Answers still under way will be `late`. */
  drop(sha256: string): void {
    const want = this.#wants.get(sha256);
    if (want !== undefined) this.#forget(want);
  }

  /** What should be asked now. Everything returned counts as asked. */
  next(now: number): Request[] {
    const requests: Request[] = [];
    const sources = [...this.#sources.values()];
    this.#turn += 1;
    for (let i = 0; i < sources.length; i++) {
      const source = sources[(i + this.#turn) % sources.length];
      if (source !== undefined) this.#fill(source, now, requests);
    }
    return requests;
  }

  /**
   * To be called every second or so. Takes work from sources that have fallen silent, lets idle sources repeat what
   * others are slow with, and gives up the contents that none of the sources has: the caller keeps those for later.
   */
  tick(now: number): { readonly requests: readonly Request[]; readonly exhausted: readonly Wanted[] } {
    for (const source of this.#sources.values()) if (source.isStalled(now)) this.#takeBack(source);
    const requests = this.next(now);
    for (const source of this.#sources.values()) this.#secondOpinions(source, now, requests);
    const exhausted: Wanted[] = [];
    if (this.#sources.size === 0) return { requests, exhausted };
    for (const want of this.#wants.values()) {
      if (want.underWay.size > 0 || want.missing.length === 0) continue;
      if (this.#someSource(want, (likelihood) => likelihood !== 'never')) continue;
      exhausted.push({ sha256: want.sha256, size: want.size });
      this.#forget(want);
    }
    return { requests, exhausted };
  }

  /** The head of an answer with data came. Unless `useful`, its payload is to be thrown away. */
  begin(id: SourceId, sha256: string, offset: number, length: number, now: number): Reception {
    const request = this.#sources.get(id)?.find(sha256, offset, length);
    if (request === undefined) return 'unasked';
    request.source.heard(now);
    request.receiving = true;
    if (request.want === undefined) takeUp(this.#wants.get(sha256), request);
    if (request.want === undefined) return 'late';
    if (request.want.missing.length === 0) this.#close(request.want);
    request.want.contributors.add(id);
    return 'useful';
  }

  /** Whether what it still sends of this answer is needed: false once others have delivered it, or nobody wants it. */
  isOfUse(id: SourceId, sha256: string, offset: number, length: number): boolean {
    return this.#sources.get(id)?.find(sha256, offset, length)?.want !== undefined;
  }

  /** Bytes came from it. */
  heard(id: SourceId, now: number): void {
    this.#sources.get(id)?.heard(now);
  }

  /** A whole range is here. `complete`: it was the last; `drop` or `mismatch` is to follow. */
  delivered(
    id: SourceId,
    sha256: string,
    offset: number,
    length: number,
    now: number,
  ): 'part' | 'complete' | 'late' {
    const request = this.#sources.get(id)?.find(sha256, offset, length);
    if (request === undefined) return 'late';
    const { want, source } = request;
    this.#settle(request, now);
    source.adapt(request, now);
    if (want === undefined) return 'late';
    for (const other of want.underWay.get(offset) ?? []) other.want = undefined;
    want.underWay.delete(offset);
    want.done += length;
    return want.done === want.size ? 'complete' : 'part';
  }

  /**
   * A request was answered with less than it asked for, or with "not present" or an error (then `range` is undefined and
   * the oldest request for that content is meant). The source is not asked for that content again until `reconsider`.
   */
  refused(id: SourceId, sha256: string, range: Interval | undefined, now: number): Reception {
    const source = this.#sources.get(id);
    const request =
      range === undefined
        ? source?.oldest(sha256)
        : source?.find(sha256, range.start, range.end - range.start);
    if (request === undefined) return 'unasked';
    const { want } = request;
    this.#release(request);
    this.#settle(request, now);
    // A late one may have been about another size.
    if (want === undefined) return 'late';
    want.likelihoods.set(id, 'never');
    return 'useful';
  }

  /**
   * The contents are complete but their SHA-256 is wrong. Returns the source that is to blame, which is not asked for
   * them again; undefined while several may be: then one alone is asked for everything.
   */
  mismatch(sha256: string): SourceId | undefined {
    const want = this.#wants.get(sha256);
    if (want === undefined) return undefined;
    const [first, ...others] = want.contributors;
    const culprit = others.length === 0 && first !== EARLIER ? first : undefined;
    if (culprit !== undefined) want.likelihoods.set(culprit, 'never');
    want.single = true;
    this.#restart(want);
    return culprit;
  }

  /** Something new is known about what a source has: of one content, or of all. */
  reconsider(id: SourceId, sha256?: string): void {
    if (sha256 === undefined) for (const want of this.#wants.values()) want.likelihoods.delete(id);
    else this.#wants.get(sha256)?.likelihoods.delete(id);
    this.#state += 1;
  }

  #fill(source: Source<Want>, now: number, requests: Request[]): void {
    if (source.dryAt === this.#state || source.isStalled(now)) return;
    while (source.hasRoom && this.#allowance.mayAsk()) {
      const want = this.#choose(source);
      const range = want && takeFirst(want.missing, this.#rangeLength(source, want));
      if (want === undefined || range === undefined) {
        source.dryAt = this.#state;
        return;
      }
      if (want.missing.length === 0) this.#close(want);
      if (want.single) want.only = source.id;
      requests.push(this.#ask(source, want, range.start, range.end - range.start, now));
    }
  }

  /** Small contents first, but so that a stream of them does not starve the large ones. */
  #choose(source: Source<Want>): Want | undefined {
    if (source.smallRun < SMALL_RUN) {
      const small = this.#firstFor(source, this.#small);
      source.smallRun += 1;
      if (small !== undefined) return small;
    }
    source.smallRun = 0;
    return this.#firstFor(source, this.#large) ?? this.#firstFor(source, this.#small);
  }

  #firstFor(source: Source<Want>, wants: ReadonlySet<Want>): Want | undefined {
    for (const want of wants) {
      if (want.only !== undefined && want.only !== source.id) continue;
      // An abandoned request for the same range may still be answered: asking twice would confuse the answers.
      const next = want.missing[0];
      if (next === undefined) continue;
      const length = Math.min(next.end - next.start, this.#rangeLength(source, want));
      if (source.find(want.sha256, next.start, length) !== undefined) continue;
      const likelihood = this.#likelihoodOf(want, source.id);
      if (likelihood === 'ask') return want;
      // What a filter denies is asked for only when no other source is more likely.
      if (likelihood === 'unlikely' && !this.#someSource(want, (other) => other === 'ask')) return want;
    }
    return undefined;
  }

  /** Gives an idle source what others were asked for long ago, so that one slow peer does not hold up the end. */
  #secondOpinions(source: Source<Want>, now: number, requests: Request[]): void {
    if (!source.isIdle) return;
    for (const want of this.#wants.values()) {
      if (want.only !== undefined || this.#likelihoodOf(want, source.id) !== 'ask') continue;
      for (const [offset, asked] of want.underWay) {
        const [first, second] = asked;
        if (first === undefined || second !== undefined || first.source === source || first.receiving)
          continue;
        if (now - first.askedAt < this.#limits.secondOpinion || !this.#allowance.mayAsk()) continue;
        requests.push(this.#ask(source, want, offset, first.length, now));
        if (!source.hasRoom) return;
      }
    }
  }

  #rangeLength(source: Source<Want>, want: Want): number {
    return source.rangeLength(want.size, this.#allowance.piece);
  }

  #ask(source: Source<Want>, want: Want, offset: number, length: number, now: number): Request {
    const request = source.ask(want, want.sha256, offset, length, now);
    const asked = want.underWay.get(offset);
    if (asked === undefined) want.underWay.set(offset, new Set([request]));
    else asked.add(request);
    return { source: source.id, sha256: want.sha256, offset, length };
  }

  #settle(request: Outstanding<Want>, now: number): void {
    request.source.settle(request, now);
    // Only now may the same range be asked of it again.
    if (request.want === undefined) request.source.dryAt = -1;
  }

  /** Lets others have what was asked of it; what it still answers will be `late`. */
  #takeBack(source: Source<Want>): void {
    for (const request of source.requests) this.#release(request);
  }

  /** Makes the range of a request available again, unless another source was asked for it too. */
  #release(request: Outstanding<Want>): void {
    const { want, offset, length, source } = request;
    if (want === undefined) return;
    request.want = undefined;
    if (want.only === source.id) {
      this.#restart(want);
      return;
    }
    const asked = want.underWay.get(offset);
    asked?.delete(request);
    if (asked !== undefined && asked.size > 0) return;
    want.underWay.delete(offset);
    want.missing = merged([...want.missing, { start: offset, end: offset + length }]);
    this.#open(want);
  }

  #restart(want: Want): void {
    this.#abandonRequests(want);
    want.missing = [{ start: 0, end: want.size }];
    want.done = 0;
    want.contributors.clear();
    want.only = undefined;
    this.#open(want);
  }

  #forget(want: Want): void {
    this.#abandonRequests(want);
    this.#wants.delete(want.sha256);
    this.#close(want);
  }

  #abandonRequests(want: Want): void {
    for (const asked of want.underWay.values()) for (const request of asked) request.want = undefined;
    want.underWay.clear();
  }

  #open(want: Want): void {
    if (want.missing.length === 0) return;
    (want.size <= SMALL ? this.#small : this.#large).add(want);
    this.#state += 1;
  }

  #close(want: Want): void {
    this.#small.delete(want);
    this.#large.delete(want);
  }

  #likelihoodOf(want: Want, id: SourceId): Likelihood {
    const known = want.likelihoods.get(id);
    if (known !== undefined) return known;
    const likelihood = this.#likelihood(id, want.sha256);
    want.likelihoods.set(id, likelihood);
    return likelihood;
  }

  #someSource(want: Want, fits: (likelihood: Likelihood) => boolean): boolean {
    for (const id of this.#sources.keys()) if (fits(this.#likelihoodOf(want, id))) return true;
    return false;
  }
}
