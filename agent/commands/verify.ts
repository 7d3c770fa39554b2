import { EXIT, environmentError } from '../base/errors.ts';
import { stringifyJson } from '../base/json.ts';
import { printable } from '../base/printable.ts';
import { STREAMS, type StreamAnswers, type StreamItems } from '../control/messages.ts';
import { command } from './command.ts';
import { withDaemon } from './daemon-client.ts';
import { counted, readableBytes } from './presentation.ts';
import { openProgress } from './progress.ts';
import { shareArgument } from './share-arguments.ts';

type Item = StreamItems['verify'];

/** Files that are named in the document; all are named while it runs. */
const MAX_NAMED = 10_000;

const OUTCOMES: Readonly<Record<NonNullable<Item['outcome']>, string>> = {
  repaired: 'was damaged by the disk, and is repaired',
  damaged: 'is damaged by the disk, and no copy of it was found',
  unreadable: 'could not be read',
};

export default command({
  name: 'verify',
  summary: 'read everything in a share again, and repair what the disk has damaged',
  description:
    'Every file in the folder is read and compared with what is known of it. One whose size and times are as they were, but whose contents are not, was damaged by the disk: it is never taken for a change. A copy that is here or with a member that is connected takes its place, and the damaged file goes to the archive; where there is no copy it stays, and "skylark status" tells of it.\n\nTakes its time, since everything else comes first. Ctrl-C ends it; what was repaired stays so. The exit code is 0 if everything is right or repaired, else 1.',
  arguments: { share: shareArgument() },
  options: {},
  json: true,
  examples: [['skylark verify Music', 'once in a while, and when a disk is in doubt']],
  async run(context) {
    const {
      arguments: { share },
      out,
      err,
      json,
    } = context;
    const progress = openProgress(err, () => performance.now());
    const found: { readonly path: string; readonly outcome: string }[] = [];
    const result = await withDaemon(context, async (client) => {
      const items = client.stream(STREAMS.verify, { share });
      try {
        for (;;) {
          const step = await items.next();
          if (step.done) return step.value;
          const { path, outcome, message } = step.value;
          if (path !== undefined && outcome !== undefined) {
            if (found.length < MAX_NAMED) found.push({ path, outcome });
            const why = message === undefined ? '' : `: ${printable(message, 1_000)}`;
            await progress.note(`${printable(path, 4_096)} ${OUTCOMES[outcome]}${why}`);
          }
          await progress.show(shareOf(step.value), describe(step.value));
        }
      } finally {
        await progress.end();
      }
    });
    if (json) {
      const counts = STREAMS.verify.answer.encode(result);
      await out.line(stringifyJson({ ...counts, found }));
    } else await out.line(summary(result));
    const wrong = result.damaged - result.repaired + result.unreadable + result.missing;
    if (wrong > 0) {
      throw environmentError(
        'verify.wrong',
        `${counted(wrong, 'file')} of the share ${wrong === 1 ? 'is' : 'are'} not as ${wrong === 1 ? 'it' : 'they'} should be`,
        {
          remedy: "'skylark status' tells more; connect the members that have them, and verify again",
          exitCode: EXIT.failed,
        },
      );
    }
  },
});

function shareOf({ bytes, totalBytes, files, totalFiles }: Item): number {
  if (totalBytes > 0) return bytes / totalBytes;
  return totalFiles > 0 ? files / totalFiles : 1;
}

function describe({ files, totalFiles, bytes, totalBytes, damaged }: Item): string {
  const wrong = damaged === 0 ? '' : `, ${damaged} damaged`;
  return `${files} of ${counted(totalFiles, 'file')}, ${readableBytes(bytes)} of ${readableBytes(totalBytes)}${wrong}`;
}

function summary(result: StreamAnswers['verify']): string {
  const { files, bytes, damaged, repaired, changed, unreadable, missing, unread } = result;
  const parts = [`${counted(files, 'file')} read, ${readableBytes(bytes)}`];
  parts.push(damaged === 0 ? 'none damaged' : `${damaged} damaged, ${repaired} repaired`);
  if (unreadable > 0) parts.push(`${unreadable} could not be read`);
  if (changed > 0) parts.push(`${changed} changed meanwhile`);
  if (unread > 0) parts.push(`${unread} still to be read for the first time`);
  if (missing > 0) parts.push(`${missing} not here yet`);
  return parts.join('; ');
}
