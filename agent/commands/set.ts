import { userError } from '../base/errors.ts';
import { printable } from '../base/printable.ts';
import { COMMANDS } from '../control/messages.ts';
import type { SelectionChange, SelectionRules } from '../directory/selection.ts';
import { command, flag } from './command.ts';
import { withDaemon } from './daemon-client.ts';
import { describeSelection, directionOption, ignoreOption, onlyOption } from './selection-options.ts';
import { shareArgument } from './share-arguments.ts';

export default command({
  name: 'set',
  summary: 'change which part of a share is kept here, and in which directions',
  description:
    'Without options: shows it. Nothing is deleted by any of it, here or elsewhere: what is no longer kept stays where it lies and is left alone, and what is kept again is picked up, or fetched. Patterns for all members are kept in the file .skylarkignore at the top of the share, one a line.',
  arguments: { share: shareArgument() },
  options: {
    direction: directionOption(),
    ignore: ignoreOption('leave out what the pattern fits, as in a .gitignore file'),
    unignore: ignoreOption('take back an --ignore'),
    only: onlyOption('keep only this part, and others that are named so, in place of those before'),
    everything: flag('keep all parts again'),
    shallow: flag('know everything, but fetch contents only when they are asked for'),
    full: flag('fetch all contents again'),
  },
  json: true,
  examples: [
    ['skylark set Music', 'what is kept of the share Music'],
    ['skylark set Music --direction send', 'do nothing in the folder that others do'],
    ["skylark set Music --ignore '*.tmp' --ignore /cache/", 'two patterns more'],
    ['skylark set Music --only Albums/2026', 'keep one folder of it'],
  ],
  async run(context) {
    const { arguments: given, options, out, json } = context;
    const { share } = given;
    exclude(options.everything && options.only.length > 0, '--everything', '--only');
    exclude(options.full && options.shallow, '--full', '--shallow');
    const selection = await withDaemon(context, async (client) => {
      const { selection: current } = await client.request(COMMANDS.setShare, { share });
      const change = changeOf(current, options);
      if (Object.keys(change).length === 0) return current;
      const changed = await client.request(COMMANDS.setShare, { share, selection: change });
      return changed.selection;
    });
    if (json) {
      const { direction, isShallow: shallow, only, ignore } = selection;
      return out.line(JSON.stringify({ direction, shallow, only, ignore }));
    }
    const lines = describeSelection(selection);
    if (lines.length === 0)
      return out.line(`${printable(share)}: everything is kept here, in both directions`);
    for (const line of lines) await out.line(`${printable(share)}: ${line}`);
  },
});

interface Given {
  readonly direction: SelectionRules['direction'] | undefined;
  readonly ignore: readonly string[];
  readonly unignore: readonly string[];
  readonly only: readonly string[];
  readonly everything: boolean;
  readonly shallow: boolean;
  readonly full: boolean;
}

function changeOf(current: SelectionRules, given: Given): SelectionChange {
  const { direction, ignore, unignore, only, everything, shallow, full } = given;
  for (const pattern of unignore) {
    if (current.ignore.includes(pattern)) continue;
    throw userError('usage.not_ignored', `${pattern} is not among the patterns of this share`, {
      remedy: "'skylark set SHARE' shows them; those of .skylarkignore are changed in that file",
    });
  }
  const patterns = [...current.ignore.filter((pattern) => !unignore.includes(pattern)), ...ignore];
  return {
    ...(direction === undefined ? {} : { direction }),
    ...(shallow || full ? { isShallow: shallow } : {}),
    ...(everything || only.length > 0 ? { only } : {}),
    ...(ignore.length + unignore.length > 0 ? { ignore: patterns } : {}),
  };
}

function exclude(isBoth: boolean, one: string, other: string): void {
  if (isBoth) throw userError('usage.exclude', `${one} and ${other} exclude each other`);
}
