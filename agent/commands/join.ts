import { parseEndpoint } from '../base/endpoint.ts';
import { userError } from '../base/errors.ts';
import { printable } from '../base/printable.ts';
import { parseAccessCode } from '../club/access-code.ts';
import { COMMANDS } from '../control/messages.ts';
import { argument, command, count, parseText, texts } from './command.ts';
import { withDaemon } from './daemon-client.ts';
import { chosenSelection, onlyOption, selectionOptions } from './selection-options.ts';
import { folderArgument, readPassword, shareNameOption, usernameOption } from './share-arguments.ts';

/** Longest code or URL on the control socket. */
const LONGEST_CODE = 1_024;

function parsePeer(typed: string): string {
  try {
    parseEndpoint(typed);
    return typed;
  } catch (cause) {
    throw userError(
      'usage.not_an_endpoint',
      'it must be HOST:PORT, as in 192.168.1.7:49221 or [fd00::7]:49221',
      {
        cause,
      },
    );
  }
}

export default command({
  name: 'join',
  summary: 'join a share with an access code',
  description:
    'Ends when the keys of the share are stored; the files follow in the background. Nothing that is in the folder is lost: files that the share has are used, others go to the archive inside the folder.',
  arguments: {
    code: argument(
      'CODE-OR-URL',
      'the access code or its URL, as it was given; - with --username',
      parseText(LONGEST_CODE),
    ),
    dir: folderArgument('the folder for the files; made if it is missing'),
  },
  options: {
    name: shareNameOption(),
    peer: texts(
      { placeholder: 'HOST:PORT', text: 'where a member can be reached, besides those found in the network' },
      parsePeer,
    ),
    username: usernameOption('join by user name and password: give - as the code'),
    ...selectionOptions(),
    only: onlyOption('keep only this part of the share, as in Photos/2026; may be given several times'),
    timeout: count(
      { min: 1, max: 86_400 },
      { placeholder: 'SECONDS', text: 'how long to look for somebody who knows the code', default: '60' },
    ),
  },
  json: true,
  examples: [
    ['skylark join SYNC7-4... ~/Music', 'join, and keep the files in ~/Music'],
    ["skylark join SYNC7-4... ~/Music --only Albums --ignore '*.tmp'", 'keep a part of it'],
    ['skylark join SYNC7-4... ~/Music --peer 192.168.1.7:49221', 'where broadcasts do not reach'],
  ],
  async run(context) {
    const { arguments: given, options, out, json, signal } = context;
    const { username } = options;
    if (username === undefined && given.code === '-')
      throw userError('usage.code', '- stands for a user name, but --username is missing', {
        remedy: "write 'skylark join - DIR --username NAME', or give an access code",
      });
    if (username !== undefined && given.code !== '-')
      throw userError('usage.code', 'an access code and --username exclude each other', {
        remedy: 'give - in place of the code to join by user name and password',
      });
    if (username === undefined) parseAccessCode(given.code);
    const password = username === undefined ? undefined : await readPassword('password: ', signal);
    const { id, name, path, mode } = await withDaemon(context, (client) =>
      client.request(COMMANDS.join, {
        ...(username === undefined ? { code: given.code } : { username, password }),
        path: given.dir,
        name: options.name,
        peers: options.peer,
        selection: chosenSelection(options),
        timeoutS: options.timeout,
      }),
    );
    if (json) return out.line(JSON.stringify({ id, name, path, mode }));
    return out.line(
      `joined ${printable(name)}: its files will be in ${printable(path, 4_096)}${mode === 'read_only' ? ' (read-only)' : ''}`,
    );
  },
});
