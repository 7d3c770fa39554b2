/** Where things lie on this machine: systemd's variables first, then the XDG Base Directory rules. */

import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';
import { environmentError, errorCode } from '../base/errors.ts';
import type { Environment } from './process.ts';

/**
 * The folder with keys, records and the control socket: `--state`, else `$STATE_DIRECTORY` (systemd's
 * `StateDirectory=`), else `clearskies` under `$XDG_DATA_HOME`, which is `~/.local/share` by default. Absolute.
 */
export function stateFolder(environment: Environment, chosen?: string): string {
  if (chosen !== undefined) return resolve(chosen);
  // Several folders are separated by colons; the first is ours.
  const given = environment.STATE_DIRECTORY?.split(':')[0];
  if (given !== undefined && given !== '') return resolve(given);
  return join(xdgFolder(environment, 'XDG_DATA_HOME', '.local/share'), 'clearskies');
}

/** The files that are read when there is no `--config`, the later ones overruling the earlier. */
export function configurationFiles(environment: Environment): readonly string[] {
  return [
    '/etc/skylark/skylark.toml',
    join(xdgFolder(environment, 'XDG_CONFIG_HOME', '.config'), 'skylark/skylark.toml'),
  ];
}

/** Relative paths in these variables are to be ignored (XDG Base Directory Specification, "Basics"). */
function xdgFolder(environment: Environment, variable: string, underHome: string): string {
  const given = environment[variable];
  return given !== undefined && isAbsolute(given) ? given : join(homedir(), underHome);
}

/**
 * A file that somebody wrote by hand, whole; undefined when there is none.
 * @throws SkylarkError (environment) `file.unreadable`.
 */
export function readTextFile(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    const code = errorCode(cause);
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw environmentError('file.unreadable', `${path} can't be read (${code ?? 'unknown reason'})`, {
      cause,
    });
  }
}
