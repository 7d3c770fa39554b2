import { printable } from '../base/printable.ts';
import { COMMANDS } from '../control/messages.ts';
import { command } from './command.ts';
import { withDaemon } from './daemon-client.ts';
import { chosenSelection, selectionOptions } from './selection-options.ts';
import { folderArgument, shareNameOption } from './share-arguments.ts';

export default command({
  name: 'share',
  summary: 'make a folder a share',
  description:
    'The folder is made if it is missing. What is in it, and what will be, goes to everyone who joins with an access code ("skylark code").',
  arguments: { dir: folderArgument('the folder') },
  options: { name: shareNameOption(), ...selectionOptions() },
  json: true,
  examples: [['skylark share ~/Music --name Music', 'share the folder Music']],
  async run(context) {
    const {
      arguments: { dir: path },
      options,
      out,
      json,
    } = context;
    const { id, name } = await withDaemon(context, (client) =>
      client.request(COMMANDS.createShare, { path, name: options.name, selection: chosenSelection(options) }),
    );
    await out.line(
      json
        ? JSON.stringify({ id, name, path })
        : `${printable(path, 4_096)} is shared as ${printable(name ?? path)}`,
    );
  },
});
