import { resolve } from 'node:path';
import { parseEndpoint } from '../base/endpoint.ts';
import { userError } from '../base/errors.ts';
import { COMMANDS } from '../control/messages.ts';
import { readSecret } from '../platform/secret-prompt.ts';
import { argument, command, count, text, texts } from './command.ts';
import { withDaemon } from './daemon-client.ts';

export default command({
  name: 'join',
  summary: 'join a share with an access code',
  description:
    'Ends when the keys of the share are stored; the files follow in the background. Nothing that is in the folder is lost: files that the share has are used, others go to the archive inside the folder.',
  arguments: {
    code: argument('CODE-OR-URL', 'the access code, as it was given; or a user name with --username'),
    dir: argument('DIR', 'the folder for the files; made if it is missing'),
  },
  options: {
    name: text({ placeholder: 'NAME', text: "what the share is called here; by default the folder's name" }),
    peer: texts({
      placeholder: 'HOST:PORT',
      text: 'where a member can be reached, besides those found in the network',
    }),
    username: text({ placeholder: 'NAME', text: 'join by user name and password: give - as the code' }),
    timeout: count(
      { min: 1, max: 86_400 },
      { placeholder: 'SECONDS', text: 'how long to look for somebody who knows the code', default: '60' },
    ),
  },
  json: true,
  examples: [
    ['skylark join SYNC7-4... ~/Music', 'join, and keep the files in ~/Music'],
    ['skylark join SYNC7-4... ~/Music --peer 192.168.1.7:49221', 'where broadcasts do not reach'],
  ],
  async run(context) {
    const { arguments: given, options, out, json, signal } = context;
    if ((options.username === undefined) === (given.code === '-')) {
      throw userError('usage.code', 'either a code, or - and --username, must be given');
    }
    for (const peer of options.peer) parseEndpoint(peer);
    const { username } = options;
    const password = username === undefined ? undefined : await readSecret('password: ', signal);
    const { id, name, path, mode } = await withDaemon(context, (client) =>
      client.request(COMMANDS.join, {
        ...(username === undefined ? { code: given.code } : { username, password }),
        path: resolve(given.dir),
        name: options.name,
        peers: options.peer,
        timeoutS: options.timeout,
      }),
    );
    if (json) return out.line(JSON.stringify({ id, name, path, mode }));
    return out.line(
      `joined ${name}: its files will be in ${path}${mode === 'read_only' ? ' (read-only)' : ''}`,
    );
  },
});
