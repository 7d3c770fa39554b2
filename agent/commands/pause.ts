import { COMMANDS } from '../control/messages.ts';
import { command, optionalArgument } from './command.ts';
import { withDaemon } from './daemon-client.ts';

export default command({
  name: 'pause',
  summary: 'hold syncing back',
  description:
    'Nothing is sent, received or noted until "skylark resume", also across restarts of the daemon. Nothing is lost: what happens meanwhile is found afterwards.',
  arguments: { share: optionalArgument('SHARE', 'name or folder of the share; without it all of them') },
  options: {},
  json: true,
  examples: [
    ['skylark pause', 'all shares'],
    ['skylark pause Music', 'only one'],
  ],
  async run(context) {
    const {
      arguments: { share },
      out,
      json,
    } = context;
    await withDaemon(context, (client) => client.request(COMMANDS.pause, { share }));
    await out.line(json ? '{}' : `paused ${share ?? 'all shares'}`);
  },
});
