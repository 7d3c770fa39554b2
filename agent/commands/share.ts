import { resolve } from 'node:path';
import { COMMANDS } from '../control/messages.ts';
import { argument, command, text } from './command.ts';
import { withDaemon } from './daemon-client.ts';

export default command({
  name: 'share',
  summary: 'make a folder a share',
  description:
    'The folder is made if it is missing. What is in it, and what will be, goes to everyone who joins with an access code ("skylark code").',
  arguments: { dir: argument('DIR', 'the folder') },
  options: {
    name: text({ placeholder: 'NAME', text: "what the share is called here; by default the folder's name" }),
  },
  json: true,
  examples: [['skylark share ~/Music --name Music', 'share the folder Music']],
  async run(context) {
    const { arguments: given, options, out, json } = context;
    const path = resolve(given.dir);
    const { id, name } = await withDaemon(context, (client) =>
      client.request(COMMANDS.createShare, { path, name: options.name }),
    );
    await out.line(json ? JSON.stringify({ id, name, path }) : `${path} is shared as ${name}`);
  },
});
