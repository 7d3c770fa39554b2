import { printable } from '../base/printable.ts';
import type { ArchivedVersion } from '../control/file-messages.ts';
import { COMMANDS } from '../control/messages.ts';
import { command, optionalArgument } from './command.ts';
import { withDaemon } from './daemon-client.ts';
import { readableBytes, table } from './presentation.ts';
import { shareArgument } from './share-arguments.ts';
import { sharePath } from './share-path.ts';

const REASONS: Readonly<Record<ArchivedVersion['reason'], string>> = {
  replaced: 'replaced',
  deleted: 'deleted',
  found_at_joining: 'found when joining',
  not_permitted: 'read-only here',
  damaged: 'damaged by the disk',
};
/** Digits of the SHA-256 that people compare. */
const DIGITS = 12;

export default command({
  name: 'history',
  summary: 'list what the archive has kept of replaced and deleted files',
  description:
    'Newest first. What is replaced or deleted, by whomever, is kept in the archive of each device for 30 days, up to 4 GiB. Each version has a number of its own for as long as it is kept: it is what "skylark restore --version" takes.\n\nFor a folder, or without PATH, everything that was below is listed, also what is deleted: the way to find a file whose name nobody remembers.',
  arguments: {
    share: shareArgument(),
    path: optionalArgument(
      'PATH',
      'a file or folder in the share, also one that is gone; by default everything',
    ),
  },
  options: {},
  json: true,
  examples: [
    ['skylark history Music /2026/song.mid', 'earlier versions of one file'],
    ['skylark history Music', 'everything that is kept'],
  ],
  async run(context) {
    const { arguments: given, out, err, json } = context;
    const path = given.path === undefined ? undefined : sharePath(given.path);
    const all: ArchivedVersion[] = [];
    let listed = 0;
    await withDaemon(context, async (client) => {
      for (let before: number | undefined; ; ) {
        const request = { share: given.share, path, before };
        const { versions, next } = await client.request(COMMANDS.history, request);
        // A listing for people needs no more memory than a page; a document must be whole.
        if (json) all.push(...versions);
        else if (versions.length > 0)
          await out.write(table([...(listed === 0 ? [HEAD] : []), ...versions.map(row)]));
        listed += versions.length;
        if (next === null) return;
        before = next;
      }
    });
    if (json) await out.line(JSON.stringify({ versions: all }));
    else if (listed === 0) await err.line(`nothing is kept of ${printable(path ?? 'this share', 4_096)}`);
  },
});

const HEAD = ['VERSION', 'ARCHIVED', 'WHY', 'SIZE', 'MODIFIED', 'SHA-256', 'PATH'] as const;

function row({ version, archived, reason, size, mtime, sha256, path }: ArchivedVersion): string[] {
  const time = (text: string) => text.slice(0, 19).replace('T', ' ');
  return [
    String(version),
    time(archived),
    REASONS[reason],
    readableBytes(size),
    time(mtime),
    sha256?.slice(0, DIGITS) ?? '',
    printable(path, 4_096),
  ];
}
