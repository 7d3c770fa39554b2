/** Facts as people read them in a terminal. */

import encodeQR from 'qr';
import type { Output } from '../platform/terminal.ts';

const UNITS = ['bytes', 'kB', 'MB', 'GB', 'TB', 'PB'] as const;

/** `48 213` is `48 kB`: decimal units, as disks and data plans have them. */
export function readableBytes(bytes: number): string {
  let unit = 0;
  let amount = bytes;
  while (amount >= 999.5 && unit < UNITS.length - 1) {
    amount /= 1_000;
    unit += 1;
  }
  if (unit === 0) return bytes === 1 ? '1 byte' : `${bytes} bytes`;
  return `${amount < 9.95 ? amount.toFixed(1) : amount.toFixed(0)} ${UNITS[unit]}`;
}

/** `1 file`, `3 files`. */
export function counted(count: number, one: string): string {
  return `${count} ${one}${count === 1 ? '' : 's'}`;
}

const SPANS = [
  ['day', 86_400],
  ['hour', 3_600],
  ['minute', 60],
] as const;

/** A length of time in its largest unit: `3 hours`. */
export function readableSpan(seconds: number): string {
  for (const [name, length] of SPANS) {
    if (seconds >= length) return counted(Math.floor(seconds / length), name);
  }
  return counted(Math.max(0, Math.floor(seconds)), 'second');
}

/** How long ago an ISO 8601 time was, as seen at `now` (milliseconds since 1970). */
export function readableAge(time: string, now: number): string {
  const seconds = (now - Date.parse(time)) / 1_000;
  return seconds < 5 ? 'just now' : `${readableSpan(seconds)} ago`;
}

/** A point in time by the clock on the wall: `12:04`, or with its date if that is another day than `now`'s. */
export function readableTime(time: string, now: number): string {
  const [then, today] = [new Date(time), new Date(now)];
  const two = (number: number) => String(number).padStart(2, '0');
  const clock = `${two(then.getHours())}:${two(then.getMinutes())}`;
  if (then.toDateString() === today.toDateString()) return clock;
  return `${then.getFullYear()}-${two(then.getMonth() + 1)}-${two(then.getDate())} ${clock}`;
}

/**
 * A QR code of half-height blocks. Where colours are understood, it is black on white whatever the terminal's own colours;
 * elsewhere light modules are drawn, which suits dark terminals.
 */
export function qrCode(text: string, out: Output): string {
  const rows = encodeQR(text, 'ascii', { ecc: 'low' }).trimEnd().split('\n');
  return rows.map((row) => (out.colour ? `\x1b[97;40m${row}\x1b[0m\n` : `${row}\n`)).join('');
}

/** Columns padded to their widest cell, two spaces between; no space at line ends. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows)
    row.forEach((cell, i) => {
      widths[i] = Math.max(widths[i] ?? 0, cell.length);
    });
  return rows
    .map((row) =>
      row
        .map((cell, i) => cell.padEnd(widths[i] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .map((line) => `${line}\n`)
    .join('');
}
