/** Sets of bytes of a file, as ascending lists of disjoint intervals. */

export interface Interval {
  readonly start: number;
  /** Exclusive. */
  readonly end: number;
}

/** Ascending, with overlapping and touching ones joined. */
export function merged(intervals: readonly Interval[]): Interval[] {
  const result: Interval[] = [];
  for (const { start, end } of [...intervals].sort((a, b) => a.start - b.start)) {
    const last = result.at(-1);
    if (last !== undefined && start <= last.end)
      result[result.length - 1] = { start: last.start, end: Math.max(last.end, end) };
    else if (end > start) result.push({ start, end });
  }
  return result;
}

/** What of the bytes 0 to `size` the intervals leave out. */
export function without(size: number, have: readonly Interval[]): Interval[] {
  const result: Interval[] = [];
  let position = 0;
  for (const { start, end } of merged(have)) {
    if (start >= size) break;
    if (start > position) result.push({ start: position, end: start });
    position = Math.max(position, end);
  }
  if (position < size) result.push({ start: position, end: size });
  return result;
}

/** The intervals without the bytes from `start` up to `end`; undefined unless all of these are among them. */
export function cutOut(intervals: readonly Interval[], start: number, end: number): Interval[] | undefined {
  const at = intervals.findIndex((one) => one.start <= start && end <= one.end);
  const whole = intervals[at];
  if (whole === undefined) return undefined;
  const left = [
    { start: whole.start, end: start },
    { start: end, end: whole.end },
  ];
  return intervals.toSpliced(at, 1, ...left.filter((part) => part.start < part.end));
}

/** Removes up to `length` bytes from the front of a list that is not empty, and returns them. */
export function takeFirst(intervals: Interval[], length: number): Interval | undefined {
  const first = intervals.shift();
  if (first === undefined) return undefined;
  const end = Math.min(first.end, first.start + length);
  if (end < first.end) intervals.unshift({ start: end, end: first.end });
  return { start: first.start, end };
}

export function totalLength(intervals: readonly Interval[]): number {
  return intervals.reduce((sum, { start, end }) => sum + end - start, 0);
}
