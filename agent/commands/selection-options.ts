/** How commands are told which part of a share is kept here. */

import { userError } from '../base/errors.ts';
import { printable } from '../base/printable.ts';
import { parsePattern } from '../directory/ignore.ts';
import type { SelectionChange, SelectionRules } from '../directory/selection.ts';
import { choice, flag, parseText, texts } from './command.ts';

const LONGEST_PATTERN = 1_024;
const LONGEST_SUBTREE = 4_096;

export function parseIgnore(typed: string): string {
  const pattern = parseText(LONGEST_PATTERN)(typed);
  if (parsePattern(pattern) === undefined || /[\r\n\0]/.test(pattern))
    throw userError('usage.not_a_pattern', 'it must be a pattern as in a .gitignore file');
  return pattern;
}

export function directionOption() {
  return choice(['both', 'send', 'receive'], {
    text: 'send: do nothing in the folder that others do; receive: send nothing that is done in it',
  });
}

export function ignoreOption(explanation: string) {
  return texts({ placeholder: 'PATTERN', text: explanation }, parseIgnore);
}

export function onlyOption(explanation: string) {
  return texts({ placeholder: 'SUBTREE', text: explanation }, parseText(LONGEST_SUBTREE));
}

/** For new shares. */
export function selectionOptions() {
  return {
    direction: directionOption(),
    ignore: ignoreOption(
      'leave out what the pattern fits, as in a .gitignore file; may be given several times',
    ),
    shallow: flag('know everything, but fetch contents only when they are asked for'),
  };
}

/** Undefined if nothing is chosen: then it is left out of the request. */
export function chosenSelection(options: {
  readonly direction: SelectionRules['direction'] | undefined;
  readonly ignore: readonly string[];
  readonly shallow: boolean;
  readonly only?: readonly string[];
}): SelectionChange | undefined {
  const { direction, ignore, shallow, only = [] } = options;
  if (direction === undefined && ignore.length + only.length === 0 && !shallow) return undefined;
  return {
    ...(direction === undefined ? {} : { direction }),
    ...(shallow ? { isShallow: true } : {}),
    ...(only.length === 0 ? {} : { only }),
    ...(ignore.length === 0 ? {} : { ignore }),
  };
}

/** One line for each thing that is not as usual; none if everything is kept, in both directions. */
export function describeSelection({ direction, isShallow, only, ignore }: SelectionRules): string[] {
  const shown = (values: readonly string[]) => values.map((value) => printable(value, 4_096)).join(', ');
  return [
    ...(direction === 'send' ? ['only sends: nothing that others do is done in the folder'] : []),
    ...(direction === 'receive' ? ['only receives: nothing that is done in the folder is sent'] : []),
    ...(isShallow ? ['shallow: contents are fetched only when they are asked for'] : []),
    ...(only.length > 0 ? [`keeps only ${shown(only)}`] : []),
    ...(ignore.length > 0 ? [`ignores ${shown(ignore)}`] : []),
  ];
}
