import { printable } from '../base/printable.ts';
import { COMMANDS } from '../control/messages.ts';
import { command } from './command.ts';
import { withDaemon } from './daemon-client.ts';
import { shareArgument } from './share-arguments.ts';

export default command({
  name: 'leave',
  summary: 'stop syncing a share; its files stay',
  description: 'The keys are forgotten: to come back, a new access code from another member is needed.',
  arguments: { share: shareArgument() },
  options: {},
  json: true,
  examples: [['skylark leave Music', 'leave the share Music']],
  async run(context) {
    const {
      arguments: { share },
      out,
      json,
    } = context;
    await withDaemon(context, (client) => client.request(COMMANDS.removeShare, { share }));
    await out.line(json ? '{}' : `left ${printable(share)}; its files stay where they are`);
  },
});
