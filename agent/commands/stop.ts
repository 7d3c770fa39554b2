import { COMMANDS } from '../control/messages.ts';
import { command } from './command.ts';
import { withDaemon } from './daemon-client.ts';

export default command({
  name: 'stop',
  summary: 'stop the daemon',
  arguments: {},
  options: {},
  json: true,
  examples: [['skylark stop', 'stop the daemon of the default state folder']],
  async run(context) {
    await withDaemon(context, (client) => client.request(COMMANDS.stop, {}));
    await context.out.line(context.json ? '{}' : 'the daemon is stopping');
  },
});
