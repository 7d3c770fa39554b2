/**
 * The configuration out of its sources, the later overruling the earlier: defaults, files, environment
 * (`SKYLARK_DISCOVERY__LAN=false`), command line (`--set discovery.lan=false`). A mistake in any of them is an error that
 * says where it is.
 */

import { parse, TomlError } from 'smol-toml';
import { asError, EXIT, type SkylarkError, userError } from '../base/errors.ts';
import { nearestName } from '../base/nearest.ts';
import { printable } from '../base/printable.ts';
import { lineOfPath } from './line-of-path.ts';
import { type Option, type Plain, type PlainTable, Unfit } from './option.ts';
import { type Configuration, OPTIONS, OTHER_VARIABLES } from './options.ts';

export interface ConfigurationFile {
  /** For messages. */
  readonly path: string;
  readonly text: string;
}

export interface ConfigurationSources {
  readonly files?: readonly ConfigurationFile[];
  readonly environment?: Readonly<Record<string, string | undefined>>;
  /** What followed each `--set`. */
  readonly settings?: readonly string[];
}

/** Characters of a file. Enough for any configuration; a larger file is something else. */
export const LONGEST_FILE = 65_536;

const DECLARED: ReadonlyMap<string, Option<unknown>> = new Map(Object.entries(OPTIONS));
const VARIABLE_PREFIX = 'SKYLARK_';

/**
 * @throws SkylarkError (user, exit code 78) `config.syntax`, `config.unknown_option`, `config.wrong_value`, naming file and
 *   line, or the variable, or the setting.
 */
export function loadConfiguration(sources: ConfigurationSources): Configuration {
  const values = new Map([...DECLARED].map(([name, option]) => [name, option.default]));
  for (const file of sources.files ?? []) readFile(file, values);
  for (const [variable, text] of Object.entries(sources.environment ?? {}))
    if (text !== undefined && isOptionVariable(variable)) {
      const name = variable.slice(VARIABLE_PREFIX.length).toLowerCase().replaceAll('__', '.');
      readSetting(variable, name, text, values);
    }
  for (const setting of sources.settings ?? []) {
    const equals = setting.indexOf('=');
    if (equals < 0)
      throw problem(
        'config.syntax',
        `--set ${printable(setting)}`,
        'there is no equals sign',
        'write --set KEY=VALUE',
      );
    readSetting('--set', setting.slice(0, equals).trim(), setting.slice(equals + 1).trim(), values);
  }
  // Each value was decoded by the declaration that gives it its type.
  return Object.fromEntries(values) as unknown as Configuration;
}

function isOptionVariable(variable: string): boolean {
  return variable.startsWith(VARIABLE_PREFIX) && !OTHER_VARIABLES.includes(variable);
}

function readFile(file: ConfigurationFile, values: Map<string, unknown>): void {
  const path = printable(file.path);
  if (file.text.length > LONGEST_FILE)
    throw problem('config.syntax', path, `it is longer than ${LONGEST_FILE} characters`);
  const whole = parseToml(file.text, (line, what) => problem('config.syntax', `${path} line ${line}`, what));
  const where = (keys: readonly (string | number)[]) => {
    const line = lineOfPath(file.text, keys);
    return line === undefined ? path : `${path} line ${line}`;
  };
  readTable(whole, [], values, where);
}

function readTable(
  table: PlainTable,
  outer: readonly string[],
  values: Map<string, unknown>,
  where: (keys: readonly (string | number)[]) => string,
): void {
  for (const [key, value] of Object.entries(table)) {
    const keys = [...outer, key];
    const name = keys.join('.');
    const option = DECLARED.get(name);
    if (option !== undefined)
      values.set(
        name,
        decode(option, name, value, (inner) => where([...keys, ...inner])),
      );
    else if (isGroup(name) && isTable(value)) readTable(value, keys, values, where);
    else if (isGroup(name))
      throw problem('config.wrong_value', where(keys), `${name} is a group of options, not one`);
    else throw unknownOption(where(keys), name);
  }
}

