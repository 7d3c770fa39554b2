/** The reference and the example file, written from the declarations. */

import type { Option } from './option.ts';

type Declarations = Readonly<Record<string, Option<unknown>>>;

/** Markdown. */
export function configurationReference(options: Declarations): string {
  const sections = Object.entries(options).map(([name, option]) => {
    const heading = option.columns === undefined ? name : `[[${name}]]`;
    const facts =
      option.columns === undefined
        ? factsOf(option)
        : `| key | what it is | type | default |\n|---|---|---|---|\n${Object.entries(option.columns).map(columnRow).join('\n')}`;
    return `## \`${heading}\`\n\n${option.text}\n\n${facts}\n\n\`\`\`toml\n${exampleOf(name, option)}\n\`\`\`\n`;
  });
  return `${INTRODUCTION}\n${sections.join('\n')}`;
}

/** TOML in which everything is commented out, with each option's default. */
export function exampleConfiguration(options: Declarations): string {
  const groups = new Map<string, string[]>();
  for (const [name, option] of Object.entries(options)) {
    const { group, key } = splitName(name);
    const header = option.columns === undefined ? group : name;
    const lines = groups.get(header) ?? [];
    groups.set(header, lines);
    lines.push(...wrapped(`${option.text} Default: ${option.defaultText}.`).map((line) => `# ${line}`));
    if (option.columns === undefined) lines.push(`#${key} = ${option.example}`);
    else lines.push(...`[[${name}]]\n${option.example}`.split('\n').map((line) => `#${line}`));
    lines.push('');
  }
  const parts = [...groups].map(([header, lines]) => {
    const isTable = header === '' || options[header]?.columns !== undefined;
    return (isTable ? lines : [`[${header}]`, '', ...lines]).join('\n');
  });
  return `${EXAMPLE_INTRODUCTION}\n${parts.join('\n')}`.trimEnd().concat('\n');
}

const GENERATED = 'Written by `npm run docs` from `agent/config/options.ts`: change it there.';

const INTRODUCTION = `# Configuration

<!-- ${GENERATED} -->

Skylark runs without a configuration. Where one is wanted it is a [TOML](https://toml.io/en/v1.0.0) file, and each of its options can also be given
in other ways. What stands later in this list overrules what stands before:

1. \`/etc/skylark/skylark.toml\`
2. \`$XDG_CONFIG_HOME/skylark/skylark.toml\`, which is \`~/.config/skylark/skylark.toml\` by default
3. with \`--config FILE\`, that file instead of the two
4. the environment: \`SKYLARK_DISCOVERY__LAN=false\` is \`discovery.lan = false\` (two underscores for the dot)
5. \`--set discovery.lan=false\` on the command line

An option that does not exist, or a value that does not fit, is an error that names the line and ends the start with exit code 78.
[\`skylark.example.toml\`](skylark.example.toml) has all options to copy from.
`;

const EXAMPLE_INTRODUCTION = `# Skylark's options. Every option is commented out and stands with an example.
# ${GENERATED.replaceAll('`', '')}
`;

function factsOf(option: Option<unknown>): string {
  const isWords = !/^["[\d{]|^(true|false)$/.test(option.defaultText);
  return `Type: ${option.type}. Default: ${isWords ? option.defaultText : `\`${option.defaultText}\``}.`;
}

function columnRow([name, column]: readonly [string, Option<unknown>]): string {
  return `| \`${name}\` | ${column.text} | ${column.type.replaceAll('|', '\\|')} | ${column.defaultText} |`;
}

function exampleOf(name: string, option: Option<unknown>): string {
  return option.columns === undefined ? `${name} = ${option.example}` : `[[${name}]]\n${option.example}`;
}

function splitName(name: string): { group: string; key: string } {
  const dot = name.lastIndexOf('.');
  return { group: name.slice(0, Math.max(0, dot)), key: name.slice(dot + 1) };
}

function wrapped(text: string): string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= 100)
      lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}
