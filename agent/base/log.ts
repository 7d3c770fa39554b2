/**
 * Structured logging: a message that never changes, and fields. Who renders it, where to, and how it is escaped is the
 * sink's business (platform/log-sink.ts).
 */

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** What may stand in a log line. Secrets don't fit: wrap them in `Secret` where they are made. */
export type LogValue =
  | string
  | number
  | bigint
  | boolean
  | null
  | undefined
  | Secret<unknown>
  | Error
  | readonly LogValue[];

export interface LogEntry {
  readonly level: LogLevel;
  /** Dotted path of the component: `club.session`. */
  readonly scope: string;
  readonly message: string;
  readonly fields: Readonly<Record<string, LogValue>>;
}

export type LogSink = (entry: LogEntry) => void;

/** A value that prints as `[redacted]` in every textual form. `reveal` is the only way to it. */
export class Secret<T> {
  readonly #value: T;
  constructor(value: T) {
    this.#value = value;
  }
  reveal(): T {
    return this.#value;
  }
  toString(): string {
    return '[redacted]';
  }
  toJSON(): string {
    return '[redacted]';
  }
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return '[redacted]';
  }
}

export class Logger {
  readonly #sink: LogSink;
  readonly #scope: string;
  readonly #fields: Readonly<Record<string, LogValue>>;

  constructor(sink: LogSink, scope = '', fields: Readonly<Record<string, LogValue>> = {}) {
    this.#sink = sink;
    this.#scope = scope;
    this.#fields = fields;
  }

  /** A logger for a component below this one; its fields go with every line. */
  child(scope: string, fields: Readonly<Record<string, LogValue>> = {}): Logger {
    return new Logger(this.#sink, this.#scope === '' ? scope : `${this.#scope}.${scope}`, {
      ...this.#fields,
      ...fields,
    });
  }

  debug(message: string, fields?: Readonly<Record<string, LogValue>>): void {
    this.#log('debug', message, fields);
  }
  info(message: string, fields?: Readonly<Record<string, LogValue>>): void {
    this.#log('info', message, fields);
  }
  warn(message: string, fields?: Readonly<Record<string, LogValue>>): void {
    this.#log('warn', message, fields);
  }
  error(message: string, fields?: Readonly<Record<string, LogValue>>): void {
    this.#log('error', message, fields);
  }

  #log(level: LogLevel, message: string, fields: Readonly<Record<string, LogValue>> = {}): void {
    this.#sink({ level, scope: this.#scope, message, fields: { ...this.#fields, ...fields } });
  }
}

/** For tests and for parts that were given nothing to write to. */
export const silentLogger = new Logger(() => {});
