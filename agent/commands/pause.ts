/** `pause` and `resume`: the same, one the other way round. */

import { printable } from '../base/printable.ts';
import { COMMANDS } from '../control/messages.ts';
import { command } from './command.ts';
import { withDaemon } from './daemon-client.ts';
import { optionalShareArgument } from './share-arguments.ts';

interface Texts {
  readonly summary: string;
  readonly description: string;
  readonly done: string;
}

function pausing(name: 'pause' | 'resume', { summary, description, done }: Texts) {
  return command({
    name,
    summary,
    description,
    arguments: { share: optionalShareArgument('without it all of them') },
    options: {},
    json: true,
    examples: [
      [`skylark ${name}`, 'all shares'],
      [`skylark ${name} Music`, 'only one'],
    ],
    async run(context) {
      const {
        arguments: { share },
        out,
        json,
      } = context;
      await withDaemon(context, (client) => client.request(COMMANDS[name], { share }));
      await out.line(json ? '{}' : `${done} ${share === undefined ? 'all shares' : printable(share)}`);
    },
  });
}

export const pause = pausing('pause', {
  summary: 'hold syncing back',
  description:
    'Nothing is sent, received or noted until "skylark resume", also across restarts of the daemon. Nothing is lost: what happens meanwhile is found afterwards.',
  done: 'paused',
});

export const resume = pausing('resume', {
  summary: 'go on with syncing after a pause',
  description:
    'What happened meanwhile is found and synced. Named, a share whose deletions or whose changed folder are held back (see "skylark status") is taken as it is now.',
  done: 'resumed',
});
