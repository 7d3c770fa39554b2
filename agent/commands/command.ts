/**
 * A command is one declaration: from it come the parser, `--help`, `skylark help`, and whatever else is told about
 * commands (manual pages, completions). `run` gets the values parsed and typed, and everything it may touch.
 */

import { userError } from '../base/errors.ts';
import type { Logger, LogLevel } from '../base/log.ts';
import type { LogFormat } from '../platform/log-sink.ts';
import type { Environment } from '../platform/process.ts';
import type { Output } from '../platform/terminal.ts';

/** An option without a value: `--watch`. */
export interface FlagOption {
  readonly kind: 'flag';
  readonly text: string;
}

/** An option with one value (the last one given counts) or, with `many`, with as many as are given. */
export interface ValueOption<T> {
  readonly kind: 'one' | 'many';
  /** One letter: `o` for `-o FILE`. */
  readonly short?: string | undefined;
  /** What stands for the value in help: `FILE`. */
  readonly placeholder: string;
  readonly text: string;
  /** As it would be typed. */
  readonly default: string | undefined;
  /** @throws SkylarkError (user) that says what is expected. */
  readonly parse: (typed: string) => T;
}

export interface Argument {
  /** As help shows it: `DIR`. */
  readonly placeholder: string;
  readonly text: string;
  readonly required: boolean;
  /** What `run` gets for what was typed. @throws SkylarkError (user) that says what is expected. */
  readonly parse: (typed: string) => string;
}

export type Options = Readonly<Record<string, FlagOption | ValueOption<unknown>>>;
/** By the name under which `run` gets the value; the order is that of the command line, optional ones last. */
export type Arguments = Readonly<Record<string, Argument>>;

export type OptionValues<O extends Options> = {
  readonly [Name in keyof O]: O[Name] extends ValueOption<infer T>
    ? O[Name] extends { readonly kind: 'many' }
      ? readonly T[]
      : O[Name] extends { readonly default: string }
        ? T
        : T | undefined
    : boolean;
};

export type ArgumentValues<A extends Arguments> = {
  readonly [Name in keyof A]: A[Name] extends { readonly required: true } ? string : string | undefined;
};

export interface Command<A extends Arguments = Arguments, O extends Options = Options> {
  readonly name: string;
  /** One line without a full stop, beginning with a verb: `make a folder a share`. */
  readonly summary: string;
  /** More, for the command's own help: paragraphs of plain text. */
  readonly description?: string;
  readonly arguments: A;
  /** By their names without the dashes. `--help`, `--state` and `--verbose` every command has. */
  readonly options: O;
  /** It prints facts: gets `--json`. */
  readonly json?: boolean;
  /** Command lines as somebody would type them, each with what it does. */
  readonly examples: readonly (readonly [line: string, what: string])[];
  /**
   * Throws what went wrong; returning is success. Ends soon after the context's signal: with the signal's reason when
   * that leaves the work undone (exit code 130 or 143), normally when ending was all there was left to do.
   */
  run(context: CommandContext<A, O>): Promise<void>;
}

export interface CommandContext<A extends Arguments = Arguments, O extends Options = Options> {
  readonly arguments: ArgumentValues<A>;
  readonly options: OptionValues<O>;
  /** stdout: what was asked for. */
  readonly out: Output;
  /** stderr: notes and progress. Errors are thrown, not printed. */
  readonly err: Output;
  /** Warnings and worse, everything with `--verbose`. Commands that run long open their own. */
  readonly log: Logger;
  openLogger(settings: { readonly level: LogLevel; readonly format: LogFormat }): Logger;
  /** The first SIGINT, SIGTERM or SIGHUP, or the reader of stdout has gone. */
  readonly signal: AbortSignal;
  /** Absolute path; need not exist. */
  readonly stateFolder: string;
  readonly json: boolean;
  readonly verbose: boolean;
  readonly environment: Environment;
  /** For `skylark help`. */
  readonly commands: CommandTable;
}

/** Loads a command's module only when it is needed: starting up should cost what the command costs. */
export type CommandTable = Readonly<Record<string, () => Promise<Command>>>;

/** Declares a command; gives `run` its types. */
export function command<const A extends Arguments, const O extends Options>(
  declared: Command<A, O>,
): Command {
  // The frame calls `run` with the values of exactly these declarations.
  return declared as unknown as Command;
}

export function argument(placeholder: string, text: string, parse = parseText()) {
  return { placeholder, text, required: true, parse } as const;
}

export function optionalArgument(placeholder: string, text: string, parse = parseText()) {
  return { placeholder, text, required: false, parse } as const;
}

export function flag(text: string): FlagOption {
  return { kind: 'flag', text };
}

interface ValueTexts<D extends string | undefined> {
  readonly short?: string;
  readonly placeholder: string;
  readonly text: string;
  readonly default?: D;
}

type OneValue<T, D extends string | undefined> = ValueOption<T> & {
  readonly kind: 'one';
  readonly default: D;
};

/** An option whose value `parse` understands. */
export function value<T, const D extends string | undefined = undefined>(
  texts: ValueTexts<D>,
  parse: (typed: string) => T,
): OneValue<T, D> {
  return { kind: 'one', ...texts, default: texts.default as D, parse };
}

export function text<const D extends string | undefined = undefined>(
  texts: ValueTexts<D>,
  parse = parseText(),
): OneValue<string, D> {
  return value(texts, parse);
}

/** An option that may be given several times. */
export function texts(
  declared: { readonly placeholder: string; readonly text: string },
  parse = parseText(),
): ValueOption<string> & { readonly kind: 'many' } {
  return { kind: 'many', ...declared, default: undefined, parse };
}

/** Longest path on the control socket, in UTF-16 code units. */
const LONGEST = 16_384;

/** What nearly every value is: anything but nothing. */
export function parseText(longest = LONGEST): (typed: string) => string {
  return (typed) => {
    if (typed === '') throw userError('usage.empty', 'it must not be empty');
    if (typed.length > longest)
      throw userError('usage.too_long', `it must not be longer than ${longest} characters`);
    if (!typed.isWellFormed()) throw userError('usage.not_unicode', 'it must be valid Unicode');
    return typed;
  };
}

export function choice<const C extends readonly string[], const D extends C[number] | undefined = undefined>(
  choices: C,
  declared: { readonly text: string; readonly default?: D },
): OneValue<C[number], D> {
  return value<C[number], D>({ placeholder: choices.join('|'), ...declared }, (typed) => {
    if (choices.includes(typed)) return typed;
    throw userError('usage.not_a_choice', `it must be one of ${choices.join(', ')}`);
  });
}

/** A whole number, both limits included. */
export function count<const D extends string | undefined = undefined>(
  limits: { readonly min: number; readonly max: number },
  declared: ValueTexts<D>,
): OneValue<number, D> {
  return value(declared, (typed) => {
    const number = /^\d{1,15}$/.test(typed) ? Number(typed) : Number.NaN;
    if (number >= limits.min && number <= limits.max) return number;
    throw userError('usage.not_a_number', `it must be a whole number from ${limits.min} to ${limits.max}`);
  });
}
