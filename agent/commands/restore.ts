import { basename, join, resolve } from 'node:path';
import { stringifyJson } from '../base/json.ts';
import { printable } from '../base/printable.ts';
import type { ControlClient } from '../control/client.ts';
import { findShare } from '../control/find-share.ts';
import { COMMANDS } from '../control/messages.ts';
import { isFolder, pathBelow } from '../platform/new-file.ts';
import { argument, command, count, text } from './command.ts';
import { withDaemon } from './daemon-client.ts';
import { readableBytes } from './presentation.ts';
import { receiveIntoFile } from './receive-file.ts';
import { shareArgument } from './share-arguments.ts';
import { sharePath } from './share-path.ts';

export default command({
  name: 'restore',
  summary: 'bring an earlier version of a file back from the archive',
  description:
    'The version is put back into the folder as a change of yours, which spreads to all members; what is there now goes to the archive first, so that this can be taken back, too. Without --version it is the newest that the archive has of PATH (but none that the disk had damaged). What is damaged in the archive is refused, and nothing is replaced.\n\n--to is a path of this machine, as for cp. Inside of the folder of the share it is a change as above. Outside of it a new file is written, which never replaces anything; where a share is read-only, this is the only way.',
  arguments: {
    share: shareArgument(),
    path: argument('PATH', 'the file in the share, as "skylark history" shows it'),
  },
  options: {
    version: count(
      { min: 1, max: Number.MAX_SAFE_INTEGER },
      { placeholder: 'N', text: 'its number in "skylark history"; by default the newest' },
    ),
    to: text({ placeholder: 'FILE', text: 'another place: a new name, or a folder' }),
  },
  json: true,
  examples: [
    ['skylark restore Music /2026/song.mid', 'undo the last change, or bring a deleted file back'],
    ['skylark restore Music /2026/song.mid --version 12 --to ~/old.mid', 'look at an earlier version first'],
  ],
  async run(context) {
    const { arguments: given, options, out, json } = context;
    const path = sharePath(given.path);
    await withDaemon(context, async (client) => {
      const { version, to } = options;
      const target = to === undefined ? undefined : await targetOf(client, given.share, resolve(to), path);
      if (target?.kind === 'outside') {
        const request = { share: given.share, path, version: version ?? null };
        const { file, path: written } = await receiveIntoFile(client, request, target.path, async () => {});
        const { size, sha256 } = file;
        if (json)
          return out.line(
            stringifyJson({
              path: written,
              version: file.version,
              size,
              sha256,
              changed: true,
              replaced: null,
            }),
          );
        const shown = `version ${file.version} of ${printable(path, 4_096)} (${readableBytes(size)})`;
        return out.line(`${shown} is in ${printable(written, 4_096)}`);
      }
      const request = { share: given.share, path, version, to: target?.path };
      const restored = await client.request(COMMANDS.restore, request);
      if (json) return out.line(stringifyJson(COMMANDS.restore.answer.encode(restored)));
      const shown = `version ${restored.version} of ${printable(path, 4_096)} (${readableBytes(restored.size)})`;
      const where = printable(restored.path, 4_096);
      if (!restored.changed) return out.line(`${where} is ${shown} already`);
      const before = restored.replaced === null ? '' : `; what was there is version ${restored.replaced} now`;
      const note = restored.newer ? '; a program had written to it after it was archived' : '';
      return out.line(`${where} is ${shown} again${before}${note}`);
    });
  },
});

/** What `--to` means: a path of the share, or a file outside of it. */
async function targetOf(
  client: ControlClient,
  named: string,
  to: string,
  path: string,
): Promise<{ readonly kind: 'inside' | 'outside'; readonly path: string }> {
  const { shares } = await client.request(COMMANDS.fullStatus, {});
  const share = findShare(shares, named);
  const target = (await isFolder(to)) ? join(to, basename(path)) : to;
  const inside = await pathBelow(share.path, target);
  return inside === undefined ? { kind: 'outside', path: target } : { kind: 'inside', path: inside };
}
