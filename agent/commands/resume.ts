import { COMMANDS } from '../control/messages.ts';
import { command, optionalArgument } from './command.ts';
import { withDaemon } from './daemon-client.ts';

export default command({
  name: 'resume',
  summary: 'go on with syncing after a pause',
  description:
    'What happened meanwhile is found and synced. Named, a share whose deletions or whose changed folder are held back (see "skylark status") is taken as it is now.',
  arguments: { share: optionalArgument('SHARE', 'name or folder of the share; without it all of them') },
  options: {},
  json: true,
  examples: [
    ['skylark resume', 'all shares'],
    ['skylark resume Music', 'only one'],
  ],
  async run(context) {
    const {
      arguments: { share },
      out,
      json,
    } = context;
    await withDaemon(context, (client) => client.request(COMMANDS.resume, { share }));
    await out.line(json ? '{}' : `resumed ${share ?? 'all shares'}`);
  },
});
