/** The kinds of options that a configuration can have. What options there are is in `options.ts`. */

import { type DailyHours, parseDailyHours } from '../base/daily-hours.ts';
import { formatDuration, parseDuration } from '../base/duration.ts';
import { type Endpoint, parseEndpoint } from '../base/endpoint.ts';
import { SkylarkError } from '../base/errors.ts';
import { formatSize, parseSize } from '../base/size.ts';

/** A value as TOML has it. */
export type Plain = string | number | bigint | boolean | readonly Plain[] | PlainTable | object;
export interface PlainTable {
  readonly [key: string]: Plain;
}

export interface Option<T> {
  /** What it may be, for people: `true or false`. */
  readonly type: string;
  /** What it does; sentences. */
  readonly text: string;
  /** What applies when it is not given. */
  readonly default: T;
  /** The default in TOML, or what happens without the option, in words. */
  readonly defaultText: string;
  /** TOML, for the example file: right side of the equals sign, or for tables the whole lines. */
  readonly example: string;
  /** Only for `[[tables]]`. */
  readonly columns: Readonly<Record<string, Option<unknown>>> | undefined;
  /** Whether a value given outside a file (environment, command line) is taken as it is and not as TOML. */
  readonly isPlainText: boolean;
  /** @throws Unfit */
  decode(value: Plain): T;
}

/** A value that its option can't take: which part of it, and what was expected. */
export class Unfit extends Error {
  readonly path: readonly (string | number)[];
  readonly remedy: string | undefined;
  constructor(message: string, path: readonly (string | number)[] = [], remedy?: string) {
    super(message);
    this.path = path;
    this.remedy = remedy;
  }

  /** The same, seen from one level further out. */
  within(key: string | number): Unfit {
    return new Unfit(this.message, [key, ...this.path], this.remedy);
  }
}

interface Texts<T> {
  readonly text: string;
  readonly default: T;
  /** With `default: undefined`: what happens then. */
  readonly otherwise?: string;
  readonly example: string;
}

function option<T>(
  texts: Texts<T>,
  type: string,
  decode: (value: Plain) => T,
  isPlainText = false,
): Option<T> {
  return {
    type,
    text: texts.text,
    default: texts.default,
    defaultText: texts.otherwise ?? toml(texts.default),
    example: texts.example,
    columns: undefined,
    isPlainText,
    decode,
  };
}

/** Marks an option without a default whose absence is fine. */
export interface Optional {
  readonly default: undefined;
  readonly otherwise: string;
}

type OrUndefined<T, D> = D extends undefined ? T | undefined : T;
type TextsOf<T, D> = Omit<Texts<T>, 'default'> & { readonly default: D };

export function text<D extends string | undefined>(
  limits: { readonly max: number },
  texts: TextsOf<string, D>,
): Option<OrUndefined<string, D>> {
  return option<string | undefined>(texts, 'text', textWithin(limits), true) as Option<
    OrUndefined<string, D>
  >;
}

/** For `list`, too. */
export function textWithin({ max }: { readonly max: number }): (value: Plain) => string {
  return (value) => {
    const fits = typeof value === 'string' && value !== '' && value.length <= max && !/\p{Cc}/u.test(value);
    if (fits) return value;
    throw new Unfit(`it must be a text of 1 to ${max} characters in quotes`);
  };
}

export function choice<const C extends readonly string[], D extends C[number] | undefined>(
  choices: C,
  texts: TextsOf<C[number] | undefined, D>,
): Option<OrUndefined<C[number], D>> {
  const listed = choices.map((one) => JSON.stringify(one)).join(', ');
  const type = choices.length === 1 ? listed : `one of ${listed}`;
  const decode = (value: Plain) => {
    if (typeof value === 'string' && choices.includes(value)) return value;
    throw new Unfit(`it must be ${type}`);
  };
  return option<C[number] | undefined>(texts, type, decode, true) as Option<OrUndefined<C[number], D>>;
}

export function flag(texts: Texts<boolean>): Option<boolean> {
  return option(texts, 'true or false', (value) => {
    if (typeof value === 'boolean') return value;
    throw new Unfit('it must be true or false, without quotes');
  });
}

/** Both limits included. */
export function integer(
  limits: { readonly min: number; readonly max: number },
  texts: Texts<number>,
): Option<number> {
  const type = `whole number from ${limits.min} to ${limits.max}`;
  return option(texts, type, (value) => {
    const fits =
      typeof value === 'number' && Number.isInteger(value) && value >= limits.min && value <= limits.max;
    if (fits) return value;
    throw new Unfit(`it must be a ${type}`);
  });
}

