/** What is wanted of one content, and how far it is. */

import { cutOut, type Interval, totalLength, without } from './intervals.ts';
import type { Likelihood } from './presence.ts';
import type { Outstanding, SourceId } from './schedule-source.ts';

export interface Wanted {
  readonly sha256: string;
  /** Bytes, at least 1. */
  readonly size: number;
  /** What is here already from an earlier, interrupted transfer. */
  readonly have?: readonly Interval[];
}

/** Stands among a content's contributors for what an earlier process had received. */
export const EARLIER: SourceId = -1;

export interface Want {
  readonly sha256: string;
  readonly size: number;
  /** Neither here nor asked for. */
  missing: Interval[];
  /** Bytes here. */
  done: number;
  /** The ranges under way, by their offset, each with the requests for it. */
  readonly underWay: Map<number, Set<Outstanding<Want>>>;
  readonly contributors: Set<SourceId>;
  readonly likelihoods: Map<SourceId, Likelihood>;
  /** After a wrong hash: one source alone delivers everything, to know whom to blame. */
  single: boolean;
  only: SourceId | undefined;
}

export function wantOf({ sha256, size, have = [] }: Wanted): Want {
  const missing = without(size, have);
  return {
    sha256,
    size,
    missing,
    done: size - totalLength(missing),
    underWay: new Map(),
    contributors: new Set(have.length > 0 ? [EARLIER] : []),
    likelihoods: new Map(),
    single: false,
    only: undefined,
  };
}

/** A request was given up, but is answered before anybody else was asked for its range: it counts as asked again. */
export function takeUp(want: Want | undefined, request: Outstanding<Want>): void {
  const { offset, length } = request;
  const left = want && cutOut(want.missing, offset, offset + length);
  if (want === undefined || left === undefined || want.single) return;
  want.missing = left;
  want.underWay.set(offset, new Set([request]));
  request.want = want;
}
