/** What commands about shares are given: folders, names of shares, user names and their passwords. */

import { resolve } from 'node:path';
import { userError } from '../base/errors.ts';
import { readSecret } from '../platform/secret-prompt.ts';
import { argument, optionalArgument, parseText, text } from './command.ts';

/** Longest on the control socket. */
const LONGEST_NAME = 1_024;
const LONGEST_USERNAME = 256;
const LONGEST_PASSWORD = 1_024;

const SHARE = 'name or folder of the share';

/** The daemon knows no folder but its own: what looks like a folder from here is made absolute. */
function parseShare(typed: string): string {
  const share = parseText()(typed);
  return /^\.{1,2}(\/|$)/.test(share) ? resolve(share) : share;
}

export function shareArgument() {
  return argument('SHARE', SHARE, parseShare);
}

/** @param without what it means to name none. */
export function optionalShareArgument(without: string) {
  return optionalArgument('SHARE', `${SHARE}; ${without}`, parseShare);
}

/** The folder is absolute then. */
export function folderArgument(explanation: string) {
  return argument('DIR', explanation, (typed) => resolve(parseText()(typed)));
}

export function shareNameOption() {
  const explanation = "what the share is called here; by default the folder's name";
  return text({ placeholder: 'NAME', text: explanation }, (typed) => {
    const name = parseText(LONGEST_NAME)(typed);
    if (name.trim() === '') throw userError('usage.empty', 'it must not be blank');
    if (/\p{Cc}/u.test(name)) throw userError('usage.control_character', 'it must be one line of text');
    // Whatever begins so is taken for a folder wherever a share is named.
    if (/^(\/|\.{1,2}(\/|$))/.test(name))
      throw userError('usage.looks_like_folder', 'a name must not look like a folder');
    return name;
  });
}

export function usernameOption(explanation: string) {
  return text({ placeholder: 'NAME', text: explanation }, parseText(LONGEST_USERNAME));
}

/** @throws SkylarkError (user) `usage.password`, `secret.none`; the signal's reason. */
export async function readPassword(question: string, signal: AbortSignal): Promise<string> {
  const password = await readSecret(question, signal);
  if (password === '') throw userError('usage.password', 'the password must not be empty');
  if (password.length > LONGEST_PASSWORD)
    throw userError('usage.password', `the password must not be longer than ${LONGEST_PASSWORD} characters`);
  return password;
}
