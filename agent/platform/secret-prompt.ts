/** Asks a person for a secret: on a terminal without showing it, else one line of standard input. */

import { createInterface } from 'node:readline';
import { Writable } from 'node:stream';
import { type SkylarkError, userError } from '../base/errors.ts';

/**
 * @throws SkylarkError (user) `secret.none` if the input ends without a line; the signal's reason.
 */
export async function readSecret(question: string, signal: AbortSignal): Promise<string> {
  const { stdin, stderr } = process;
  const isTerminal = stdin.isTTY === true;
  if (isTerminal) stderr.write(question);
  // The terminal echoes through this stream, which swallows all of it.
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = createInterface({ input: stdin, output: silent, terminal: isTerminal });
  try {
    return await new Promise<string>((resolve, reject) => {
      lines.once('line', resolve);
      lines.once('SIGINT', () => reject(nothing()));
      lines.once('close', () => reject(nothing()));
      if (signal.aborted) reject(signal.reason);
      signal.addEventListener('abort', () => reject(signal.reason), { once: true });
    });
  } finally {
    lines.close();
    if (isTerminal) stderr.write('\n');
  }
}

function nothing(): SkylarkError {
  return userError('secret.none', 'nothing was entered', {
    remedy: 'type it when it is asked for, or give it as one line on standard input',
  });
}
