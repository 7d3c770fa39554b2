/**
 * Protocol timestamps: ISO 8601, UTC, `Z`, up to nine fraction digits (core.md, "Datetime Values"). The text received is
 * what is stored and passed on; it is converted only to compare.
 */

import { peerError } from './errors.ts';

const PATTERN = /^(\d{4})-(\d{2})-(\d{2})T(\d{2}):(\d{2}):(\d{2})(?:\.(\d{1,9}))?Z$/;

/**
 * Nanoseconds since 1970-01-01T00:00:00Z; negative before. Years 0000 to 9999; no leap second (`:60`).
 * @throws SkylarkError (peer) `timestamp.malformed`.
 */
export function parseTimestamp(text: string): bigint {
  const match = text.length <= 30 ? PATTERN.exec(text) : null;
  if (match === null) throw peerError('timestamp.malformed', 'a timestamp is not ISO 8601 in UTC');
  const [year, month, day, hour, minute, second] = match.slice(1, 7).map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const date = new Date(0);
  // setUTCFullYear, unlike Date.UTC, does not read the years 0 to 99 as 1900 to 1999.
  date.setUTCFullYear(year, month - 1, day);
  date.setUTCHours(hour, minute, second);
  const exact =
    date.getUTCFullYear() === year &&
    date.getUTCMonth() === month - 1 &&
    date.getUTCDate() === day &&
    date.getUTCHours() === hour &&
    date.getUTCMinutes() === minute &&
    date.getUTCSeconds() === second;
  if (!exact) throw peerError('timestamp.malformed', 'a timestamp names a time that does not exist');
  return BigInt(date.getTime()) * 1_000_000n + BigInt((match[7] ?? '').padEnd(9, '0'));
}

/** The first and the last time that the format can express, as nanoseconds since 1970. */
export const TIMESTAMP_MIN = parseTimestamp('0000-01-01T00:00:00Z');
export const TIMESTAMP_MAX = parseTimestamp('9999-12-31T23:59:59.999999999Z');

/** The shortest text that names exactly this time. Clamped to the years 0000 to 9999. */
export function formatTimestamp(nanoseconds: bigint): string {
  const clamped =
    nanoseconds < TIMESTAMP_MIN ? TIMESTAMP_MIN : nanoseconds > TIMESTAMP_MAX ? TIMESTAMP_MAX : nanoseconds;
  const fraction = ((clamped % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
  const date = new Date(Number((clamped - fraction) / 1_000_000n));
  const seconds = `${String(date.getUTCFullYear()).padStart(4, '0')}${date.toISOString().slice(-20, -5)}`;
  if (fraction === 0n) return `${seconds}Z`;
  return `${seconds}.${String(fraction).padStart(9, '0').replace(/0+$/, '')}Z`;
}
