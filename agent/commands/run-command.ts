/** From the command line to an exit code: finds the command, gives it its context, words its failure. */

import { asError, describeError, EXIT, SkylarkError, userError } from '../base/errors.ts';
import { Logger } from '../base/log.ts';
import { nearestName } from '../base/nearest.ts';
import { printable } from '../base/printable.ts';
import { stateFolder } from '../platform/folders.ts';
import { type OpenLogSink, openLogSink } from '../platform/log-sink.ts';
import type { Environment } from '../platform/process.ts';
import { type Output, ReaderGone } from '../platform/terminal.ts';
import type { Command, CommandContext, CommandTable } from './command.ts';
import { type CommandLine, parseCommandLine } from './command-line.ts';
import { commandHelp } from './help-text.ts';

export interface Surroundings {
  readonly commands: CommandTable;
  readonly environment: Environment;
  readonly out: Output;
  readonly err: Output;
  readonly signal: AbortSignal;
}

/** What people try first, before they know that these are commands. */
const ALIASES: ReadonlyMap<string, string> = new Map([
  ['--help', 'help'],
  ['-h', 'help'],
  ['--version', 'version'],
  ['-V', 'version'],
]);

/** Runs what was typed (without the program's name). Never throws; what failed is told on stderr. @returns the exit code. */
export async function runCommand(typed: readonly string[], surroundings: Surroundings): Promise<number> {
  const [first = 'help', ...rest] = typed;
  const name = ALIASES.get(first) ?? first;
  const logs: OpenLogSink[] = [];
  let verbose = rest.includes('--verbose');
  try {
    const command = await loadCommand(surroundings.commands, name);
    const line = parseCommandLine(command, rest);
    verbose = line.verbose;
    if (line.help) await surroundings.out.write(commandHelp(command, surroundings.out.columns()));
    else await command.run(contextOf(line, surroundings, logs));
    // Somebody who typed nothing gets the list, but did not ask for it.
    return typed.length === 0 ? EXIT.usage : EXIT.ok;
  } catch (thrown) {
    for (const log of logs.splice(0)) log.close();
    if (thrown instanceof ReaderGone) return thrown.exitCode;
    await surroundings.err.write(describeFailure(name, asError(thrown), verbose));
    return thrown instanceof SkylarkError ? thrown.exitCode : EXIT.internal;
  } finally {
    for (const log of logs) log.close();
  }
}

/** @throws SkylarkError (user, exit code 64) `usage.unknown_command`. */
export async function loadCommand(commands: CommandTable, name: string): Promise<Command> {
  const load = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (load !== undefined) return load();
  if (name.startsWith('-'))
    throw userError('usage.unknown_command', `${printable(name, 100)} is no command`, {
      remedy: "options follow the command, as in 'skylark status --json'; 'skylark help' lists the commands",
    });
  const meant = nearestName(name, Object.keys(commands));
  throw userError('usage.unknown_command', `there is no command "${printable(name, 100)}"`, {
    remedy: meant === undefined ? "'skylark help' lists them" : `did you mean 'skylark ${meant}'?`,
  });
}

/** "what failed: why; what to do", in one line; with `verbose` also where. */
export function describeFailure(name: string, error: Error, verbose: boolean): string {
  const isOurs = !(error instanceof SkylarkError) || error.fault === 'internal';
  const report =
    isOurs && !verbose ? '; this is a mistake in Skylark: run it with --verbose and report what it says' : '';
  const line = `skylark ${printable(name, 100)}: ${printable(describeError(error), 2_000)}${report}\n`;
  return verbose ? line + stacksOf(error) : line;
}

function stacksOf(error: Error): string {
  let stacks = '';
  for (let next: unknown = error, depth = 0; next instanceof Error && depth < 8; depth++) {
    const lines = (next.stack ?? String(next))
      .split('\n')
      .map((stackLine) => `  ${printable(stackLine, 500)}\n`);
    stacks += `${depth === 0 ? '' : '  caused by\n'}${lines.join('')}`;
    next = next.cause;
  }
  return stacks;
}

function contextOf(line: CommandLine, surroundings: Surroundings, logs: OpenLogSink[]): CommandContext {
  const { commands, environment, out, err, signal } = surroundings;
  const openLogger: CommandContext['openLogger'] = ({ level, format }) => {
    const log = openLogSink({
      level,
      format,
      colour: err.colour,
      journal: err.isJournal,
      write: (logLine) => {
        void err.write(logLine);
      },
    });
    logs.push(log);
    return new Logger(log.sink);
  };
  return {
    // The declarations made these values and gave `run` its types (command.ts, `command`).
    arguments: line.arguments as CommandContext['arguments'],
    options: line.options as CommandContext['options'],
    out,
    err,
    log: openLogger({ level: line.verbose ? 'debug' : 'warn', format: 'text' }),
    openLogger,
    signal,
    stateFolder: stateFolder(environment, line.state),
    json: line.json,
    verbose: line.verbose,
    environment,
    commands,
  };
}