/** A length of time; milliseconds for the program. */
export function duration(
  limits: { readonly min: number; readonly max: number },
  texts: Texts<number>,
): Option<number> {
  const range = `from ${formatDuration(limits.min)} to ${formatDuration(limits.max)}`;
  const decode = (value: Plain) => {
    if (typeof value !== 'string')
      throw new Unfit('it must be a time in quotes, such as "90s", "15m" or "24h"');
    const milliseconds = explained(() => parseDuration(value));
    if (milliseconds >= limits.min && milliseconds <= limits.max) return milliseconds;
    throw new Unfit(`it must be ${range}`);
  };
  const declared = option(texts, `time ${range}`, decode, true);
  return { ...declared, defaultText: JSON.stringify(formatDuration(texts.default)) };
}

/** An amount of storage; bytes for the program. Both limits included. */
export function size(
  limits: { readonly min?: bigint; readonly max: bigint },
  texts: Omit<Texts<bigint>, 'default'> & Optional,
): Option<bigint | undefined> {
  const { min = 0n } = limits;
  const range = `${min === 0n ? '' : `at least ${formatSize(min)}, `}at most ${formatSize(limits.max)}`;
  const decode = (value: Plain) => {
    if (typeof value !== 'string') throw new Unfit('it must be a size in quotes, such as "500MB" or "2GB"');
    const bytes = explained(() => parseSize(value));
    if (bytes >= min && bytes <= limits.max) return bytes;
    throw new Unfit(`it must be ${range}`);
  };
  return option<bigint | undefined>(texts, `size ${range}`, decode, true);
}

/** Times of the day. */
export function dailyHours(
  texts: Omit<Texts<readonly DailyHours[]>, 'default'> & Optional,
): Option<readonly DailyHours[] | undefined> {
  const decode = (value: Plain) => {
    if (typeof value !== 'string') throw new Unfit('it must be hours in quotes, such as "22:00-07:00"');
    return explained(() => parseDailyHours(value));
  };
  return option<readonly DailyHours[] | undefined>(texts, 'hours of the day', decode, true);
}

/** Where to listen. */
export function endpoint(texts: Omit<Texts<Endpoint>, 'default'> & Optional): Option<Endpoint | undefined> {
  const decode = (value: Plain) => {
    if (typeof value !== 'string') throw new Unfit('it must be "ADDRESS:PORT", with the quotes');
    return explained(() => parseEndpoint(value, { allowAnyPort: true }));
  };
  return option<Endpoint | undefined>(texts, 'address and port', decode, true);
}

/** A list whose elements are all fit for `decodeOne`; not empty. */
export function list<T>(
  texts: Texts<readonly T[]>,
  type: string,
  decodeOne: (value: Plain) => T,
): Option<readonly T[]> {
  return option(texts, type, (value) => {
    if (!Array.isArray(value) || value.length === 0 || value.length > 64)
      throw new Unfit('it must be a list of 1 to 64 values in square brackets');
    return value.map((element: Plain, index) => nested(index, () => decodeOne(element)));
  });
}

type Columns = Readonly<Record<string, Option<unknown>>>;
type Row<C extends Columns> = { readonly [Name in keyof C]: C[Name] extends Option<infer T> ? T : never };

/** `[[name]]` tables, each with the columns given. A column without a default and without `otherwise` is required. */
export function tables<const C extends Columns>(
  texts: { readonly text: string; readonly example: string },
  columns: C,
): Option<readonly Row<C>[]> {
  const decodeRow = (value: Plain): Row<C> => {
    if (typeof value !== 'object' || Array.isArray(value)) throw new Unfit('it must be a table');
    const given = value as PlainTable;
    for (const key of Object.keys(given))
      if (!Object.hasOwn(columns, key))
        throw new Unfit(
          `there is no option ${JSON.stringify(key)} here`,
          [key],
          `known are ${Object.keys(columns).join(', ')}`,
        );
    const row = Object.entries(columns).map(([name, column]) => {
      const cell = Object.hasOwn(given, name) ? given[name] : undefined;
      if (cell !== undefined) return [name, nested(name, () => column.decode(cell))];
      if (column.defaultText === REQUIRED) throw new Unfit(`${name} is missing`);
      return [name, column.default];
    });
    return Object.fromEntries(row) as Row<C>;
  };
  const decode = (value: Plain) => {
    if (!Array.isArray(value) || value.length > 64) throw new Unfit('it must be at most 64 [[tables]]');
    return value.map((element: Plain, index) => nested(index, () => decodeRow(element)));
  };
  const declared = option<readonly Row<C>[]>({ ...texts, default: [], otherwise: 'none' }, 'tables', decode);
  return { ...declared, columns };
}

const REQUIRED = 'required';

/** A column that has to be given: `...required`. */
export const required = { default: '', otherwise: REQUIRED } as const;

function nested<T>(key: string | number, decode: () => T): T {
  try {
    return decode();
  } catch (thrown) {
    throw thrown instanceof Unfit ? thrown.within(key) : thrown;
  }
}

function explained<T>(parse: () => T): T {
  try {
    return parse();
  } catch (thrown) {
    throw thrown instanceof SkylarkError ? new Unfit(thrown.message, [], thrown.remedy) : thrown;
  }
}

function toml(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(toml).join(', ')}]`;
  return JSON.stringify(value);
}
