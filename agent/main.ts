/** The program's entry: the command line in, an exit code out. */

import { EXIT } from './base/errors.ts';
import { describeFailure, runCommand } from './commands/run-command.ts';
import { COMMANDS } from './commands/table.ts';
import {
  exitProcess,
  flushManyAtOnce,
  keepHeapSmall,
  onUncaught,
  openEndSignals,
  processArguments,
  processEnvironment,
} from './platform/process.ts';
import { ReaderGone, standardError, standardOutput } from './platform/terminal.ts';

async function main(): Promise<void> {
  keepHeapSmall();
  flushManyAtOnce();
  const environment = processEnvironment();
  const typed = processArguments();
  const readerGone = new AbortController();
  const out = standardOutput(environment, () => readerGone.abort(new ReaderGone()));
  const err = standardError(environment);
  onUncaught((error) => {
    void err
      .write(describeFailure(typed[0] ?? '', error, typed.includes('--verbose')))
      .then(() => exitProcess(EXIT.internal));
  });
  const signal = AbortSignal.any([openEndSignals().signal, readerGone.signal]);
  const exitCode = await runCommand(typed, { commands: COMMANDS, environment, out, err, signal });
  exitProcess(exitCode);
}

void main();
