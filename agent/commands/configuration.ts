/** How commands that need the configuration are given it. */

import { EXIT, userError } from '../base/errors.ts';
import { type ConfigurationFile, loadConfiguration } from '../config/load.ts';
import type { Configuration } from '../config/options.ts';
import { configurationFiles, readTextFile } from '../platform/folders.ts';
import type { Environment } from '../platform/process.ts';
import { text, texts } from './command.ts';

/** For the `options` of a command: spread them in. */
export const CONFIGURATION_OPTIONS = {
  config: text({
    placeholder: 'FILE',
    text: 'configuration file; by default /etc/skylark/skylark.toml and $XDG_CONFIG_HOME/skylark/skylark.toml',
  }),
  set: texts({
    placeholder: 'KEY=VALUE',
    text: 'one option of the configuration, as in discovery.lan=false',
  }),
} as const;

export interface ConfigurationChoice {
  readonly config: string | undefined;
  readonly set: readonly string[];
}

/**
 * @param stored what overrules the files, but not the environment and the command line.
 * @throws SkylarkError (user, exit code 78) `config.*`; (environment) `file.unreadable`.
 */
export function readConfiguration(
  environment: Environment,
  chosen: ConfigurationChoice,
  stored: readonly ConfigurationFile[] = [],
): Configuration {
  const paths = chosen.config === undefined ? configurationFiles(environment) : [chosen.config];
  const files = paths.flatMap((path) => {
    const content = readTextFile(path);
    return content === undefined ? [] : [{ path, text: content }];
  });
  if (chosen.config !== undefined && files.length === 0)
    throw userError('config.missing', `there is no file ${chosen.config}`, { exitCode: EXIT.configuration });
  return loadConfiguration({ files: [...files, ...stored], environment, settings: chosen.set });
}
