/**
 * Where log lines go: one line each on stderr, readable or as JSON, with journald's priorities under systemd. Texts from
 * outside are escaped and cut, secrets are redacted by type and, should one slip through, by their looks; a warning that
 * keeps coming is said a few times and then counted.
 */

import { type Clock, systemClock } from '../base/clock.ts';
import { describeError, SkylarkError } from '../base/errors.ts';
import { type LogEntry, type LogLevel, type LogSink, type LogValue, Secret } from '../base/log.ts';
import { printable } from '../base/printable.ts';
import { openRepetitionFilter } from './log-repetition.ts';

export type LogFormat = 'text' | 'json';

export interface LogSinkOptions {
  /** Least severe level that is written. */
  readonly level: LogLevel;
  readonly format: LogFormat;
  /** Takes one whole line with its line end. */
  readonly write: (line: string) => void;
  /** ANSI colours in the text format. Default false. */
  readonly colour?: boolean;
  /** systemd's journal reads along: priorities in front, no time (it has its own). Default false. */
  readonly journal?: boolean;
  readonly clock?: Clock;
}

export interface OpenLogSink {
  readonly sink: LogSink;
  /** Writes the counts of what was held back. Lines that come later are still written. */
  close(): void;
}

const SEVERITY: Record<LogLevel, number> = { debug: 0, info: 1, warn: 2, error: 3 };
/** syslog(3) priorities, as sd-daemon(3) reads them. */
const JOURNAL_PRIORITY: Record<LogLevel, string> = { debug: '<7>', info: '<6>', warn: '<4>', error: '<3>' };
const COLOUR: Record<LogLevel, string> = { debug: '90', info: '32', warn: '33', error: '31' };

/** UTF-16 code units of one value, and of one message. */
const LONGEST_VALUE = 256;
const LONGEST_MESSAGE = 512;
/** Elements of a list, and fields of a line, that are shown. */
const MOST_ELEMENTS = 16;
const MOST_FIELDS = 24;

export function openLogSink(options: LogSinkOptions): OpenLogSink {
  const { level, format, write, colour = false, journal = false, clock = systemClock } = options;
  const render = (entry: LogEntry) => {
    const time = new Date(Number(clock.now() / 1_000_000n)).toISOString();
    const line = format === 'json' ? asJson(entry, time) : asText(entry, journal ? undefined : time, colour);
    write(`${journal ? JOURNAL_PRIORITY[entry.level] : ''}${line}\n`);
  };
  const filter = openRepetitionFilter(render, clock);
  return {
    sink: (entry) => {
      if (SEVERITY[entry.level] < SEVERITY[level]) return;
      if (SEVERITY[entry.level] < SEVERITY.warn) render(entry);
      else filter.take(entry);
    },
    close: () => filter.close(),
  };
}

function asText(entry: LogEntry, time: string | undefined, colour: boolean): string {
  const paint = (code: string, text: string) => (colour ? `\u001b[${code}m${text}\u001b[0m` : text);
  const parts = [
    ...(time === undefined ? [] : [paint('90', time)]),
    paint(COLOUR[entry.level], entry.level.padEnd(5)),
    ...(entry.scope === '' ? [] : [paint('36', entry.scope)]),
    shown(entry.message, LONGEST_MESSAGE),
  ];
  for (const [name, value] of fieldsOf(entry))
    parts.push(`${paint('90', `${printable(name, 64)}=`)}${quotedIfNeeded(textOf(name, value))}`);
  return parts.join(' ');
}

/** A value that could be mistaken for the next field, or that is empty, stands in quotes. */
function quotedIfNeeded(text: string): string {
  return /^[^\s"=]+$/.test(text) ? text : `"${text.replaceAll('"', '\\"')}"`;
}

function asJson(entry: LogEntry, time: string): string {
  const fields: Record<string, unknown> = {};
  for (const [name, value] of fieldsOf(entry)) fields[printable(name, 64)] = jsonOf(name, value);
  const line = JSON.stringify({
    time,
    level: entry.level,
    scope: entry.scope,
    message: shown(entry.message, LONGEST_MESSAGE),
    ...(Object.keys(fields).length > 0 ? { fields } : {}),
  });
  return line;
}

function jsonOf(name: string, value: LogValue): unknown {
  if (value === null || typeof value === 'boolean') return value;
  if (typeof value === 'number') return Number.isFinite(value) ? value : String(value);
  if (Array.isArray(value))
    return (value as readonly LogValue[]).slice(0, MOST_ELEMENTS).map((element) => jsonOf(name, element));
  return textOf(name, value);
}

function fieldsOf(entry: LogEntry): [string, LogValue][] {
  return Object.entries(entry.fields)
    .filter(([, value]) => value !== undefined)
    .slice(0, MOST_FIELDS);
}

/** Escaped, cut, and without secrets. */
function textOf(name: string, value: LogValue): string {
  if (value instanceof Secret) return '[redacted]';
  if (value instanceof Error) return shown(errorText(value), LONGEST_MESSAGE);
  if (Array.isArray(value)) {
    const shown = (value as readonly LogValue[])
      .slice(0, MOST_ELEMENTS)
      .map((element) => textOf(name, element));
    const rest = value.length > MOST_ELEMENTS ? [`...(${value.length - MOST_ELEMENTS} more)`] : [];
    return [...shown, ...rest].join(',');
  }
  const text = String(value);
  if (SECRET_NAME.test(name) && KEY_MATERIAL.test(text)) return '[redacted]';
  return shown(text, LONGEST_VALUE);
}

/** The message with its remedy and causes; where it happened, too, when it is our own mistake. */
function errorText(error: Error): string {
  let text = describeError(error);
  let cause: unknown = error.cause;
  for (let depth = 0; depth < 4 && cause instanceof Error; depth++) {
    text += ` (because: ${describeError(cause)})`;
    cause = cause.cause;
  }
  const isOurs = !(error instanceof SkylarkError) || error.fault === 'internal';
  const frames = isOurs ? (error.stack?.match(/(?<=\n\s+at ).+/g) ?? []).slice(0, 4) : [];
  return frames.length > 0 ? `${text} [at ${frames.join(' < ')}]` : text;
}

/** Field names under which a long hexadecimal text can only be a key. */
const SECRET_NAME = /secret|passw|phrase|private|token|seed|psk|(^|_)key$/i;
const KEY_MATERIAL = /[0-9a-f]{32}/i;

/**
 * An access code as it is written or pasted: SYNC74, then letters and digits, with single separators between. Longer than
 * needed rather than shorter: what stands right behind a code may be hidden with it.
 */
const ACCESS_CODE =
  /sync7[0-9a-z]?(?:[\s\-_.\u00ad\u2010-\u2015\u2212\u200b-\u200d\u2060\ufeff]?[0-9a-z]){10,28}/gi;

/** Masked before it is escaped and cut: half a code in two lines is still half a secret. */
function shown(text: string, longest: number): string {
  return printable(text.slice(0, 16 * longest).replace(ACCESS_CODE, '[redacted]'), longest);
}
