/** From a command's declaration and what was typed to the values it asked for, or to an error that helps. */

import { parseArgs } from 'node:util';
import { describeError, userError } from '../base/errors.ts';
import { nearestName } from '../base/nearest.ts';
import { printable } from '../base/printable.ts';
import { type Command, type FlagOption, flag, type Options, text } from './command.ts';

/** What every command understands. */
export const COMMON_OPTIONS = {
  state: text({
    placeholder: 'DIR',
    text: 'folder with keys and records; by default $STATE_DIRECTORY, else clearskies in $XDG_DATA_HOME',
  }),
  verbose: flag('say more, and where an error comes from'),
  help: flag('show this help'),
} satisfies Options;

export const JSON_OPTION = flag('print one JSON document with stable keys');

export interface CommandLine {
  readonly arguments: Readonly<Record<string, string | undefined>>;
  readonly options: Readonly<Record<string, unknown>>;
  readonly state: string | undefined;
  readonly verbose: boolean;
  readonly json: boolean;
  readonly help: boolean;
}

/** The command's own options and those it shares with all. */
export function allOptions(command: Command): Options {
  return { ...command.options, ...(command.json ? { json: JSON_OPTION } : {}), ...COMMON_OPTIONS };
}

/** @throws SkylarkError (user, exit code 64) `usage.*`. */
export function parseCommandLine(command: Command, typed: readonly string[]): CommandLine {
  const declared = allOptions(command);
  const given = new Map<string, string[]>();
  const positionals: string[] = [];
  for (const token of tokensOf(typed, declared)) {
    if (token.kind === 'positional') positionals.push(token.value);
    if (token.kind !== 'option') continue;
    if (token.rawName === '-h') {
      given.set('help', []);
      continue;
    }
    const option = Object.hasOwn(declared, token.name) ? declared[token.name] : undefined;
    if (option === undefined) throw unknownOption(command, token.rawName, declared);
    const values = given.get(token.name) ?? [];
    given.set(token.name, values);
    values.push(valueGiven(token, option));
  }
  // Who asks for help gets it, whatever else is wrong.
  const help = given.has('help');
  return {
    arguments: help ? {} : matchArguments(command, positionals),
    options: help ? {} : parseOptions(command.options, given),
    state: help ? undefined : stateFolder(given.get('state')),
    verbose: given.has('verbose'),
    json: given.has('json'),
    help,
  };
}

function stateFolder(given: readonly string[] | undefined): string | undefined {
  const typed = given?.at(-1);
  return typed === undefined ? undefined : parsed('--state', typed, COMMON_OPTIONS.state.parse);
}

interface OptionToken {
  readonly kind: 'option';
  readonly name: string;
  readonly rawName: string;
  readonly value: string | undefined;
  readonly inlineValue: boolean | undefined;
}

function tokensOf(typed: readonly string[], declared: Options) {
  const options: Record<string, { type: 'boolean' | 'string'; short?: string }> = {};
  for (const [name, option] of Object.entries(declared)) {
    options[name] = { type: option.kind === 'flag' ? 'boolean' : 'string' };
    if (option.kind !== 'flag' && option.short !== undefined) options[name].short = option.short;
  }
  // Not strict: the tokens tell enough to word the errors ourselves.
  return parseArgs({ args: [...typed], options, allowPositionals: true, strict: false, tokens: true }).tokens;
}

function valueGiven(token: OptionToken, option: Options[string]): string {
  const isFlag = (option as FlagOption).kind === 'flag';
  if (isFlag && token.value !== undefined)
    throw userError('usage.unexpected_value', `${token.rawName} takes no value`);
  if (isFlag) return '';
  if (token.value === undefined) throw userError('usage.missing_value', `${token.rawName} needs a value`);
  if (!token.inlineValue && token.value.startsWith('-') && token.value !== '-')
    throw userError('usage.missing_value', `${token.rawName} needs a value`, {
      remedy: `write ${token.rawName}=${printable(token.value)} if that is the value`,
    });
  return token.value;
}

function matchArguments(command: Command, positionals: readonly string[]): CommandLine['arguments'] {
  const declared = Object.entries(command.arguments);
  const surplus = positionals[declared.length];
  if (surplus !== undefined)
    throw userError(
      'usage.surplus_argument',
      `${quoted(surplus)} is one argument too many`,
      seeHelp(command),
    );
  return Object.fromEntries(
    declared.map(([name, { placeholder, required, parse }], index) => {
      const typed = positionals[index];
      if (required && typed === undefined)
        throw userError('usage.missing_argument', `${placeholder} is missing`, seeHelp(command));
      return [name, typed === undefined ? undefined : parsed(placeholder, typed, parse)];
    }),
  );
}

function parseOptions(
  declared: Options,
  given: ReadonlyMap<string, readonly string[]>,
): CommandLine['options'] {
  return Object.fromEntries(
    Object.entries(declared).map(([name, option]) => {
      const typed = given.get(name) ?? [];
      if (option.kind === 'flag') return [name, typed.length > 0];
      const parse = (one: string) => parsed(`--${name}`, one, option.parse);
      if (option.kind === 'many') return [name, typed.map(parse)];
      const last = typed.at(-1) ?? option.default;
      return [name, last === undefined ? undefined : parse(last)];
    }),
  );
}

/** What `parse` makes of it, or an error in the words of the command line. */
function parsed<T>(shown: string, typed: string, parse: (typed: string) => T): T {
  try {
    return parse(typed);
  } catch (cause) {
    throw userError('usage.bad_value', `${shown} is ${quoted(typed)}, but ${describeError(cause)}`, {
      cause,
    });
  }
}

function unknownOption(command: Command, rawName: string, declared: Options) {
  const meant = nearestName(rawName.replace(/^-+/, ''), Object.keys(declared));
  return userError(
    'usage.unknown_option',
    `there is no option ${quoted(rawName)}`,
    meant === undefined ? seeHelp(command) : { remedy: `did you mean --${meant}?` },
  );
}

function seeHelp(command: Command) {
  return { remedy: `see 'skylark help ${command.name}'` };
}

function quoted(typed: string): string {
  return `"${printable(typed, 100)}"`;
}
