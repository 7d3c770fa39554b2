/** Options that were set through the control socket: kept in the state file, stronger than the configuration's files. */

import { EXIT, userError } from '../base/errors.ts';
import { type Json, JsonNumber } from '../base/json.ts';
import type { ConfigurationFile } from '../config/load.ts';
import type { Configuration } from '../config/options.ts';

/** As one more configuration file, so that the same rules and errors hold for it. */
export function storedOptionsFile(options: ReadonlyMap<string, Json>): ConfigurationFile {
  const lines = Array.from(options, ([key, value]) => `${key} = ${tomlOf(key, value)}\n`);
  return { path: 'the options set at run time', text: lines.join('') };
}

/** JSON texts of these are TOML too. */
function tomlOf(key: string, value: Json): string {
  switch (typeof value) {
    case 'string':
      return JSON.stringify(value);
    case 'boolean':
    case 'number':
    case 'bigint':
      return String(value);
    default:
  }
  if (Array.isArray(value)) return `[${value.map((item: Json) => tomlOf(key, item)).join(', ')}]`;
  if (value instanceof JsonNumber) return value.text;
  throw userError('config.not_settable', `${key} can't be set to that here`, {
    remedy: 'write it into the configuration file',
    exitCode: EXIT.configuration,
  });
}

/** The configuration as `get_config` answers it: what has no value is null. */
export function configurationJson(configuration: Configuration): ReadonlyMap<string, Json> {
  return new Map(Object.entries(configuration).map(([key, value]) => [key, jsonOf(value)]));
}

function jsonOf(value: unknown): Json {
  if (value === undefined || value === null) return null;
  if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') return value;
  if (typeof value === 'bigint') return value;
  if (Array.isArray(value)) return value.map(jsonOf);
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, jsonOf(member)]));
}