function readSetting(source: string, name: string, typed: string, values: Map<string, unknown>): void {
  const option = DECLARED.get(name);
  if (option === undefined) throw unknownOption(source, name);
  // Of several --set, the one that is wrong.
  const place = source === '--set' ? `--set ${name}` : source;
  if (option.isPlainText && isOnlyQuoted(option, typed))
    throw problem(
      'config.wrong_value',
      source,
      `${name}: it is in quotes`,
      'leave the quotes out: here the value is taken as it is',
    );
  const value = option.isPlainText ? typed : readTomlValue(place, typed, option.type);
  values.set(
    name,
    decode(option, name, value, () => source),
  );
}

/** Whether the text does not fit, but would without quotes around it, as in a file. */
function isOnlyQuoted(option: Option<unknown>, typed: string): boolean {
  const bare = /^(["'])(.*)\1$/.exec(typed)?.[2];
  return bare !== undefined && !isFit(option, typed) && isFit(option, bare);
}

function isFit(option: Option<unknown>, value: Plain): boolean {
  try {
    option.decode(value);
    return true;
  } catch (thrown) {
    if (!(thrown instanceof Unfit)) throw thrown;
    return false;
  }
}

function decode(
  option: Option<unknown>,
  name: string,
  value: Plain,
  where: (inner: readonly (string | number)[]) => string,
): unknown {
  try {
    return option.decode(value);
  } catch (thrown) {
    if (!(thrown instanceof Unfit)) throw thrown;
    const inner = thrown.path.map((step) =>
      typeof step === 'number' ? `[${step + 1}]` : `.${printable(step, 64)}`,
    );
    throw problem(
      'config.wrong_value',
      where(thrown.path),
      `${name}${inner.join('')}: ${thrown.message}`,
      thrown.remedy,
    );
  }
}

function readTomlValue(source: string, typed: string, type: string): Plain {
  const unreadable = () =>
    problem('config.syntax', source, `${quoted(typed)} can't be read; it must be ${type}, as in TOML`);
  const { value, ...others } = parseToml(`value = ${typed}`, unreadable);
  if (value === undefined || Object.keys(others).length > 0) throw unreadable();
  return value;
}

function unknownOption(where: string, name: string): SkylarkError {
  const sameEnd = [...DECLARED.keys()].find((known) => known.endsWith(`.${name}`));
  const meant = nearestName(name, DECLARED.keys()) ?? sameEnd;
  return problem(
    'config.unknown_option',
    where,
    `there is no option ${quoted(name)}`,
    meant === undefined ? 'docs/configuration.md lists them' : `did you mean ${meant}?`,
  );
}

function parseToml(text: string, explain: (line: number, what: string) => SkylarkError): PlainTable {
  try {
    return parse(text, { unsafeKeyBehaviour: 'throw', maxDepth: 16 }) as PlainTable;
  } catch (thrown) {
    if (!(thrown instanceof TomlError)) throw explain(1, asError(thrown).message);
    // The library's message goes on with an excerpt of the text.
    const [what = ''] = thrown.message.replace(/^Invalid TOML document: /, '').split('\n');
    throw explain(thrown.line, what);
  }
}

function isGroup(name: string): boolean {
  return [...DECLARED.keys()].some((known) => known.startsWith(`${name}.`));
}

function isTable(value: Plain): value is PlainTable {
  return (
    typeof value === 'object' && Object.getPrototypeOf(value) !== Date.prototype && !Array.isArray(value)
  );
}

function problem(code: string, where: string, what: string, remedy?: string): SkylarkError {
  return userError(code, `${where}: ${what}`, {
    exitCode: EXIT.configuration,
    ...(remedy === undefined ? {} : { remedy }),
  });
}

function quoted(text: string): string {
  return `"${printable(text, 100)}"`;
}
