import { printable } from '../base/printable.ts';
import { COMMANDS, type ListedFile } from '../control/messages.ts';
import { command, flag, optionalArgument } from './command.ts';
import { withDaemon } from './daemon-client.ts';
import { readableBytes, table } from './presentation.ts';
import { shareArgument } from './share-arguments.ts';

export default command({
  name: 'ls',
  summary: 'list what is in a share, also what is not here yet',
  arguments: {
    share: shareArgument(),
    path: optionalArgument('PATH', 'a folder or file in the share; by default the share itself'),
  },
  options: { recursive: flag('also what lies in folders below') },
  json: true,
  examples: [['skylark ls Music /2026', 'what is in the folder 2026 of the share Music']],
  async run(context) {
    const {
      arguments: { share, path },
      options,
      out,
      json,
    } = context;
    const all: ListedFile[] = [];
    await withDaemon(context, async (client) => {
      for (let after: string | undefined; ; ) {
        const { files, next } = await client.request(COMMANDS.listFiles, {
          share,
          path: path === undefined || path.startsWith('/') ? path : `/${path}`,
          recursive: options.recursive,
          after,
        });
        // A listing for people needs no more memory than a page; a document must be whole.
        if (json) all.push(...files);
        else await out.write(table(files.map(row)));
        if (next === null) return;
        after = next;
      }
    });
    if (json) await out.line(JSON.stringify({ files: all }));
  },
});

function row({ path, kind, size, mtime, here }: ListedFile): string[] {
  const name = kind === 'directory' ? `${path}/` : path;
  const amount = kind === 'directory' ? '' : readableBytes(size);
  return [
    amount,
    mtime === null ? '' : mtime.slice(0, 19).replace('T', ' '),
    here ? '' : 'not here',
    printable(name, 4_096),
  ];
}
