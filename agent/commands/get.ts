import { basename, join, resolve } from 'node:path';
import { type Clock, systemClock } from '../base/clock.ts';
import { userError } from '../base/errors.ts';
import { printable } from '../base/printable.ts';
import { TimeLeft } from '../directory/time-left.ts';
import { isFolder } from '../platform/new-file.ts';
import { argument, command, text } from './command.ts';
import { withDaemon } from './daemon-client.ts';
import { readableBytes, readableSpan } from './presentation.ts';
import { openProgress, type Progress } from './progress.ts';
import { type OnFetched, receiveFile, receiveIntoFile } from './receive-file.ts';
import { shareArgument } from './share-arguments.ts';
import { sharePath } from './share-path.ts';

export default command({
  name: 'get',
  summary: 'write the contents of one file of a share',
  description:
    'From the folder if the file is here, else from another copy that is here, else from a member that is connected. The contents are verified before the first byte is written. A file that comes from a member is collected beside the share first, which takes as much room as it has bytes.',
  arguments: {
    share: shareArgument(),
    path: argument('PATH', 'the file in the share'),
  },
  options: {
    output: text({
      short: 'o',
      placeholder: 'FILE',
      text: 'a new file, or a folder for it; by default standard output',
    }),
  },
  examples: [
    ['skylark get Music /2026/song.mid -o song.mid', 'into a file here'],
    ['skylark get Music /2026/notes.txt | less', 'to another program'],
  ],
  async run(context) {
    const { arguments: given, options, out, err } = context;
    const { output } = options;
    const isForStdout = output === undefined || output === '-';
    if (isForStdout && out.isTerminal) {
      throw userError('get.terminal', 'the contents of a file could confuse the terminal', {
        remedy: 'give a file with -o FILE, or lead them to another program',
      });
    }
    const path = sharePath(given.path);
    const request = { share: given.share, path };
    const progress = openProgress(err, () => performance.now());
    const onFetched = fetchedShown(progress, systemClock);
    await withDaemon(context, async (client) => {
      try {
        if (isForStdout) {
          const sink = { write: (bytes: Uint8Array) => out.writeBytes(bytes) };
          await receiveFile(client, request, sink, onFetched);
          return;
        }
        const wanted = resolve(output);
        const target = (await isFolder(wanted)) ? join(wanted, basename(path)) : wanted;
        const received = await receiveIntoFile(client, request, target, onFetched);
        await progress.end();
        await out.line(`${printable(received.path, 4_096)}: ${readableBytes(received.file.size)}`);
      } finally {
        await progress.end();
      }
    });
  },
});

/** Shows how much has come from a member, and about how long the rest will take. */
export function fetchedShown(progress: Pick<Progress, 'show'>, clock: Clock): OnFetched {
  const timeLeft = new TimeLeft(clock);
  let before = 0;
  return async (bytes, size) => {
    if (bytes > before) timeLeft.came(bytes - before);
    before = bytes;
    if (size === 0) return progress.show(0, `${readableBytes(bytes)} fetched`);
    const seconds = timeLeft.of(BigInt(Math.max(0, size - bytes)));
    const left = seconds === undefined ? '' : `, about ${readableSpan(seconds)} left`;
    return progress.show(bytes / size, `${readableBytes(bytes)} of ${readableBytes(size)} fetched${left}`);
  };
}
