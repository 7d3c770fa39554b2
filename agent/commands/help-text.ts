/** What `--help` and `skylark help` print, from the declarations. */

import type { Command, Options } from './command.ts';
import { allOptions } from './command-line.ts';

/** Help of one command, wrapped to `columns`. */
export function commandHelp(command: Command, columns: number): string {
  const width = Math.min(columns, 100);
  const sections = [`skylark ${command.name}: ${command.summary}`, `Usage: ${usageLine(command)}`];
  if (command.description !== undefined)
    sections.push(
      command.description
        .split('\n\n')
        .map((paragraph) => wrap(paragraph, width).join('\n'))
        .join('\n\n'),
    );
  const argumentRows = Object.values(command.arguments).map(
    ({ placeholder, text }) => [placeholder, text] as const,
  );
  if (argumentRows.length > 0) sections.push(`Arguments:\n${table(argumentRows, width)}`);
  sections.push(`Options:\n${table(optionRows(allOptions(command)), width)}`);
  if (command.examples.length > 0)
    sections.push(
      `Examples:\n${command.examples.map(([line, what]) => `  # ${what}\n  ${line}`).join('\n')}`,
    );
  return `${sections.join('\n\n')}\n`;
}

/** The list of all commands. */
export function overview(commands: readonly Command[], columns: number): string {
  const rows = commands.map(({ name, summary }) => [name, summary] as const);
  return [
    'skylark: what a device records appears in its owner\u2019s folder, encrypted end to end',
    'Usage: skylark COMMAND ...',
    `Commands:\n${table(rows, Math.min(columns, 100))}`,
    "'skylark help COMMAND' tells more about one of them.\n",
  ].join('\n\n');
}

/** `skylark share DIR [--name N]` */
export function usageLine(command: Command): string {
  const words = Object.values(command.arguments).map(({ placeholder, required }) =>
    required ? placeholder : `[${placeholder}]`,
  );
  for (const [name, option] of Object.entries(command.options))
    words.push(
      `[${option.kind === 'flag' || option.short === undefined ? `--${name}` : `-${option.short}`}${option.kind === 'flag' ? '' : ` ${option.placeholder}`}]${option.kind === 'many' ? '...' : ''}`,
    );
  return ['skylark', command.name, ...words].join(' ');
}

function optionRows(options: Options): (readonly [string, string])[] {
  return Object.entries(options).map(([name, option]) => {
    if (option.kind === 'flag') return [`--${name}`, option.text];
    const notes = [
      ...(option.default === undefined ? [] : [`default: ${option.default}`]),
      ...(option.kind === 'many' ? ['may be given several times'] : []),
    ];
    return [
      `${shownName(name, option)} ${option.placeholder}`,
      option.text + (notes.length > 0 ? ` (${notes.join('; ')})` : ''),
    ];
  });
}

function shownName(name: string, option: Options[string]): string {
  const short = option.kind === 'flag' ? undefined : option.short;
  return short === undefined ? `--${name}` : `-${short}, --${name}`;
}

/** Two columns; a long entry in the first pushes its text to the next line. */
function table(rows: readonly (readonly [string, string])[], width: number): string {
  const indent = Math.min(26, Math.max(...rows.map(([left]) => left.length)) + 4);
  return rows
    .flatMap(([left, right]) => {
      const [first = '', ...rest] = wrap(right, Math.max(20, width - indent));
      const continued = rest.map((line) => ' '.repeat(indent) + line);
      const fits = left.length + 4 <= indent;
      return fits
        ? [`  ${left}`.padEnd(indent) + first, ...continued]
        : [`  ${left}`, ' '.repeat(indent) + first, ...continued];
    })
    .join('\n');
}

function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(/\s+/)) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  lines.push(line);
  return lines;
}
