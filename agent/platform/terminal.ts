/** Standard output and standard error, as a terminal or as whatever they lead to. */

import { fstatSync } from 'node:fs';
import { EXIT, SkylarkError } from '../base/errors.ts';
import type { Environment } from './process.ts';

/** The other side of the pipe has closed: what it wanted to read it has read. No reason to complain. */
export class ReaderGone extends SkylarkError {
  constructor() {
    super('user', 'process.reader_gone', 'nobody reads its output any more', { exitCode: EXIT.ok });
  }
}

export interface Output {
  /** Lines are for a person at a terminal, not for a file or another program. */
  readonly isTerminal: boolean;
  /** It leads to systemd's journal, which understands priorities (sd-daemon(3)). */
  readonly isJournal: boolean;
  /** Colours and cursor movements are understood and wanted. */
  readonly colour: boolean;
  /** Characters in a row now; 80 when nobody knows. */
  columns(): number;
  /** Resolves when the reader is ready for more. After the reader has gone everything is dropped. */
  write(text: string): Promise<void>;
  /** As `write`, for what is no text. The bytes must not be changed before it resolves. */
  writeBytes(bytes: Uint8Array): Promise<void>;
  /** `write` with a line end. */
  line(text?: string): Promise<void>;
}

/** @param onReaderGone called once when the other side of a pipe has closed (`skylark ls | head`). */
export function standardOutput(environment: Environment, onReaderGone: () => void): Output {
  return openOutput(process.stdout, environment, onReaderGone);
}

export function standardError(environment: Environment): Output {
  return openOutput(process.stderr, environment, () => {});
}

/** Exported for tests; everyone else wants one of the two above. */
export function openOutput(
  stream: NodeJS.WriteStream & { readonly fd: number },
  environment: Environment,
  onReaderGone: () => void,
): Output {
  let gone = false;
  stream.on('error', () => {
    // EPIPE, or a terminal that was closed: there is nobody left to tell.
    if (!gone) onReaderGone();
    gone = true;
  });
  const isTerminal = stream.isTTY === true;
  const write = (data: string | Uint8Array) =>
    new Promise<void>((resolve) => {
      if (gone || data.length === 0) resolve();
      else stream.write(data, () => resolve());
    });
  return {
    isTerminal,
    isJournal: isJournal(stream.fd, environment.JOURNAL_STREAM),
    // https://no-color.org: set and not empty means no.
    colour: isTerminal && !environment.NO_COLOR && environment.TERM !== 'dumb',
    columns: () => stream.columns || 80,
    write,
    writeBytes: write,
    line: (text = '') => write(`${text}\n`),
  };
}

/** The variable alone proves nothing: it is inherited by programs whose output leads elsewhere (systemd.exec(5)). */
function isJournal(descriptor: number, journalStream: string | undefined): boolean {
  if (journalStream === undefined) return false;
  try {
    const { dev, ino } = fstatSync(descriptor, { bigint: true });
    return journalStream === `${dev}:${ino}`;
  } catch {
    return false;
  }
}
