/** Times of the day as people write them: `22:00-07:00`, `12:30-14:00, 22:00-07:00`. On whatever clock hangs on the wall. */

import { userError } from './errors.ts';

/** Minutes since midnight, 0 to 1440. If `to` is not after `from`, it lasts over midnight. */
export interface DailyHours {
  readonly from: number;
  /** Not part of it any more. */
  readonly to: number;
}

const DAY = 1_440;
const MAX_RANGES = 24;
const RANGE = /^(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})$/;

/** 1 to 24 ranges with commas between. @throws SkylarkError (user) `hours.malformed`. */
export function parseDailyHours(text: string): readonly DailyHours[] {
  const parts = text.split(',');
  if (parts.length > MAX_RANGES)
    throw userError('hours.malformed', `it must be at most ${MAX_RANGES} ranges of hours`);
  return parts.map((part) => {
    const found = RANGE.exec(part.trim());
    const [from, to] = [minuteOf(found?.[1], found?.[2]), minuteOf(found?.[3], found?.[4])];
    if (from === undefined || to === undefined || from === DAY)
      throw userError(
        'hours.malformed',
        'it must be from one time of the day to another, such as 22:00-07:00, several with commas between',
      );
    if (from === to)
      throw userError('hours.malformed', 'it ends when it begins', {
        remedy: 'write 00:00-24:00 for the whole day',
      });
    return { from, to };
  });
}

export function formatDailyHours(ranges: readonly DailyHours[]): string {
  return ranges.map(({ from, to }) => `${formatMinute(from)}-${formatMinute(to)}`).join(', ');
}

/** `07:05`. */
export function formatMinute(minute: number): string {
  const digits = (amount: number) => String(amount).padStart(2, '0');
  return `${digits(Math.floor(minute / 60))}:${digits(minute % 60)}`;
}

/**
 * When the hours that the minute lies in are over, with others that begin then or before; undefined if it lies in none.
 * @returns minutes since midnight, of this day or the next; the minute itself if it is never over
 */
export function endOfHours(ranges: readonly DailyHours[], minute: number): number | undefined {
  let end: number | undefined;
  for (let at = minute, passed = 0; ; ) {
    const range = ranges.find((one) => isWithin(one, at));
    if (range === undefined) return end;
    end = range.to % DAY;
    // Ranges that overlap all around the clock have no end.
    passed += (end - at + DAY) % DAY || DAY;
    if (passed >= DAY) return minute;
    at = end;
  }
}

function isWithin({ from, to }: DailyHours, minute: number): boolean {
  return from < to ? minute >= from && minute < to : minute >= from || minute < to;
}

function minuteOf(hours: string | undefined, minutes: string | undefined): number | undefined {
  const [hour, minute] = [Number(hours), Number(minutes)];
  const at = hour * 60 + minute;
  return minute < 60 && at <= DAY ? at : undefined;
}
